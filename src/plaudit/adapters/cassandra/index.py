"""The lists derived from the events, as they are written.

Entries are written USING TIMESTAMP = the ledger row's `updated_at`: of two writes to one entry the one with the newer
timestamp wins, whichever came first, and of an insert and a delete at the same timestamp the delete. The ledger never
makes both for one entry at one time: a user has at most one transition per commit.

Reactors of a split target are in nine partitions for each reaction: those of the root in list bucket 0, and those who
tapped since in one of eight, by a hash of the user.

Of a target that is deleted whole lists go, at a time behind everything that was in it and before all that comes after
(`plaudit.domain.removal.purge_rows`). So nothing is left of a row whose last change nobody told of, and whoever reads
them once the target is there again reads over one deletion and not over one for each who was in them.
"""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any
from zlib import crc32

from plaudit.adapters.cassandra.statements import AT_ONCE, PARTITIONS, Statements
from plaudit.domain.catalogue import MAX_CODE, NONE
from plaudit.domain.cell import Transition
from plaudit.domain.errors import PlauditError, Unavailable
from plaudit.domain.events import Committed

PER_BATCH = 64  # entries of one partition that are written together
LIST_BUCKETS = 8  # of a split target, besides that of its root

ADD_REACTOR = """
INSERT INTO $keyspace.reactors (target, bucket, reaction, created_at, user) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?
"""
DROP_REACTOR = """
DELETE FROM $keyspace.reactors USING TIMESTAMP ?
WHERE target = ? AND bucket = ? AND reaction = ? AND created_at = ? AND user = ?
"""
DROP_REACTORS = """
DELETE FROM $keyspace.reactors USING TIMESTAMP ? WHERE target = ? AND bucket = ? AND reaction = ?
"""
ADD_REACTED = """
INSERT INTO $keyspace.reactions_by_user (user, created_at, target, reaction) VALUES (?, ?, ?, ?) USING TIMESTAMP ?
"""
DROP_REACTED = """
DELETE FROM $keyspace.reactions_by_user USING TIMESTAMP ? WHERE user = ? AND created_at = ? AND target = ?
"""


class CassandraIndex(Statements):
    """See `plaudit.ports.index.Index`; use as an async context manager inside an open session."""

    queries = (ADD_REACTOR, DROP_REACTOR, DROP_REACTORS, ADD_REACTED, DROP_REACTED)

    async def apply(self, events: Iterable[Committed]) -> None:
        entries = _Entries()
        for event in events:
            entries.take(event)
        batches = entries.batches()
        failed: list[PlauditError] = []

        async def write() -> None:
            for batch in batches:
                if failed:
                    return
                try:
                    await self._written(batch)
                except PlauditError as error:
                    failed.append(error)

        # Return only when all have ended: nobody is to apply newer events beside these.
        await asyncio.gather(*(write() for _ in range(AT_ONCE)))
        if failed:
            raise Unavailable("some entries may not be written; apply the events again") from failed[0]


_Write = tuple[Any, ...]  # a query and its values


class _Entries:
    """What events make of the lists: per entry the newest write, and of two at one time the one that deletes.

    That is what the store would keep of all of them, so the rest need not be written.
    """

    def __init__(self) -> None:
        # Partition -> entry -> (at, reaction), which is NONE where the entry goes.
        self._reactors: dict[tuple[str, int, int], dict[tuple[int, str], tuple[int, int]]] = {}
        self._reacted: dict[str, dict[tuple[int, str], tuple[int, int]]] = {}
        self._deleted: dict[tuple[str, int, int], int] = {}  # partitions of reactors, and when

    def take(self, event: Committed) -> None:
        """Note what each transition says: the entry that is, and no other; where `before` is unknown, all others go.

        Whoever taps in a lane has left the list of the root, under whatever reaction they stood there.
        """
        target = event.target
        if event.cause == "delete":
            self._take_deleted(event)
            return
        for user, before, after, created_at, at in map(_fields, event.transitions):
            place, bucket = (created_at, user), list_bucket(event.bucket, user)
            for code in _ALL_CODES if before is None else (before,):
                if code not in (NONE, after):
                    _keep_newer(self._reactors.setdefault((target, bucket, code), {}), place, at, NONE)
                if bucket and code:
                    _keep_newer(self._reactors.setdefault((target, 0, code), {}), place, at, NONE)
            if after:
                _keep_newer(self._reactors.setdefault((target, bucket, after), {}), place, at, after)
            _keep_newer(self._reacted.setdefault(user, {}), (created_at, target), at, after)

    def _take_deleted(self, event: Committed) -> None:
        """Rows of a root that is split go from both kinds of lists: they may have been told of as their lane's."""
        for user, _, after, created_at, at in map(_fields, event.transitions):
            for bucket in {list_bucket(event.bucket, user), list_bucket(event.lanes - 1, user)}:
                for code in _ALL_CODES:
                    place = event.target, bucket, code
                    self._deleted[place] = max(at, self._deleted.get(place, 0))
            _keep_newer(self._reacted.setdefault(user, {}), (created_at, event.target), at, after)

    def batches(self) -> Iterator[list[_Write]]:
        """The writes: some of one partition at a time, or of some partitions with one each.

        Such a one is, with the longest ids, still below the size that Cassandra warns of.
        """
        lone = list[_Write]()
        for batch in self._by_partition():
            if len(batch) > 1:
                yield batch
                continue
            lone += batch
            if len(lone) == PARTITIONS:
                yield lone
                lone = []
        if lone:
            yield lone

    def _by_partition(self) -> Iterator[list[_Write]]:
        for place, at in self._deleted.items():
            yield [(DROP_REACTORS, at, *place)]
        for (target, bucket, code), entries in self._reactors.items():
            yield from _some(
                (ADD_REACTOR, target, bucket, code, created_at, user, at)
                if stays
                else (DROP_REACTOR, at, target, bucket, code, created_at, user)
                for (created_at, user), (at, stays) in entries.items()
            )
        for user, entries in self._reacted.items():
            yield from _some(
                (ADD_REACTED, user, created_at, target, reaction, at)
                if reaction
                else (DROP_REACTED, at, user, created_at, target)
                for (created_at, target), (at, reaction) in entries.items()
            )


_ALL_CODES = range(1, MAX_CODE + 1)


def list_bucket(bucket: int, user: str) -> int:
    """In which list bucket the reactors of a cell are: `bucket` is the cell's."""
    return 1 + crc32(user.encode()) % LIST_BUCKETS if bucket else 0


def _fields(t: Transition) -> tuple[str, int | None, int, int, int]:
    return t.user, t.before, t.after, t.created_at, t.at


def _keep_newer(
    entries: dict[tuple[int, str], tuple[int, int]], place: tuple[int, str], at: int, reaction: int
) -> None:
    known = entries.get(place)
    if known is None or known[0] < at or (known[0] == at and not reaction):
        entries[place] = at, reaction


def _some(writes: Iterator[_Write]) -> Iterator[list[_Write]]:
    while batch := list(islice(writes, PER_BATCH)):
        yield batch
