"""Everybody reads, and Redis is empty, at start-up or emptied meanwhile: the ledger is asked once, not all at once."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from random import Random

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Header
from plaudit.domain.errors import Overloaded
from plaudit.domain.events import Committed
from plaudit.ports.ledger import Target
from plaudit.services.aging import AgingNearCache
from plaudit.services.near import Shown
from plaudit.services.refill import Gate, Refill
from plaudit.telemetry import Metrics
from tests.simulation import loop
from tests.simulation.overload import Clock
from tests.support.totals import MemoryTotals

GATE = Gate()
PER_CALL = 20


class SharedTotals(MemoryTotals):
    """One Redis for all processes, with its delays."""

    def __init__(self, put_s: float = 0.02) -> None:
        super().__init__()
        self.put_s = put_s

    async def get(self, ids: Sequence[str]) -> dict[str, Target]:
        await asyncio.sleep(0.001)
        return await super().get(ids)

    async def put(self, states: Mapping[str, Target]) -> None:
        await asyncio.sleep(self.put_s)
        await super().put(states)

    async def apply(self, events: Sequence[Committed]) -> None:
        raise AssertionError("nobody taps here")

    async def forget(self, ids: Collection[str]) -> None:
        raise AssertionError("nobody rebuilds here")


class CountedLedger:
    """See `plaudit.ports.lists.Counters`: one process's way to the ledger, which reads so many targets a second."""

    def __init__(self, per_s: float) -> None:
        self.per_s = per_s
        self.reads: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self._free_at_s = 0.0

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        self.reads.update(ids)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        now_s = asyncio.get_running_loop().time()
        self._free_at_s = max(self._free_at_s, now_s) + len(ids) / self.per_s
        await asyncio.sleep(self._free_at_s - now_s)
        self.at_once -= 1
        return {id_: Target(Header(1, "post", (1,), 1)) for id_ in ids}


class Process:
    """What one API process reads with, and what its readers saw."""

    def __init__(self, totals: SharedTotals, per_s: float = 3_000) -> None:
        self.ledger = CountedLedger(per_s)
        self.refill = Refill(totals, self.ledger, Metrics())
        self.near = AgingNearCache(
            self.refill,
            Catalogue(),
            entries=50_000,
            public=True,
            max_age_s=0.1,
            clock=Clock(),
            degraded=lambda: self.refill.degraded,
            busy=lambda: self.refill.busy,
        )
        self.calls: list[tuple[float, float, bool, bool]] = []  # when, how long, refused, degraded

    async def read(self, random: Random, targets: Sequence[str], per_s: float, seconds: float) -> None:
        """Calls for some of these at a rate, whether or not earlier ones were answered."""
        clock, under_way = asyncio.get_running_loop(), set[asyncio.Task[None]]()
        began_s = clock.time()
        for call in range(round(per_s * seconds)):
            await asyncio.sleep(max(0.0, began_s + call / per_s - clock.time()))
            task = asyncio.create_task(self._call(random.sample(targets, PER_CALL)))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    async def _call(self, ids: Sequence[str]) -> None:
        clock = asyncio.get_running_loop()
        began_s, refused = clock.time(), False
        try:
            found: dict[str, Shown] = await self.near.load(ids)
            assert all(found[id_].seq == 1 for id_ in ids)
        except Overloaded:
            refused = True
        self.calls.append((began_s, clock.time() - began_s, refused, self.near.degraded()))

    async def close(self) -> None:
        """Let what is read again in time be read."""
        await asyncio.sleep(1)
        await self.refill.__aexit__(None, None, None)

    def refused(self) -> int:
        return sum(refused for *_, refused, _ in self.calls)


def test_processes_that_start_on_an_empty_redis_read_each_target_once() -> None:
    async def main() -> None:
        totals = SharedTotals(put_s=0.3)  # longer than anything is believed without asking again
        targets = [f"t{n}" for n in range(1_500)]
        processes = [Process(totals) for _ in range(3)]
        await asyncio.gather(*(p.read(Random(n), targets, 200, 3) for n, p in enumerate(processes)))
        for process in processes:
            assert set(process.ledger.reads.values()) == {1}
            assert process.ledger.most_at_once <= GATE.reads
            assert process.refused() == 0
            assert max(took_s for began_s, took_s, *_ in process.calls if began_s > 2) < 0.1
        assert set(totals.kept) == set(targets)
        for process in processes:
            await process.close()

    loop.run(main())


def test_a_redis_emptied_under_full_load_is_refilled_and_nobody_is_refused_or_waits() -> None:
    """More targets in use than may wait at the gate: meanwhile what was seen last is shown."""

    async def main() -> None:
        totals = SharedTotals()
        targets = [f"t{n}" for n in range(4_000)]
        totals.kept = {id_: Target(Header(1, "post", (1,), 1)) for id_ in targets}
        process = Process(totals)

        async def empty() -> None:
            await asyncio.sleep(2)
            assert not process.ledger.reads, "Redis had all of it"
            totals.kept = {}

        await asyncio.gather(process.read(Random(1), targets, 1_000, 6), empty())
        assert set(process.ledger.reads.values()) == {1}
        assert len(process.ledger.reads) == len(targets)
        assert process.ledger.most_at_once <= GATE.reads
        assert process.refused() == 0
        said = [began_s for began_s, *_, degraded in process.calls if degraded]
        assert 2 < min(said) < max(said) < 2 + 4_000 / process.ledger.per_s + 1.5
        took_s = sorted(took_s for _, took_s, *_ in process.calls)
        assert took_s[int(0.99 * len(took_s))] < 0.1, "who has seen it waits for nobody"
        await process.close()

    loop.run(main())
