"""One attempt at a cell: what is answered has to be true also where an ordinary read shows what is over."""

from random import Random

import pytest

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Answer, Header, Outcome, Row, Rules
from plaudit.ports.cells import CellKey, Proposal
from plaudit.services.known import Known
from plaudit.services.propose import Lost, Proposer, Settled
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.support.clock import ManualClock
from tests.support.taps import LIKE, LOVE, set_to

KEY = CellKey("t")


@pytest.mark.parametrize("seed", range(8))
async def test_nothing_to_do_is_answered_of_the_newest_state_that_was_decided(seed: int) -> None:
    """A decided commit that is not at a quorum yet may be missed by a read that comes after one which showed it."""
    store = SimulatedStore()
    store.decide(KEY, Proposal(0, Header(1, "post", (1,), 1, 9, 9), {"ann": Row(LIKE, 9, 9)}), 0)
    store.decide(KEY, Proposal(1, Header(2, "post", (0, 1), 1, 10, 9), {"ann": Row(LOVE, 9, 10)}), 0)
    cells = SimulatedCells(store, Random(seed), Faults(delay_s=0))
    proposer = Proposer(cells, Known(), ManualClock(), Rules(Catalogue()))
    result = await proposer.attempt(KEY, [set_to("ann", LIKE)])
    if isinstance(result, Lost):  # proposed from the older state
        result = await proposer.attempt(KEY, [set_to("ann", LIKE)])
    assert isinstance(result, Settled)
    assert result.answers == [Answer(Outcome.SWITCHED, LOVE, LIKE)]
