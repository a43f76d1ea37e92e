"""Rows that go while the log lacks their last change leave nothing of it in the lists, also when it comes later."""

from random import Random

import pytest

from plaudit.domain.cell import Tap, Verb, fold
from plaudit.domain.lanes import lane_of
from plaudit.ports.cells import CellKey, Proposal
from plaudit.services.recover import Recover
from plaudit.telemetry import Metrics
from tests.simulation import loop
from tests.simulation.journal import SimulatedJournal, SimulatedJournals
from tests.simulation.lists import lists_of
from tests.simulation.log import Away
from tests.simulation.town import KEY, Town
from tests.simulation.world import RULES


async def owed(town: Town) -> None:
    """Two who react, and whose next change is acknowledged while the log is away."""
    await town.tap(1, "ann", "bob")
    town.log.away = Away(log=1.0)
    await town.tap(2, "ann")
    await town.tap(0, "bob")
    town.log.away = Away()
    assert town.log.debts


@pytest.mark.parametrize("seed", range(5))
def test_a_deletion_beside_events_that_are_owed(seed: int) -> None:
    town = Town(Random(seed))

    async def main() -> None:
        await owed(town)
        await town.delete()
        await town.register()
        await town.tap(1, "bob")
        await town.sweep()

    loop.run(main())
    lists = lists_of(town.log.events, town.random)
    bob = town.store.states(KEY)[-1].rows["bob"]
    assert lists.reactors("t") == lists.reacted("t") == [("bob", bob.created_at, 1)]


@pytest.mark.parametrize("seed", range(5))
def test_a_row_of_the_root_that_was_told_of_as_its_lanes(seed: int) -> None:
    town = Town(Random(seed))

    async def main() -> None:
        await town.tap(1, "ann", "bob")
        process = town.process()
        await process.split.split("t")
        await process.publish.again(CellKey("t", lane_of("ann", 4)), ["ann"])
        await town.delete()

    loop.run(main())
    lists = lists_of(town.log.events, town.random)
    assert lists.reactors("t") == lists.reacted("t") == []


@pytest.mark.parametrize("seed", range(5))
def test_an_erasure_beside_events_that_are_owed(seed: int) -> None:
    town = Town(Random(seed))

    async def main() -> None:
        await owed(town)
        for user in ("ann", "bob"):
            await town.process().removals.erase_from(user, "t")
        await town.sweep()

    loop.run(main())
    lists = lists_of(town.log.events, town.random)
    assert lists.reactors("t") == lists.reacted("t") == []


def test_an_erasure_before_somebody_adopts_what_a_process_had_committed_that_died() -> None:
    town, journals = Town(Random(1)), SimulatedJournals()

    async def main() -> None:
        await town.tap(1, "ann")
        cells, publish = town.process().cells, town.process().publish
        state = await cells.settle(KEY, ["ann"])
        assert state.header is not None
        plan = fold(state.header, state.rows, [Tap("ann", Verb.SET, 2, b"12345678")], 1, RULES)
        journal = SimulatedJournal(journals)
        journal.begin(KEY, state.seq, ("ann",))
        assert await cells.propose(KEY, Proposal(state.seq, plan.header, plan.changed))
        journal.kill()
        await town.process().removals.erase_from("ann", "t")
        assert await Recover(journals, cells, publish, Metrics(), town.random).look() == 1

    loop.run(main())
    lists = lists_of(town.log.events, town.random)
    assert lists.reactors("t") == lists.reacted("t") == []
