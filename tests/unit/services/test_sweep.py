"""Sweeping debts: of all who sweep one pays a shard, and what fails in one shard holds up no other."""

import asyncio
from random import Random

from plaudit.domain.cell import Header, Row
from plaudit.domain.errors import OutcomeUnknown
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.events import Debt
from plaudit.services.publish import FAILURES, Publish
from plaudit.services.sweep import Sweep
from plaudit.telemetry import Metrics
from tests.simulation import loop
from tests.simulation.jobs import Held, SimulatedLeases
from tests.simulation.log import Away, SimulatedLog
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.simulation.world import ProcessClock

SHARD = 7


class Log(SimulatedLog):
    """Takes events when it is let go on, and fails as it is told."""

    def __init__(self) -> None:
        super().__init__(Random(0), Away())
        self.go = asyncio.Event()
        self.go.set()
        self.asked = 0
        self.fails = False
        self.unreadable: set[int] = set()  # shards

    async def publish(self, key: CellKey, event: bytes) -> None:
        self.asked += 1
        await self.go.wait()
        if self.fails:
            raise OutcomeUnknown("away")
        await super().publish(key, event)

    async def owed(self, shard: int) -> list[Debt]:
        if shard in self.unreadable:
            raise OutcomeUnknown("no quorum")
        return await super().owed(shard)


class Bench:
    """One store and one log, and workers on them."""

    def __init__(self) -> None:
        self.log = Log()
        self.held: Held = {}
        self.claims = 0
        self._store = SimulatedStore()

    def owe(self, name: str, shard: int = SHARD) -> None:
        """A commit of a target of that name, and a debt of its event."""
        key, place = CellKey(name), len(self.log.debts)
        assert self._store.decide(
            key, Proposal(0, Header(1, "post", (1,), 1, 9, 5), {"ann": Row(1, 5, 9)}), 0
        )
        self.log.debts[place] = Debt(key, ("ann",), (0, shard, place))

    def worker(self, name: str) -> Sweep:
        """One more."""
        cells = SimulatedCells(self._store, Random(name), Faults())
        publish = Publish(self.log, self.log, cells, ProcessClock(Random(name)))
        return Sweep(publish, self.log, Counted(self, name), Metrics(), Random(name))


class Counted(SimulatedLeases):
    """Says how often it was asked."""

    def __init__(self, bench: Bench, name: str) -> None:
        super().__init__(name, bench.held)
        self._bench = bench

    async def claim(self, name: str, ttl_s: int) -> bool:
        self._bench.claims += 1
        return await super().claim(name, ttl_s)


def test_a_shard_is_left_to_who_pays_it_and_then_to_whoever_comes() -> None:
    async def main() -> None:
        bench = Bench()
        one, other = bench.worker("one"), bench.worker("other")
        bench.owe("t")
        bench.log.go.clear()
        paying = asyncio.create_task(one.look())
        await asyncio.sleep(0.5)
        assert (await other.look(), other.open) == (0, 1)
        bench.log.go.set()
        assert await paying == 1
        assert len(bench.log.events) == 1
        bench.owe("s")
        assert (await other.look(), other.open) == (1, 0), "the lease was given back"

    loop.run(main())


def test_while_the_log_is_away_nobody_takes_leases_and_asks() -> None:
    async def main() -> None:
        bench = Bench()
        sweep = bench.worker("one")
        for shard in range(20):
            bench.owe(f"t{shard}", shard)
        bench.log.fails = True
        while bench.log.asked < FAILURES:
            await sweep.look()
        asked, claims = bench.log.asked, bench.claims
        assert await sweep.look() == 0
        assert (bench.log.asked, bench.claims, sweep.open) == (asked, claims, 20)

    loop.run(main())


def test_a_shard_that_cannot_be_looked_at_holds_up_no_other() -> None:
    async def main() -> None:
        bench = Bench()
        bench.owe("t")
        bench.log.unreadable = set(range(64)) - {SHARD}
        assert await bench.worker("one").look() == 1

    loop.run(main())
