"""Events that are owed, in Cassandra: slices of an hour, 64 shards each, so that no partition grows into a queue."""

from collections.abc import Iterable
from uuid import UUID, uuid1
from zlib import crc32

from plaudit.adapters.cassandra.session import Session
from plaudit.adapters.cassandra.statements import Statements
from plaudit.domain.errors import OutcomeUnknown
from plaudit.ports.cells import CellKey
from plaudit.ports.clock import Clock
from plaudit.ports.events import OWED_AT_ONCE, SHARDS, Debt

SLICE_S = 3600
# A slice this long over gets no more debts: clocks are a second apart at most, and a write ends within seconds.
CLOSED_AFTER_S = 15 * 60

OPEN = "INSERT INTO $keyspace.pending_slices (shard, slice) VALUES (?, ?)"
OWE = """
INSERT INTO $keyspace.pending_events (slice, shard, place, target, bucket, users) VALUES (?, ?, ?, ?, ?, ?)
"""
SLICES = "SELECT slice FROM $keyspace.pending_slices WHERE shard = ?"
OWED = (
    "SELECT place, target, bucket, users FROM $keyspace.pending_events WHERE slice = ? AND shard = ? LIMIT ?"
)
SETTLE = "DELETE FROM $keyspace.pending_events WHERE slice = ? AND shard = ? AND place = ?"
CLOSE = "DELETE FROM $keyspace.pending_slices WHERE shard = ? AND slice = ?"


class CassandraDebts(Statements):
    """See `plaudit.ports.events.Debts`; use as an async context manager inside an open session."""

    queries = (OPEN, OWE, SLICES, OWED, SETTLE, CLOSE)

    def __init__(self, session: Session, clock: Clock) -> None:
        super().__init__(session)
        self._clock = clock
        self._opened: set[tuple[int, int]] = set()

    async def owe(self, key: CellKey, users: Iterable[str]) -> None:
        slice_, shard = self._now_s() // SLICE_S, crc32(key.target.encode()) % SHARDS
        if (shard, slice_) not in self._opened:
            await self._write(OPEN, shard, slice_)  # before the debt, or a sweeper would not find it
            self._opened = {(s, n) for s, n in self._opened if n >= slice_ - 1} | {(shard, slice_)}
        await self._write(OWE, slice_, shard, uuid1(), key.target, key.bucket, list(users))

    async def owed(self, shard: int) -> list[Debt]:
        found: list[Debt] = []
        slices = [row[0] for row in await self._rows(SLICES, shard)]
        for slice_ in slices:
            rows = await self._rows(OWED, slice_, shard, OWED_AT_ONCE - len(found))
            for place, target, bucket, users in rows:
                found.append(
                    Debt(CellKey(target, bucket), tuple(users or ()), (slice_, shard, UUID(str(place))))
                )
            if not rows and self._now_s() > (slice_ + 1) * SLICE_S + CLOSED_AFTER_S:
                await self._close(shard, slice_)
            if len(found) >= OWED_AT_ONCE:
                break
        return found

    async def settle(self, debt: Debt) -> None:
        await self._write(SETTLE, *debt.place)

    async def _close(self, shard: int, slice_: int) -> None:
        try:
            await self._write(CLOSE, shard, slice_)
        except OutcomeUnknown:
            pass  # it is read once more

    def _now_s(self) -> int:
        return self._clock.now_us() // 1_000_000
