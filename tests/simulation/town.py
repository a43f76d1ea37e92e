"""Whole processes on a simulated store, as far as they tap on targets, split, delete and register them."""

import asyncio
from itertools import count
from random import Random
from typing import Any, NamedTuple

from plaudit.domain.catalogue import Catalogue, Registration
from plaudit.domain.cell import Answer, Deleted, Tap, Verb
from plaudit.domain.errors import OutcomeUnknown
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.events import SHARDS
from plaudit.ports.removals import Job
from plaudit.services.alter import Alter
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.directory import CellDirectory
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.propose import Proposer
from plaudit.services.publish import Publish
from plaudit.services.removals import CellRemovals
from plaudit.services.remove import Remove
from plaudit.services.split import Split
from tests.simulation.jobs import Held, SimulatedJobs, SimulatedLeases
from tests.simulation.log import Away, SimulatedLog
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.simulation.world import METRICS, RULES, ProcessClock
from tests.support.totals import NoCounters

KEY = CellKey("t")
JOB = Job(id="j", kind="delete_target", subject="t", state="running", created_at=1)
REGISTRATION = Registration(type="post")
NOTHING: Any = None  # what these steps do not touch


class SlowCells(SimulatedCells):
    """A process that holds its proposals back until it is let go on."""

    def __init__(self, store: SimulatedStore, random: Random) -> None:
        super().__init__(store, random, Faults())
        self.go = asyncio.Event()

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        await self.go.wait()
        return await super().propose(key, proposal)


class LateCells(SimulatedCells):
    """A process whose proposals to one cell are on their way for long: nobody is told what becomes of them."""

    def __init__(self, store: SimulatedStore, random: Random, key: CellKey) -> None:
        super().__init__(store, random, Faults())
        self._key = key
        self.late: Proposal | None = None

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        if key != self._key:
            return await super().propose(key, proposal)
        self.late = proposal
        raise OutcomeUnknown("simulated")


class Process(NamedTuple):
    """What one process has."""

    cells: SimulatedCells
    publish: Publish
    alter: Alter
    removals: CellRemovals
    directory: CellDirectory
    committer: CellCommitter
    split: Split
    remove: Remove


class Town:
    """A store, a log, jobs, and processes that work on them."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.store = SimulatedStore()
        self.log = SimulatedLog(random, Away())
        self.jobs = SimulatedJobs(random)
        self._held: Held = {}
        self._names = count()

    def process(
        self,
        cells: SimulatedCells | None = None,
        *,
        look_every_s: float | None = None,
        under_way_s: float = 0.0,
        lanes: int = 4,
    ) -> Process:
        """One more process. Its `remove` carries out jobs for as long as somebody has entered it."""
        cells, clock = cells or SimulatedCells(self.store, self.random, Faults()), ProcessClock(self.random)
        publish = Publish(self.log, self.log, cells, clock)
        alter = Alter(cells, publish, clock, self.random)
        removals = CellRemovals(alter, cells, cells, publish, self.jobs, NOTHING, NOTHING, clock)
        near = NearCache(NoCounters(), Catalogue(), entries=9, public=True)
        proposer = Proposer(cells, Known(), clock, RULES)
        leases = SimulatedLeases(str(next(self._names)), self._held)
        return Process(
            cells,
            publish,
            alter,
            removals,
            CellDirectory(alter, NOTHING, NOTHING, clock),
            CellCommitter(proposer, near, clock, METRICS, self.random, publish),
            Split(alter, lanes),
            Remove(removals, self.jobs, near, clock, METRICS, leases, look_every_s, under_way_s),
        )

    async def tap(self, reaction: int, *users: str) -> None:
        """Each of them wants that reaction to the target, and is told that it is stored."""
        committer = self.process().committer
        for user in users:
            tap = Tap(user, Verb.SET, reaction, self.random.randbytes(8))
            assert isinstance((await committer.submit("t", tap)).answer, Answer)

    async def delete(self) -> None:
        """From the first step to the last."""
        removals = self.process().removals
        await removals.begin_purge("t", JOB)
        while await removals.purge_some("t", 2):
            pass

    async def register(self) -> None:
        """And its lanes."""
        await self.process().directory.register("t", REGISTRATION)

    async def sweep(self) -> None:
        """Pay what is owed to the log."""
        publish = self.process().publish
        for shard in range(SHARDS):
            await publish.sweep(shard)

    def is_gone(self) -> bool:
        """Whether no cell of any target has a row, and all say that it is purged."""
        states = [self.store.states(key)[-1] for key in self.store.cells]
        return all(not state.rows and state.header.deleted == Deleted.PURGED for state in states)

    def ended(self) -> dict[str, str]:
        """How the jobs are, by id."""
        return {job.id: job.state for job in self.jobs.all}
