"""Pushes as rows: where one is kept, by when it is due, and the slices that may hold some.

A slice is a minute, and what is due later is in a later one: nobody reads over pushes that wait for a provider. A slice
that is over and empty is closed; new pushes are due now or later, so nothing is put into it any more.
"""

from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, cast
from zlib import crc32

from plaudit.adapters.cassandra.session import Session
from plaudit.adapters.cassandra.statements import Statements, Write
from plaudit.domain.errors import OutcomeUnknown
from plaudit.ports.notifications import Channel, Notification

SHARDS = 16
SECOND = 1_000_000
SLICE_US = 60 * SECOND
# A slice this long over gets no more pushes: clocks are a second apart at most, and a write ends within seconds.
CLOSED_AFTER_US = 60 * SECOND
HOUR_S = 3600
OPEN_AT_MOST = 1_000

OPEN = "INSERT INTO $keyspace.push_slice (shard, channel, slice) VALUES (?, ?, ?)"
CLOSE = "DELETE FROM $keyspace.push_slice WHERE shard = ? AND channel = ? AND slice = ?"
SLICES = "SELECT slice FROM $keyspace.push_slice WHERE shard = ? AND channel = ? AND slice <= ?"
ALL_SLICES = "SELECT channel, slice FROM $keyspace.push_slice WHERE shard = ?"
ADD = """
INSERT INTO $keyspace.push (channel, shard, slice, due, no, message, device, owner, at, created_at, tries, reason)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
DROP = """
DELETE FROM $keyspace.push
WHERE channel = ? AND shard = ? AND slice = ? AND due = ? AND no = ? AND message = ? AND device = ?
"""
DUE = """
SELECT due, no, message, device, owner, at, created_at, tries, reason FROM $keyspace.push
WHERE channel = ? AND shard = ? AND slice = ? AND due >= ? AND due <= ? LIMIT ?
"""
COUNT = "SELECT count(*) FROM $keyspace.push WHERE channel = ? AND shard = ? AND slice = ?"


class Place(NamedTuple):
    """Where a push is kept."""

    channel: Channel
    shard: int
    slice: int
    due: int
    no: int
    message: str
    device: str


class Line(NamedTuple):
    """A push. `due` is None for a dead letter."""

    channel: Channel
    due: int | None
    no: int
    message: str
    device: str
    owner: str
    at: int
    created_at: int
    tries: int
    reason: str

    @property
    def place(self) -> Place:
        """Where it is kept, if it is under way."""
        due = cast("int", self.due)
        return Place(
            self.channel, shard_of(self.message), due // SLICE_US, due, self.no, self.message, self.device
        )

    @property
    def hour(self) -> int:
        """Where it is kept as a dead letter."""
        return hour_of(self.no)


def shard_of(message: str) -> int:
    """The shard of a message's pushes."""
    return crc32(message.encode()) % SHARDS


def hour_of(no: int) -> int:
    """When a push of this number was made first, in hours since the epoch."""
    return (no >> 32) // HOUR_S


def new_line(message: Notification, channel: Channel, device: str, now: int) -> Line:
    """A push to be made now. Its number is 31 bits of seconds and 32 of a hash: older ones have smaller ones."""
    digest = blake2b(f"{message.id}\0{channel}\0{device}".encode(), digest_size=4).digest()
    no = now // SECOND << 32 | int.from_bytes(digest, "big")
    return Line(channel, now, no, message.id, device, message.owner, message.at, now, 0, "")


class Pushes(Statements):
    """The table `push` and its slices; use as an async context manager inside an open session."""

    queries = (OPEN, CLOSE, SLICES, ALL_SLICES, ADD, DROP, DUE, COUNT)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._open: set[tuple[Channel, int, int]] = set()  # slices that this process has opened

    async def add(self, lines: Iterable[Line]) -> None:
        """Put pushes there; once more is the same. Raises `Unavailable` and `OutcomeUnknown`."""
        places = [(line.place, line) for line in lines]
        # Before the pushes, or nobody would find them. Nobody closes a slice before it is over.
        new = {place[:3] for place, _ in places} - self._open
        await self._write_all((OPEN, shard, channel, slice_) for channel, shard, slice_ in sorted(new))
        self._open = new if len(self._open) > OPEN_AT_MOST else self._open | new
        await self._write_groups(
            _by_partition(
                (ADD, *place, line.owner, line.at, line.created_at, line.tries, line.reason)
                for place, line in places
            )
        )

    async def drop(self, places: Iterable[Place]) -> None:
        """Forget pushes. Idempotent. Raises `Unavailable` and `OutcomeUnknown`: some are made once more, under their
        ids."""
        await self._write_groups(_by_partition((DROP, *place) for place in places))

    async def slices(self, channel: Channel, shard: int, now: int) -> list[int]:
        """Slices that may hold something that is due, the oldest first. Raises `Unavailable`."""
        return [slice_ for (slice_,) in await self._rows(SLICES, shard, channel, now // SLICE_US)]

    async def due(
        self, channel: Channel, shard: int, slice_: int, since: int, now: int, limit: int
    ) -> list[Line]:
        """Pushes of a slice that are due, the oldest first. Raises `Unavailable`."""
        rows = await self._rows(DUE, channel, shard, slice_, since, now, limit)
        return [Line(channel, *row) for row in rows]

    async def close(self, channel: Channel, shard: int, slice_: int, now: int) -> None:
        """An empty slice is not read any more, if it is long over."""
        if now > (slice_ + 1) * SLICE_US + CLOSED_AFTER_US:
            self._open.discard((channel, shard, slice_))
            try:
                await self._write(CLOSE, shard, channel, slice_)
            except OutcomeUnknown:
                pass  # it is read once more

    async def count(self, shards: Sequence[int]) -> dict[str, int]:
        """How many are under way in each channel. Goes through all of them. Raises `Unavailable`."""
        found: dict[str, int] = {}
        for shard in shards:
            for channel, slice_ in await self._rows(ALL_SLICES, shard):
                [(number,)] = await self._rows(COUNT, channel, shard, slice_)
                if number:
                    found[channel] = found.get(channel, 0) + number
        return found


def _by_partition(writes: Iterable[Write]) -> Collection[Sequence[Write]]:
    """Writes that begin with the place of a push, those of one partition together."""
    groups: dict[tuple[Any, ...], list[Write]] = {}
    for write in writes:
        groups.setdefault(write[1:4], []).append(write)
    return groups.values()
