"""Deletions as jobs of many processes: whoever carries one out, it ends when the rows are gone and not before."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import msgspec
import pytest

from plaudit.domain.cell import Deleted
from plaudit.domain.errors import Corrupt, OutcomeUnknown
from plaudit.domain.lanes import lane_of
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.removals import Stays
from tests.simulation import loop
from tests.simulation.town import JOB, KEY, REGISTRATION, LateCells, Process, SlowCells, Town

LOOK_EVERY_S = 10.0
USERS = [f"u{n}" for n in range(8)]


class Slow(Town):
    """A slow API process, and a worker that looks for jobs that others left."""

    def __init__(self) -> None:
        super().__init__(Random(1))
        self.held = SlowCells(self.store, self.random)
        self.api = self.process(self.held)
        self.worker = self.process(look_every_s=LOOK_EVERY_S)


Story = Callable[[Slow, Process], Awaitable[None]]


def play(story: Story) -> Town:
    async def main() -> Town:
        town = Slow()
        await town.tap(1, *USERS)
        async with town.api.remove, town.worker.remove:
            await story(town, town.api)
        return town

    return loop.run(main())


def test_a_job_that_is_found_before_its_target_is_closed_does_not_end_with_its_rows_there() -> None:
    async def story(town: Slow, api: Process) -> None:
        await asyncio.sleep(LOOK_EVERY_S - 1)
        deleting = asyncio.create_task(api.remove.delete_target("t"))
        await asyncio.sleep(2)
        town.held.go.set()
        job = await deleting
        await asyncio.sleep(100)
        assert town.ended() == {job.id: "done"}

    assert play(story).is_gone()


def test_the_step_that_takes_the_last_rows_ends_a_deletion() -> None:
    town = Town(Random(1))

    async def main() -> None:
        await town.tap(1, "ann", "bob")
        removals = town.process().removals
        await removals.begin_purge("t", JOB)
        assert await removals.purge_some("t", 2) == 2
        assert town.is_gone()

    loop.run(main())


def test_what_a_process_began_that_died_before_the_target_was_closed_is_carried_out() -> None:
    async def story(town: Slow, api: Process) -> None:
        deleting = asyncio.create_task(api.remove.delete_target("t"))
        await asyncio.sleep(1)
        assert list(town.ended().values()) == ["running"]
        await api.remove.__aexit__()
        await api.alter.drain(0.0)
        await asyncio.gather(deleting, return_exceptions=True)
        await asyncio.sleep(100)
        assert list(town.ended().values()) == ["done"]

    assert play(story).is_gone()


def test_whoever_closes_late_does_not_close_what_was_registered_since() -> None:
    async def story(town: Slow, api: Process) -> None:
        await asyncio.sleep(LOOK_EVERY_S - 1)
        deleting = asyncio.create_task(api.remove.delete_target("t"))
        await asyncio.sleep(2)  # the worker has found the job and carried it out
        await town.register()
        await town.tap(1, "new")
        town.held.go.set()
        job = await deleting
        await asyncio.sleep(100)
        assert town.ended() == {job.id: "done"}

    state = play(story).store.states(KEY)[-1]
    assert (state.header.deleted, set(state.rows)) == (Deleted.NO, {"new"})


def test_a_target_of_a_second_life_is_deleted_though_a_process_of_the_version_before_drops_the_note() -> None:
    async def story(town: Slow, api: Process) -> None:
        await town.delete()
        await town.register()
        await town.tap(1, "new")
        deleting = asyncio.create_task(api.remove.delete_target("t"))
        await asyncio.sleep(1)
        header = town.store.states(KEY)[-1].header
        assert header.deleted_at
        tapped = msgspec.structs.replace(header, seq=header.seq + 1, deleted_at=0)
        assert town.store.decide(KEY, Proposal(header.seq, tapped, {}), 0.0)
        town.held.go.set()
        job = await deleting
        await asyncio.sleep(100)
        assert town.ended()[job.id] == "done"

    assert play(story).is_gone()


@pytest.mark.parametrize("damaged", ["purge_some", "take_back"])
def test_what_cannot_be_read_ends_no_deletion_before_its_last_taking_back(damaged: str) -> None:
    async def main() -> tuple[list[bool], list[str]]:
        town = Town(Random(1))
        await town.tap(1, *USERS)
        process = town.process(look_every_s=LOOK_EVERY_S, under_way_s=100.0)
        passes: list[bool] = []

        async def take_back(target: str, job_id: str = "", *, last: bool) -> int:
            passes.append(last)
            if damaged == "take_back":
                raise Corrupt("a message")
            return 0

        async def purge_some(target: str, limit: int, job_id: str = "") -> int:
            raise Stays("1 of its lanes")

        process.removals.take_back = take_back  # type: ignore[method-assign] # to see when it is called
        process.removals.purge_some = purge_some  # type: ignore[method-assign] # what a damaged lane does
        async with process.remove:
            await process.remove.delete_target("t")
            await asyncio.sleep(90)
            assert list(town.ended().values()) == ["running"]
            await asyncio.sleep(60)
        assert list(town.ended().values()) == ["failed"]
        return passes, [job.note for job in town.jobs.all]

    passes, (note,) = loop.run(main())
    assert passes == [False, True]
    assert ("1 of its lanes" in note) is (damaged == "purge_some")


@pytest.mark.parametrize("asked", [False, True], ids=["found", "asked for again"])
def test_a_deletion_that_begins_late_waits_for_who_saw_the_target_open(asked: bool) -> None:
    async def main() -> tuple[list[bool], list[float]]:
        town = Town(Random(1))
        await town.tap(1, *USERS)
        await town.jobs.save(msgspec.structs.replace(JOB, begun=False))  # stored long ago
        process = town.process(look_every_s=None if asked else LOOK_EVERY_S, under_way_s=100.0)
        passes: list[bool] = []
        times_s: list[float] = []

        async def take_back(target: str, job_id: str = "", *, last: bool) -> int:
            passes.append(last)
            times_s.append(asyncio.get_running_loop().time())
            return 0

        process.removals.take_back = take_back  # type: ignore[method-assign] # to see when it is called
        async with process.remove:
            if asked:
                assert (await process.remove.delete_target("t")).id == JOB.id
            await asyncio.sleep(150)
        assert town.ended() == {JOB.id: "done"}
        return passes, times_s

    passes, (first_s, *_, last_s) = loop.run(main())
    assert passes == [False, True]
    assert last_s - first_s > 99


def test_whoever_asks_again_after_an_unknown_outcome_is_told_of_the_same_job() -> None:
    async def story(town: Slow, api: Process) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(api.remove.delete_target("t"), 1)
        town.held.go.set()
        job = await api.remove.delete_target("t")
        await asyncio.sleep(100)
        assert town.ended() == {job.id: "done"}

    assert play(story).is_gone()


def test_a_job_of_whose_end_nobody_was_told_leaves_a_target_alone_that_is_registered_again() -> None:
    async def story(town: Slow, api: Process) -> None:
        town.held.go.set()
        job = await api.remove.delete_target("t")
        await asyncio.sleep(100)
        assert town.is_gone()
        await town.register()
        town.jobs.lose_receipt(job.id)
        await asyncio.sleep(100)
        assert town.ended() == {job.id: "done"}

    assert play(story).store.states(KEY)[-1].header.deleted == Deleted.NO


@pytest.mark.parametrize("split", [False, True], ids=["whole", "split"])
def test_whoever_remembers_how_far_an_earlier_deletion_was_skips_nothing_of_the_next(split: bool) -> None:
    async def main() -> tuple[Town, set[str]]:
        town = Town(Random(1))
        one, other = town.process().removals, town.process().removals
        await town.tap(1, *USERS)
        if split:
            await town.process().split.split("t")
            await town.tap(2, *USERS)
        await one.begin_purge("t", JOB)
        for _ in range(4 if split else 2):
            await one.purge_some("t", 2)
        while await other.purge_some("t", 2):
            pass
        await town.register()
        await town.tap(1, *USERS)
        before = len(town.log.events)
        await one.begin_purge("t", JOB)
        while await one.purge_some("t", 2):
            pass
        return town, {moved.user for event in town.log.events[before:] for moved in event.transitions}

    town, told = loop.run(main())
    assert town.is_gone()
    assert told == set(USERS)


def test_a_late_registration_opens_no_lane_of_a_target_that_was_deleted_again() -> None:
    async def main() -> Town:
        town = Town(Random(1))
        await town.tap(1, "ann")
        await town.process().split.split("t")
        await town.tap(1, "new")
        await town.delete()
        lane = CellKey("t", lane_of("new", 4))
        cells = LateCells(town.store, town.random, lane)
        late = town.process(cells)
        with pytest.raises(OutcomeUnknown):
            await late.directory.register("t", REGISTRATION)
        await late.alter.drain(0.0)
        await town.delete()
        assert cells.late is not None
        assert not town.store.decide(lane, cells.late, 0.0)
        return town

    assert loop.run(main()).is_gone()
