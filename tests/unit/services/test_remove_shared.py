"""Jobs where many processes could carry them out: one does, for as long as it lives."""

import asyncio
from contextlib import AsyncExitStack
from random import Random

from plaudit.domain.catalogue import Catalogue
from plaudit.ports.ledger import Target
from plaudit.ports.removals import Job
from plaudit.services.near import NearCache
from plaudit.services.remove import LEASE_S, Remove
from plaudit.telemetry import Metrics
from tests.simulation import loop
from tests.simulation.jobs import Held, SimulatedJobs, SimulatedLeases
from tests.simulation.world import ProcessClock
from tests.support.totals import NoCounters

STEP_S = 10.0
STEPS = 20  # together far longer than a lease


class Steps:
    """The steps of an erasure as one process makes them: each takes its time. Deletions are none of its business."""

    def __init__(self, name: str, jobs: SimulatedJobs, made: list[str]) -> None:
        self._name = name
        self._jobs = jobs
        self._made = made  # by all processes

    async def mark_erased(self, user: str, job: Job) -> None:
        await self._jobs.save(job)

    async def erase_some(self, user: str, limit: int, job_id: str = "") -> dict[str, Target]:
        self._made.append(self._name)
        await asyncio.sleep(STEP_S)
        return {} if len(self._made) >= STEPS else {"t": Target()}

    async def begin_purge(self, target: str, job: Job) -> Target:
        raise NotImplementedError

    async def purge_some(self, target: str, limit: int, job_id: str = "") -> int:
        raise NotImplementedError

    async def take_back(self, target: str, job_id: str = "", *, last: bool) -> int:
        raise NotImplementedError


class Bench:
    """Processes that share jobs."""

    def __init__(self) -> None:
        self.jobs = SimulatedJobs(Random(0))
        self.held: Held = {}
        self.made: list[str] = []

    def process(self, name: str) -> Remove:
        """One more, which looks for what others left."""
        return Remove(
            Steps(name, self.jobs, self.made),
            self.jobs,
            NearCache(NoCounters(), Catalogue(), entries=9, public=True),
            ProcessClock(Random(0)),
            Metrics(),
            SimulatedLeases(name, self.held),
            look_every_s=5.0,
        )


def test_a_job_longer_than_a_lease_is_carried_out_by_one() -> None:
    async def main() -> None:
        bench = Bench()
        async with bench.process("one") as one, bench.process("other"):
            job = await one.erase_user("ann")
            await asyncio.sleep(STEPS * STEP_S + 10)
            assert bench.made == ["one"] * STEPS
            done = await one.job(job.id)
            assert done is not None
            assert done.state == "done"
            assert bench.held == {}, "given back"

    loop.run(main())


def test_the_job_of_one_that_died_is_taken_over_when_its_lease_ends() -> None:
    async def main() -> None:
        bench = Bench()
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(bench.process("one"))
            await one.erase_user("ann")
            await asyncio.sleep(3.5 * STEP_S)
        assert bench.made == ["one"] * 4
        async with bench.process("other"):
            await asyncio.sleep(LEASE_S / 3)
            assert set(bench.made) == {"one"}, "it may be slow, and not dead"
            await asyncio.sleep(LEASE_S + STEPS * STEP_S)
        assert bench.made == ["one"] * 4 + ["other"] * (STEPS - 4)

    loop.run(main())
