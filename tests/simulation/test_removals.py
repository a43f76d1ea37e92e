"""Registration, erasure and deletion of one target at once, on a store that loses replies and applies what is late."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from plaudit.domain import removal
from plaudit.domain.catalogue import Catalogue, Registration
from plaudit.domain.cell import Deleted, Header, Row, Rules, Tap, Verb, fold
from plaudit.domain.errors import Conflict, OutcomeUnknown, Unavailable
from plaudit.domain.lanes import first, lane_of, merge, seal, touched
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.events import SHARDS
from plaudit.ports.removals import Job
from plaudit.services.alter import Alter
from plaudit.services.directory import CellDirectory
from plaudit.services.publish import Publish
from plaudit.services.removals import CellRemovals
from tests.simulation import loop
from tests.simulation.log import Away, SimulatedLog
from tests.simulation.store import Committed, Faults, SimulatedCells, SimulatedStore
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
        self.noted: set[str] = set()
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
        alter = Alter(cells, publish, clock, random, note=self._note)
        directory = CellDirectory(alter, NOTHING, NOTHING, clock)
        jobs: Any = _Jobs()
        removals = CellRemovals(alter, cells, cells, publish, jobs, NOTHING, NOTHING, clock)
        return alter, directory, removals, cells

    async def _note(self, target: str, owner: str) -> None:
        """Keep in mind who owned it, or fail."""
        await asyncio.sleep(0)
        if self.random.random() < 0.2:
            raise Unavailable("away")
        self.noted.add(owner)
        if self.random.random() < 0.2:
            raise OutcomeUnknown("no answer")

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
    owners = [state.registration and state.registration.owner for state in states]
    former = {before for before, after in pairwise(owners) if before and before != after}
    assert former <= run.noted
    last = states[-1]
    assert last.rows == {}
    assert last.header.deleted != Deleted.PURGING
    newest = max(run.log.events, key=lambda event: event.seq)
    assert (newest.seq, newest.deleted) == (last.header.seq, last.header.deleted)
    told = {t.user: t.after for event in run.log.events for t in event.transitions}
    # An erased user whose event is missing is still in the list that leads the erasure back here.
    assert set(run.rows) - set(run.erased) <= set(told) <= set(run.rows)
    assert set(told.values()) <= {0}


@pytest.mark.parametrize("seed", range(60))
def test_everything_at_once_ends_whole(seed: int) -> None:
    run = Run(seed)
    loop.run(run.play())
    judge(run)


class SplitRun(Run):
    """The same of a target that is split over two lanes, in which some have tapped."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        root = seal(self.store.states(KEY)[-1].header, 2)
        assert self.store.decide(KEY, Proposal(1, root, {}), 0.0)
        for user in [*self.random.sample(sorted(self.rows), 4), "new1", "new2"]:
            key = CellKey(KEY.target, lane_of(user, 2))
            lane = self.store.states(key)[-1]
            header = lane.header if lane.header.seq else first(root, key.bucket)
            rows = {user: touched(self.rows[user])} if user in self.rows else {}
            tap = Tap(user, Verb.SET, 3, b"%08d" % header.seq)
            plan = fold(header, rows, [tap], START_US, Rules(Catalogue()))
            lanes = header.lanes if header.seq else 1
            assert self.store.decide(key, Proposal(header.seq, plan.header, plan.changed, lanes=lanes), 0.0)
        self.erased = [*self.random.sample(sorted(self.rows), 3), "new1"]

    async def play(self) -> None:
        """And what is owed to the log is paid."""
        await super().play()
        await self.pay()

    async def pay(self) -> None:
        """Sweep."""
        self.log.away = Away()
        cells = SimulatedCells(self.store, self.random, Faults())
        publish = Publish(self.log, self.log, cells, ProcessClock(self.random))
        for shard in range(SHARDS):
            await publish.sweep(shard)

    def left(self) -> dict[int, Committed]:
        """The last state of each cell."""
        return {key.bucket: self.store.states(key)[-1] for key in self.store.cells}


def adds_up(run: Run, key: CellKey) -> bool:
    """Whether at each moment counts were the rows, and the tally of those whose rows are gone."""
    for state in run.store.states(key):
        wanted = Counter(row.reaction for row in state.rows.values())
        tally = Counter(dict(enumerate(state.header.erased, 1)))
        if key.bucket:
            wanted.subtract(Counter(row.base for row in state.rows.values() if row.base) + tally)
        else:
            wanted += tally
        del wanted[0]
        counts = {code: n for code, n in enumerate(state.header.counts, 1) if n}
        if not state.header.deleted and counts != {code: n for code, n in wanted.items() if n}:
            return False
    return True


# In 68 and 479 two users let go of the same reaction at the same microsecond, and nobody is told who did.
@pytest.mark.parametrize("seed", [*range(60), 68, 479])
def test_who_is_erased_from_a_split_target_leaves_it_as_if_they_had_never_been_there(seed: int) -> None:
    run = SplitRun(seed)

    async def play() -> None:
        for process in (run.process(), run.process()):
            removals = process[2]
            erasures = [until_done(partial(removals.erase_from, user, "t")) for user in run.erased]
            await asyncio.gather(*erasures)
        await asyncio.sleep(60)  # whatever is late has come by then
        for user in run.erased:
            await until_done(partial(run.process()[2].erase_from, user, "t"))
        await run.pay()

    loop.run(play())
    cells = run.left()
    assert not any(user in state.rows for state in cells.values() for user in run.erased)
    assert all(adds_up(run, key) for key in run.store.cells)
    header = merge(cells[0].header, {b: s.header for b, s in cells.items() if b})
    rows = {user: row for bucket in (0, 1, 2) if bucket in cells for user, row in cells[bucket].rows.items()}
    assert [n for n in header.counts if n] == [n for n in removal.counts_of(rows) if n]
    assert header.rows == len(rows)
    assert not {user for user, _ in header.recent} & set(run.erased)
    newest: dict[str, tuple[int, int]] = {}
    for event in run.log.events:
        for moved in event.transitions:
            newest[moved.user] = max(newest.get(moved.user, (0, 0)), (moved.at, moved.after))
    assert {user: newest[user][1] for user in run.erased if user in newest} == {
        user: 0 for user in run.erased if user in newest
    }


@pytest.mark.parametrize("seed", range(60))
def test_a_split_target_is_deleted_and_registered_as_a_whole(seed: int) -> None:
    run = SplitRun(seed)
    before = {user for state in run.left().values() for user, row in state.rows.items() if row.reaction}
    loop.run(run.play())
    cells = run.left()
    assert set(cells) == {0, 1, 2}, "lanes that nobody wrote before too"
    assert all(state.rows == {} for state in cells.values())
    assert (
        len({(state.header.deleted, state.header.type, state.registration) for state in cells.values()}) == 1
    )
    assert cells[0].header.deleted != Deleted.PURGING
    assert all(adds_up(run, key) for key in run.store.cells)
    assert merge(cells[0].header, {b: s.header for b, s in cells.items() if b}).total == 0
    for bucket, state in cells.items():
        newest = max((e for e in run.log.events if e.bucket == bucket), key=lambda event: event.seq)
        assert (newest.seq, newest.deleted) == (state.header.seq, state.header.deleted)
    assert before - set(run.erased) <= {t.user for event in run.log.events for t in event.transitions}
