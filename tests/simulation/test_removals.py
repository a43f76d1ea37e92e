"""Registration, erasure and deletion of one target at once, on a store that loses replies and applies what is late."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any

import pytest

from plaudit.domain import removal
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Deleted, Header, Row
from plaudit.domain.errors import Conflict, OutcomeUnknown, Unavailable
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.removals import Job
from plaudit.services.alter import Alter
from plaudit.services.directory import CellDirectory
from plaudit.services.publish import Publish
from plaudit.services.removals import CellRemovals
from tests.simulation import loop
from tests.simulation.log import Away, SimulatedLog
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.simulation.world import START_US, ProcessClock

KEY = CellKey("t")
JOB = Job(id="j", kind="delete_target", subject="t", state="running", created_at=1)
NOTHING: Any = None  # what these steps do not touch


class _Jobs:
    """Jobs are kept elsewhere."""

    async def save(self, job: Job) -> None:
        return None


async def until_done(step: Callable[[], Awaitable[Any]]) -> Any:
    """As a job does: again, as long as nobody knows or nothing happened."""
    while True:
        try:
            return await step()
        except (Unavailable, OutcomeUnknown):
            await asyncio.sleep(0.5)


class Run:
    """One history of one target."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.store = SimulatedStore()
        self.log = SimulatedLog(self.random, Away(log=self.random.choice((0.0, 0.3))))
        self.rows = {f"u{n}": Row(self.random.randint(0, 2), 1 + n, 1 + n, b"") for n in range(8)}
        self.erased = self.random.sample(sorted(self.rows), 3)
        counts = removal.counts_of(self.rows)
        header = Header(1, "post", counts, 8, START_US, 1, (), Deleted.NO, 1)
        assert self.store.decide(KEY, Proposal(0, header, self.rows), 0.0)

    def process(self) -> tuple[Alter, CellDirectory, CellRemovals, SimulatedCells]:
        random = self.random
        faults = Faults(
            unavailable=random.choice((0.0, 0.1)),
            lost_request=random.choice((0.0, 0.1)),
            lost_reply=random.choice((0.0, 0.3)),
            late=random.choice((0.0, 0.2)),
            hidden=0.2,
            slow=0.05,
        )
        cells, clock = SimulatedCells(self.store, random, faults), ProcessClock(random)
        publish = Publish(self.log, self.log, cells, clock)
        alter = Alter(cells, publish, clock, random)
        directory = CellDirectory(alter, NOTHING, NOTHING, clock)
        jobs: Any = _Jobs()
        removals = CellRemovals(alter, cells, cells, publish, jobs, NOTHING, NOTHING, clock)
        return alter, directory, removals, cells

    async def play(self) -> None:
        random = self.random
        (_, one, _, _), (_, _, two, _), (_, _, three, _) = (self.process() for _ in range(3))

        async def register() -> None:
            for n in range(3):
                try:
                    await until_done(partial(one.register, "t", Registration(type="post", owner=f"o{n}")))
                except Conflict:
                    return

        async def erase() -> None:
            for user in self.erased:
                await until_done(partial(two.erase_from, user, "t"))

        async def delete() -> None:
            await asyncio.sleep(random.uniform(0, 0.2))
            await until_done(lambda: three.begin_purge("t", JOB))
            while await until_done(lambda: three.purge_some("t", 2)):
                pass

        async with asyncio.timeout(900):
            await asyncio.gather(register(), erase(), delete())
            await asyncio.sleep(60)  # whatever is late has come by then
            for _ in range(2):
                await until_done(lambda: three.purge_some("t", 2))


def judge(run: Run) -> None:
    """Nothing half-done at rest, every step in between was whole, and the log leads every consumer to the end."""
    states = run.store.states(KEY)
    for state in states[1:]:
        assert state.header.rows == len(state.rows)
        wanted = () if state.header.deleted else removal.counts_of(state.rows)
        assert [n for n in state.header.counts if n] == [n for n in wanted if n]
    last = states[-1]
    assert last.rows == {}
    assert last.header.deleted != Deleted.PURGING
    newest = max(run.log.events, key=lambda event: event.seq)
    assert (newest.seq, newest.deleted) == (last.header.seq, last.header.deleted)
    told = {t.user: t.after for event in run.log.events for t in event.transitions}
    # An erased user whose event is missing is still in the list that leads the erasure back here.
    reacted = {user for user, row in run.rows.items() if row.reaction}
    assert reacted - set(run.erased) <= set(told) <= reacted | set(run.erased)
    assert set(told.values()) <= {0}


@pytest.mark.parametrize("seed", range(60))
def test_everything_at_once_ends_whole(seed: int) -> None:
    run = Run(seed)
    loop.run(run.play())
    judge(run)
