"""The two lists for simulations: the indexer as it is, on tables that keep what Cassandra would."""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, NamedTuple

from plaudit.adapters.cassandra import CassandraIndex
from plaudit.adapters.cassandra import index as cql
from plaudit.domain.events import Committed
from tests.simulation import loop

Partition = tuple[Any, ...]
Line = tuple[Any, ...]


class Bound(NamedTuple):
    """A statement with its values."""

    query: str
    values: list[Any]


class Prepared(NamedTuple):
    """A statement."""

    query: str

    def bind(self, values: list[Any]) -> Bound:
        return Bound(self.query, values)


class Tables:
    """A session. Of each line, and of each whole partition, it keeps the newest write, and of two at one time the one
    that deletes; a line goes with its partition."""

    def __init__(self) -> None:
        self._lines: dict[tuple[Partition, Line], tuple[int, bool, int]] = {}
        self._gone: dict[Partition, int] = {}

    async def prepare(self, query: str) -> Prepared:
        return Prepared(query)

    async def write(self, bound: Bound) -> None:
        values = bound.values
        match bound.query:
            case cql.ADD_REACTOR:
                target, bucket, code, created_at, user, at = values
                self._put(("reactors", target, bucket, code), (user, created_at), (at, False, code))
            case cql.DROP_REACTOR:
                at, target, bucket, code, created_at, user = values
                self._put(("reactors", target, bucket, code), (user, created_at), (at, True, code))
            case cql.DROP_REACTORS:
                at, target, bucket, code = values
                partition = "reactors", target, bucket, code
                self._gone[partition] = max(at, self._gone.get(partition, 0))
            case cql.ADD_REACTED:
                user, created_at, target, code, at = values
                self._put(("reacted", user), (target, created_at), (at, False, code))
            case cql.DROP_REACTED:
                at, user, created_at, target = values
                self._put(("reacted", user), (target, created_at), (at, True, 0))
            case query:
                raise AssertionError(query)

    async def commit(self, batch: Iterable[Bound]) -> None:
        for bound in batch:
            await self.write(bound)

    def reactors(self, target: str) -> list[tuple[str, int, int]]:
        """Who is in a list of the target, since when, and with which reaction; in order."""
        return sorted(
            (user, created_at, code)
            for partition, (user, created_at), code in self._there()
            if partition[:2] == ("reactors", target)
        )

    def reacted(self, target: str) -> list[tuple[str, int, int]]:
        """The same as the lists of the users say it."""
        return sorted(
            (partition[1], created_at, code)
            for partition, (name, created_at), code in self._there()
            if partition[0] == "reacted" and name == target
        )

    def _put(self, partition: Partition, line: Line, write: tuple[int, bool, int]) -> None:
        place = partition, line
        self._lines[place] = max(write, self._lines.get(place, write))

    def _there(self) -> Iterable[tuple[Partition, Line, int]]:
        for (partition, line), (at, gone, code) in self._lines.items():
            if not gone and at > self._gone.get(partition, 0):
                yield partition, line, code


def lists_of(events: Sequence[Committed], random: Random) -> Tables:
    """What the indexer makes of these events, in whatever order they come and some of them twice."""
    shuffled = [*events, *random.sample(events, len(events) // 4)]
    random.shuffle(shuffled)

    tables = Tables()
    session: Any = tables

    async def main() -> None:
        async with CassandraIndex(session) as index:
            while shuffled:
                few = random.randint(1, 10)
                await index.apply(shuffled[:few])
                del shuffled[:few]

    loop.run(main())
    return tables
