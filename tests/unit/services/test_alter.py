"""Commits that are no taps: what is unknown is settled, told once it is known, and never called refused."""

from collections.abc import Iterable
from random import Random
from typing import Any

import pytest

from plaudit.domain import removal
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Row, Transition
from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.ports.cells import CellKey, CellState, Proposal
from plaudit.ports.ledger import Target
from plaudit.services.alter import Alter, Altered, Change
from plaudit.services.directory import CellDirectory
from plaudit.services.publish import Publish
from tests.simulation import loop
from tests.simulation.log import Away, SimulatedLog
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.simulation.world import START_US, ProcessClock

KEY = CellKey("t")
ANN = Row(1, 5, 5, b"")
NOTHING: Any = None  # what registering does not touch


class GoesAway(SimulatedCells):
    """Once something was proposed it cannot be read any more."""

    proposed = False

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        self.proposed = True
        return await super().propose(key, proposal)

    async def settle(self, key: CellKey, users: Iterable[str]) -> CellState:
        if self.proposed:
            raise Unavailable("away")
        return await super().settle(key, users)


class Overtaken(SimulatedCells):
    """Another process closes the target just before the first proposal, which gets no answer."""

    overtaken = False

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        if self.overtaken:
            return await super().propose(key, proposal)
        self.overtaken = True
        state = await super().settle(key, ())
        closed = Proposal(
            state.seq, removal.register(state.header, "post"), {}, Registration(type="post", closed=True)
        )
        assert await super().propose(key, closed)
        raise OutcomeUnknown("no answer")


def stored() -> SimulatedStore:
    """One reaction, by ann."""
    store = SimulatedStore()
    header = Header(1, "post", (1,), 1, START_US, 5, (("ann", 1),))
    assert store.decide(KEY, Proposal(0, header, {"ann": ANN}), 0.0)
    return store


def take_away(state: CellState) -> Change | None:
    """Ann's row goes."""
    if state.header is None or "ann" not in state.rows:
        return None
    header, moved = removal.erase(state.header, "ann", state.rows["ann"], START_US)
    return Change(Proposal(state.seq, header, {}, gone=("ann",)), [moved])


def altered(cells: SimulatedCells, log: SimulatedLog) -> Altered:
    async def main() -> Altered:
        clock = ProcessClock(Random(0))
        alter = Alter(cells, Publish(log, log, cells, clock), clock, Random(0))
        return await alter.commit(KEY, "erase", alter.by_name(KEY, ["ann"]), take_away)

    return loop.run(main())


@pytest.mark.parametrize("faults", [Faults(), Faults(lost_reply=1.0)])
def test_a_change_is_made_and_told_also_where_its_reply_was_lost(faults: Faults) -> None:
    store, log = stored(), SimulatedLog(Random(0), Away())
    made = altered(SimulatedCells(store, Random(0), faults), log)
    assert made.change is not None
    assert [state.header.seq for state in store.states(KEY)] == [0, 1, 2]
    assert made.target.header == store.states(KEY)[-1].header
    [event] = log.events
    assert (event.seq, event.cause, event.rows) == (2, "erase", 0)
    assert event.transitions == (Transition("ann", None, 0, 5, event.transitions[0].at),)


def test_what_another_process_registered_is_not_taken_for_ones_own() -> None:
    store, log = stored(), SimulatedLog(Random(0), Away())

    async def main() -> Target:
        cells, clock = Overtaken(store, Random(0), Faults()), ProcessClock(Random(0))
        alter = Alter(cells, Publish(log, log, cells, clock), clock, Random(0))
        directory = CellDirectory(alter, NOTHING, NOTHING, clock)
        kept = ("type", "title", "closed", "allowed")
        return await directory.register("t", Registration(type="post", owner="olga"), kept)

    told = loop.run(main())
    assert told.registration == Registration(type="post", owner="olga", closed=True)
    last = store.states(KEY)[-1]
    assert (last.header, last.registration) == (told.header, told.registration)


def test_nothing_to_do_is_told_as_it_is() -> None:
    store, log = SimulatedStore(), SimulatedLog(Random(0), Away())
    assert store.decide(KEY, Proposal(0, Header(1, "post"), {}), 0.0)
    assert altered(SimulatedCells(store, Random(0), Faults()), log).change is None
    assert [(event.seq, event.transitions) for event in log.events] == [(1, ())]


def test_what_may_be_stored_is_not_called_refused_though_the_store_is_away_by_then() -> None:
    store, log = stored(), SimulatedLog(Random(0), Away())
    with pytest.raises(OutcomeUnknown):
        altered(GoesAway(store, Random(0), Faults(lost_reply=1.0)), log)
    with pytest.raises(Unavailable):
        altered(SimulatedCells(stored(), Random(0), Faults(unavailable=1.0)), log)
