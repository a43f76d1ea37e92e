"""What Cassandra's own CPU is for each kind of statement that a message to an owner takes, one kind after the other.

`python -m benchmarks.cluster.statements`, on engines that are up (`benchmarks.cluster --up`), in a keyspace of its own.
Several rounds: in the first ones Java compiles. Prints CPU for each of 10,000 messages, in µs, of every round.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any

import uvloop

from benchmarks.cluster.engines import running
from benchmarks.cluster.processes import cpu_s
from plaudit.adapters.cassandra import Session, audience, inbox, lists, migrate, pushes, told, users
from plaudit.adapters.cassandra.packed import pack_header, pack_registration
from plaudit.adapters.cassandra.statements import PARTITIONS, Statements, Write
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header

COUNT, LOT, SIDE_BY_SIDE, ROUNDS = 10_000, 200, 2, 6
BLOB = os.urandom(100)
HEADER = (
    "INSERT INTO $keyspace.cell (target, bucket, user, seq, header, registration) VALUES (?, 0, '', 2, ?, ?)"
)
ROW = "INSERT INTO $keyspace.cell (target, bucket, user, reaction) VALUES (?, 0, ?, 1)"
TOLD_ALONE = "INSERT INTO $keyspace.told (target, watch) VALUES (?, ?)"


class Kinds(Statements):
    """Each kind by its name: what is done in a round for a lot of messages, whose numbers these are."""

    queries = (
        *(HEADER, ROW, TOLD_ALONE, lists.HEADERS, lists.MANY_OF_MANY, lists.SEEN, told.TOLD, told.REMEMBER),
        *(audience.WISHES, users.GET, inbox.IDS, inbox.PUT_PUSHED, pushes.ADD, pushes.DROP),
    )

    def kinds(self) -> dict[str, Callable[[int, Sequence[int]], Awaitable[object]]]:
        """In the order of a message's way; `or` and `and` are what stood in place of what is above them."""
        return {
            "read header and sample": lambda _, lot: self._seen(lists.SEEN, lot),
            "or the header": lambda _, lot: self._of_all(lists.HEADERS, map(_target, lot)),
            "and the sample": lambda _, lot: self._seen(lists.MANY_OF_MANY, lot),
            "read whom it was told of": lambda _, lot: self._told(lot),
            "read wishes": lambda _, lot: self._of_all(audience.WISHES, map(_owner, lot)),
            "read the owner's profile": lambda _, lot: self._of_all(users.GET, map(_owner, lot)),
            "read the reactor's profile": lambda _, lot: self._of_all(users.GET, map(_user, lot)),
            "read ids in the inbox": lambda _, lot: self._of_all(inbox.IDS, map(_owner, lot)),
            "write pushes": lambda turn, lot: self._write_groups(_pushes(lot, turn)),
            "write message and whom of": lambda turn, lot: self._write_groups(
                [_put(n, turn), (told.REMEMBER, _owner(n, turn), _target(n), BLOB)] for n in lot
            ),
            "or the message": lambda turn, lot: self._write_all(_put(n, turn) for n in lot),
            "and whom of, by target": lambda turn, lot: self._write_all(
                (TOLD_ALONE, f"{turn}:{_target(n)}", BLOB) for n in lot
            ),
            "delete pushes": lambda turn, lot: self._write_groups(_pushes(lot, turn, drop=True)),
        }

    async def fill(self, lot: Sequence[int]) -> None:
        """A target with an owner and a reaction for each message."""
        groups = list[list[Write]]()
        for n in lot:
            header = pack_header(Header(2, "post", (1,), 1, 1, 1, ((_user(n), 1),)))
            registration = pack_registration(Registration(type="post", owner=_owner(n), title="A post"))
            groups.append([(HEADER, _target(n), header, registration), (ROW, _target(n), _user(n))])
        await self._write_groups(groups)

    async def _seen(self, query: str, lot: Sequence[int]) -> None:
        await asyncio.gather(
            *(self._rows(query, [*map(_target, ten)], ["", *map(_user, ten)]) for ten in _tens(lot))
        )

    async def _told(self, lot: Sequence[int]) -> None:
        await asyncio.gather(
            *(self._rows(told.TOLD, [*map(_owner, ten)], [*map(_target, ten)]) for ten in _tens(lot))
        )


def _target(n: int) -> str:
    return f"due:1796000000:{n}"


def _owner(n: int, turn: int = 0) -> str:
    return f"{turn}:owner-of-{_target(n)}"


def _user(n: int) -> str:
    return f"friend-of-{_target(n)}"


def _id(n: int) -> str:
    return f"{n:032}"


def _tens(lot: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(lot), PARTITIONS):
        yield lot[start : start + PARTITIONS]


def _put(n: int, turn: int) -> Write:
    return inbox.PUT_PUSHED, _owner(n, turn), turn, _id(n), BLOB


def _pushes(lot: Sequence[int], turn: int, *, drop: bool = False) -> Iterator[list[Write]]:
    by_shard: dict[int, list[Write]] = {}
    for n in lot:
        place = ("webhook", pushes.shard_of(_id(n)), turn, turn, n, _id(n), "")
        rest = () if drop else (_owner(n), turn, turn, 0, "")
        by_shard.setdefault(place[1], []).append((pushes.DROP if drop else pushes.ADD, *place, *rest))
    yield from by_shard.values()


async def _done(work: Callable[[Sequence[int]], Awaitable[Any]]) -> None:
    """All messages, lot by lot, so many lots side by side."""
    lots = iter([range(first, first + LOT) for first in range(0, COUNT, LOT)])

    async def some() -> None:
        for lot in lots:
            await work(lot)

    await asyncio.gather(*(some() for _ in range(SIDE_BY_SIDE)))


async def _measure() -> None:
    place = running()
    async with Session(place.config._replace(keyspace="statements")) as session:
        await migrate(session)
        async with Kinds(session) as kinds:
            await _done(kinds.fill)
            found: dict[str, list[float]] = {}
            for turn in range(1, ROUNDS + 1):
                for name, kind in kinds.kinds().items():
                    before_s = cpu_s(place.cassandra_pid)
                    await _done(partial(kind, turn))
                    each_us = (cpu_s(place.cassandra_pid) - before_s) / COUNT * 1e6
                    found.setdefault(name, []).append(each_us)
    for name, costs in found.items():
        print(f"{name:28}", *(f"{each:6.0f}" for each in costs))


if __name__ == "__main__":
    uvloop.run(_measure())
