"""Sweep: pays what is owed to the log of events, shard by shard, as soon as the log takes it.

Any number of workers sweep at once. Each looks at all shards in an order of its own, and where something is owed it
takes the shard's lease, so that no two pay the same; a worker that dies gives its shards back by doing nothing.
"""

import asyncio
import logging
from random import Random
from typing import Self

from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.ports.events import SHARDS, Debts
from plaudit.ports.leases import Leases
from plaudit.services.background import ended
from plaudit.services.publish import Publish
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.sweep")

BUSY_PAUSE_S = 1.0
IDLE_PAUSE_S = 3.0
LEASE_S = 30  # for longer than this a dead worker's shard waits for the next one
AT_ONCE = 8  # shards: as many look-ups and payments under way


class Sweep:
    """See the module. Use as an async context manager; `look` alone looks once."""

    def __init__(
        self,
        publish: Publish,
        debts: Debts,
        leases: Leases,
        metrics: Metrics,
        random: Random,
        *,
        busy_pause_s: float = BUSY_PAUSE_S,
        idle_pause_s: float = IDLE_PAUSE_S,
    ) -> None:
        self._publish = publish
        self._debts = debts
        self._leases = leases
        self._metrics = metrics
        self._random = random
        self._busy_pause_s = busy_pause_s
        self._idle_pause_s = idle_pause_s
        self._owed: dict[int, int] = {}  # what was open in a shard when it was last looked at
        self._unreadable: dict[int, int] = {}  # and which part of it nobody can pay
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._metrics.gauge("plaudit_debts_open", lambda: self.open)
        self._metrics.gauge("plaudit_debts_unreadable", lambda: self.unreadable)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await ended(self._task)

    @property
    def open(self) -> int:
        """How much is owed, as far as was looked: of each shard no more than one look shows."""
        return sum(self._owed.values())

    @property
    def unreadable(self) -> int:
        """How much of it is of cells that cannot be read."""
        return sum(self._unreadable.values())

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("a sweep failed in a way nobody foresaw; it is made again")
            await asyncio.sleep(self._busy_pause_s if self.open > self.unreadable else self._idle_pause_s)

    async def look(self) -> int:
        """Look at every shard once and pay what can be paid; returns how many debts were. A shard that fails is left
        for the next look.
        """
        paid = 0
        shards = iter(self._random.sample(range(SHARDS), SHARDS))

        async def work() -> None:
            nonlocal paid
            for shard in shards:
                try:
                    paid += await self._shard(shard)
                except (Unavailable, OutcomeUnknown) as error:
                    log.warning("shard %s of the debts cannot be swept now: %s", shard, error)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
        return paid

    async def _shard(self, shard: int) -> int:
        """Pay a shard's debts, if nobody else does."""
        owed = self._owed[shard] = len(await self._debts.owed(shard))
        name = f"debts/{shard}"
        if not owed:
            self._unreadable.pop(shard, None)
        if not owed or self._publish.away or not await self._leases.claim(name, LEASE_S):
            return 0
        paid, self._unreadable[shard] = await self._publish.sweep(shard)
        self._owed[shard] = max(0, owed - paid)
        self._metrics.debts_paid += paid
        await self._leases.release(name)  # where this is not reached, the lease ends by itself
        return paid
