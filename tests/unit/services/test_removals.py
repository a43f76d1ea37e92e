"""An erasure where many processes write: what cannot be read holds up nothing else, and the receipt counts it."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from random import Random
from typing import Any

import pytest

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Deleted, Header, Row
from plaudit.domain.errors import Corrupt, Unavailable
from plaudit.domain.lanes import lane_of
from plaudit.ports.cells import CellKey, CellState, Proposal
from plaudit.ports.lists import Entry
from plaudit.ports.removals import Job, Stays
from plaudit.services import remove as service
from plaudit.services.alter import Alter
from plaudit.services.near import NearCache
from plaudit.services.publish import Publish
from plaudit.services.removals import CellRemovals
from plaudit.services.remove import Remove
from plaudit.telemetry import Metrics
from tests.simulation import loop
from tests.simulation.jobs import SimulatedJobs
from tests.simulation.lists import lists_of
from tests.simulation.log import Away, SimulatedLog
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.simulation.town import JOB, Process, Town
from tests.support.clock import ManualClock
from tests.support.totals import NoCounters
from tests.support.wait import happens, until

TARGETS = [f"t{n:02}" for n in range(20)]


class Cells(SimulatedCells):
    """Looking at some of them fails."""

    def __init__(self, store: SimulatedStore) -> None:
        super().__init__(store, Random(0), Faults(delay_s=0))
        self.fails: dict[str, Exception] = {}

    async def read(self, key: CellKey, users: Iterable[str]) -> CellState:
        if key.target in self.fails:
            raise self.fails[key.target]
        return await super().read(key, users)

    async def settle(self, key: CellKey, users: Iterable[str]) -> CellState:
        if key.target in self.fails:
            raise self.fails[key.target]
        return await super().settle(key, users)


class Lists:
    """Has every target with a row of the user."""

    def __init__(self, store: SimulatedStore) -> None:
        self._store = store
        self.fails = False  # behind the first page

    async def reacted(self, user: str, before: tuple[int, str] | None, limit: int) -> list[Entry]:
        if self.fails and before is not None:
            raise Corrupt("a page of a list")
        left = [target for target in TARGETS if user in self._store.states(CellKey(target))[-1].rows]
        places = sorted(((int(target[1:]), target) for target in left), reverse=True)
        return [Entry(target, 1, at) for at, target in places if before is None or (at, target) < before][
            :limit
        ]


class Marks:
    """Everybody was erased long ago."""

    async def mark(self, user: str, erased_at: int | None = None) -> None: ...

    async def marked_at(self, user: str) -> int:
        return 0


class Bench:
    """Ann has reacted to all of the targets."""

    def __init__(self) -> None:
        self.store = SimulatedStore()
        for target in TARGETS:
            header = Header(seq=1, type="post", counts=(1,), rows=1, last_at=9, born=5)
            self.store.decide(CellKey(target), Proposal(0, header, {"ann": Row(1, 5, 9, b"")}), 0)
        self.cells = Cells(self.store)
        clock, log = ManualClock(), SimulatedLog(Random(0), Away())
        jobs = self.jobs = SimulatedJobs(Random(0))
        publish = Publish(log, log, self.cells, clock)
        self.lists = Lists(self.store)
        lists: Any = self.lists
        marks: Any = Marks()
        self.settings_stay = False
        self.caught_up_s = 0.0

        async def forget(_: str) -> None:
            if self.settings_stay:
                raise Corrupt("a device")

        async def caught_up(_: str) -> Collection[CellKey]:
            clock.advance(self.caught_up_s)
            return ()

        self.removals = CellRemovals(
            *(Alter(self.cells, publish, clock, Random(0)), self.cells, self.cells, publish, jobs, marks),
            *(lists, clock, caught_up),
            forget=[forget],
        )
        self.near = NearCache(NoCounters(), Catalogue(), entries=9, public=True)
        self.metrics = Metrics()
        self.remove = Remove(self.removals, jobs, self.near, clock, self.metrics, look_every_s=60)

    def left(self) -> list[str]:
        return [target for target in TARGETS if self.store.states(CellKey(target))[-1].rows]

    async def job(self, job: Job) -> Job:
        found = await self.remove.job(job.id)
        assert found is not None
        return found

    async def ended(self, job: Job) -> Job:
        async def is_so() -> bool:
            return (await self.job(job)).state != "running"

        await happens(is_so, "the end of the job")
        return await self.job(job)

    async def erase(self) -> Job:
        """The receipt."""
        return await self.ended(await self.remove.erase_user("ann"))


@pytest.fixture
async def bench(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(service, "ROWS_PER_STEP", 3)
    monkeypatch.setattr(service, "RETRY_S", 0.01)
    bench = Bench()
    async with bench.remove:
        yield bench


@pytest.mark.parametrize("error", [Corrupt("its header"), RuntimeError("nobody foresaw it")])
async def test_all_that_can_be_read_goes_and_the_receipt_says_how_much_stayed(
    bench: Bench, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bad = ["t00", "t09", "t10", "t11", "t19"]
    bench.cells.fails = dict.fromkeys(bad, error)
    receipt = await bench.erase()
    assert bench.left() == bad
    assert (receipt.state, receipt.removed) == ("failed", {"rows": 15})
    assert "5 targets" in receipt.note
    for target in bad:
        assert caplog.text.count(f"to {target} is not erased") == 1
    bench.cells.fails = dict.fromkeys(["t10"], error)
    again = await bench.erase()
    assert bench.left() == ["t10"]
    assert again.removed == {"rows": 4}
    assert "1 target " in again.note
    bench.cells.fails = {}
    assert (await bench.erase()).state == "done"
    assert bench.left() == []


async def test_what_is_away_does_not_hold_up_the_pages_behind_it(bench: Bench) -> None:
    bench.cells.fails = {"t18": Unavailable("its replicas"), "t03": Corrupt("its header")}
    job = await bench.remove.erase_user("ann")
    await until(lambda: bench.left() == ["t03", "t18"], "all but what is away to go")
    assert (await bench.job(job)).state == "running"
    del bench.cells.fails["t18"]
    receipt = await bench.ended(job)
    assert bench.left() == ["t03"]
    assert (receipt.state, receipt.removed) == ("failed", {"rows": 19})


async def test_what_is_gone_is_shown_also_where_it_cannot_be_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, away, save = list[str](), [Unavailable("for a moment")], bench.jobs.save

    async def fails_once(job: Job) -> None:
        if job.removed and away:
            raise away.pop()
        await save(job)

    monkeypatch.setattr(bench.jobs, "save", fails_once)
    monkeypatch.setattr(bench.near, "publish", lambda target, _: told.append(target))
    receipt = await bench.erase()
    assert sorted(told) == TARGETS
    assert (receipt.state, receipt.removed) == ("done", {"rows": 17}), "at least"


async def test_reactions_go_where_something_else_of_the_user_cannot_be_read(bench: Bench) -> None:
    bench.settings_stay = True
    receipt = await bench.erase()
    assert bench.left() == []
    assert receipt.state == "failed"
    assert "devices" in receipt.note
    bench.settings_stay = False
    assert (await bench.erase()).state == "done"


@pytest.mark.parametrize("user", ["ann", "bob"])
async def test_who_was_erased_elsewhere_has_one_job_where_something_cannot_be_forgotten(
    bench: Bench, user: str
) -> None:
    bench.settings_stay = True
    await bench.removals.mark_again(user, 5)
    assert [(job.kind, job.subject) for job in bench.jobs.all] == [("erase_user", user)]


@pytest.mark.parametrize("caught_up_s", [3.5, 4.5, 6.0, 7.5, 9.0])
async def test_an_erasure_ends_however_long_the_lists_take(bench: Bench, caught_up_s: float) -> None:
    bench.caught_up_s = caught_up_s
    bench.cells.fails = {"t10": Corrupt("its header")}
    receipt = await bench.erase()
    assert bench.left() == ["t10"]
    assert (receipt.state, receipt.removed) == ("failed", {"rows": 19})
    bench.cells.fails = {}
    assert (await bench.erase()).state == "done"


async def test_what_is_mended_is_not_taken_for_damaged_after_a_list_was(bench: Bench) -> None:
    bench.lists.fails = True
    bench.cells.fails = {"t19": Corrupt("its header")}
    assert (await bench.erase()).state == "failed"
    bench.lists.fails, bench.cells.fails = False, {}
    assert (await bench.erase()).state == "done"
    assert bench.left() == []


async def test_what_is_mended_is_not_taken_for_damaged_where_another_process_ended_the_job(
    bench: Bench,
) -> None:
    bench.cells.fails = {"t19": Corrupt("its header")}
    assert await bench.removals.erase_some("ann", 3, "ended elsewhere")
    bench.cells.fails = {}
    while await bench.removals.erase_some("ann", 3, "asked again"):
        pass
    assert bench.left() == []


class SomeLanes(SimulatedCells):
    """A lane of them cannot be read, or a page of its rows."""

    bad: CellKey | None = None
    bad_page: CellKey | None = None

    async def page(self, key: CellKey, after: str, limit: int) -> dict[str, Row]:
        if key == self.bad_page:
            raise Corrupt("half a row")
        return await super().page(key, after, limit)

    async def read(self, key: CellKey, users: Iterable[str]) -> CellState:
        if key == self.bad:
            raise Corrupt("its header")
        return await super().read(key, users)

    async def settle(self, key: CellKey, users: Iterable[str]) -> CellState:
        if key == self.bad:
            raise Corrupt("its header")
        return await super().settle(key, users)


@pytest.mark.parametrize("bad", [1, 2, 3])
def test_all_that_can_be_read_of_a_split_target_is_deleted(bad: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "ROWS_PER_STEP", 3)
    town, users = Town(Random(1)), [f"u{n}" for n in range(24)]
    cells = SomeLanes(town.store, town.random, Faults())

    async def delete(process: Process) -> Job:
        job = await process.remove.delete_target("t")
        while (found := await town.jobs.get(job.id)) is None or found.state == "running":
            await asyncio.sleep(1)
        return found

    async def play() -> tuple[Job, dict[int, int], Job]:
        await town.tap(1, *users[:16])
        await town.process().split.split("t")
        await town.tap(2, *users[8:])
        process = town.process(cells)
        cells.bad = CellKey("t", bad)
        async with process.remove:
            first = await delete(process)
            left = {key.bucket: len(town.store.states(key)[-1].rows) for key in town.store.cells}
            cells.bad = None
            return first, left, await delete(process)

    first, left, second = loop.run(play())
    assert first.state == "failed"
    assert "1 of its lanes" in first.note
    assert {bucket for bucket, rows in left.items() if rows} == {bad}
    assert second.state == "done"
    assert town.is_gone()
    lists = lists_of(town.log.events, Random(2))
    assert lists.reactors("t") == lists.reacted("t") == []


@pytest.mark.parametrize("before", ["ann", "others", "all"])
def test_a_user_is_erased_from_a_lane_whose_deletion_failed(before: str) -> None:
    """Whoever of a lane had reacted before it was one: it counts only those who had not."""
    town = Town(Random(1))
    cells = SomeLanes(town.store, town.random, Faults())
    lane = CellKey("t", lane_of("ann", 4))
    others = [user for user in map("u{}".format, range(20)) if lane_of(user, 4) == lane.bucket]
    removals = town.process(cells).removals

    async def purge() -> None:
        while await removals.purge_some("t", 500):
            pass

    async def play() -> None:
        await town.tap(1, *{"ann": ["ann"], "others": others, "all": ["ann", *others]}[before])
        await town.process().split.split("t")
        await town.tap(2, "ann", *others)
        cells.bad_page = lane
        await removals.begin_purge("t", JOB)
        with pytest.raises(Stays):
            await purge()
        assert await removals.erase_from("ann", "t") is not None
        assert await removals.erase_from("ann", "t") is None
        state = town.store.states(lane)[-1]
        assert (state.header.deleted, set(state.rows)) == (Deleted.PURGING, set(others))
        cells.bad_page = None
        await purge()

    loop.run(play())
    assert town.is_gone()
    lists = lists_of(town.log.events, Random(2))
    assert lists.reactors("t") == lists.reacted("t") == []
