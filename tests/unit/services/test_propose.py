"""One attempt at a cell: what is answered has to be true also where a read shows what is over, and what became of a
proposal is found out by the rows of those who were in it.
"""

from random import Random

import pytest

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Answer, Header, Outcome, Row, Rules, Tap, Verb
from plaudit.domain.errors import OutcomeUnknown
from plaudit.domain.lanes import seal
from plaudit.domain.operations import KEPT, remember
from plaudit.ports.cells import CellKey, CellState, Proposal
from plaudit.services.known import Known
from plaudit.services.propose import Lost, Moved, Open, Proposer, Sealed, Settled
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.support.clock import START_US, ManualClock
from tests.support.taps import LIKE, LOVE, NONE, set_to

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


class Unconfirmed:
    """A process whose proposal is overtaken by that of another one, and whom nobody tells."""

    def __init__(self, theirs: dict[str, Row], ours: dict[str, Row] | None = None, last_at: int = 9) -> None:
        self.store = SimulatedStore()
        if ours:
            self.store.decide(KEY, Proposal(0, Header(1, "post", rows=len(ours), last_at=last_at), ours), 0)
        self._theirs = theirs
        self.known = Known()
        self.proposer = Proposer(self, self.known, ManualClock(), Rules(Catalogue()))
        self._cells = SimulatedCells(self.store, Random(0), Faults(delay_s=0))
        self.read, self.settle = self._cells.read, self._cells.settle

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        theirs = Header(proposal.seq + 1, "post", rows=len(self._theirs), last_at=10)
        assert self.store.decide(key, Proposal(proposal.seq, theirs, self._theirs), 0)
        raise OutcomeUnknown("no reply")

    async def outcome(self, *taps: Tap) -> Settled | Moved | None:
        """What the process finds out of a proposal of these taps."""
        result = await self.proposer.attempt(KEY, taps)
        assert isinstance(result, Open)
        return await self.proposer.settle(KEY, result)


class Stored(Unconfirmed):
    """A process whose proposal is stored, then so many of others, before it looks; and whom nobody told."""

    def __init__(self, others: int, ours: dict[str, Row] | None = None, last_at: int = 9) -> None:
        super().__init__({}, ours, last_at)
        self._others = others

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        assert self.store.decide(key, proposal, 0)
        for n in range(self._others):
            header = self.store.states(key)[-1].header
            after = Header(header.seq + 1, "post", rows=header.rows + 1, last_at=header.last_at + 1)
            assert self.store.decide(key, Proposal(header.seq, after, {f"other{n}": Row(LIKE, 10, 10)}), 0)
        raise OutcomeUnknown("no reply")


def forgotten() -> bytes:
    """Operations of a row that has room for no other than these."""
    ops = b""
    for n in range(KEPT):
        ops = remember(ops, b"theirs.%d" % n, START_US // 1_000_000, 0x11, 0x10)
    return ops


async def test_a_key_that_another_process_stored_with_another_wish_is_not_ours() -> None:
    tap = set_to("ann", LOVE, "key")
    ops = remember(b"", tap.op, START_US // 1_000_000, Verb.SET << 4 | LIKE, Outcome.CREATED << 4)
    found = await Unconfirmed({"ann": Row(LIKE, 10, 10, ops)}).outcome(tap)
    assert isinstance(found, Moved)
    assert found.answers == [None], "to be folded again, and refused"


async def test_one_row_that_would_remember_tells_for_all_of_a_proposal() -> None:
    theirs = {"ann": Row(LIKE, 10, 10), "bob": Row(LIKE, 10, 10, forgotten())}
    found = await Unconfirmed(theirs).outcome(set_to("ann", LOVE), set_to("bob", LOVE))
    assert isinstance(found, Moved)
    assert found.answers == [None, None]


async def test_a_tap_that_is_stored_tells_nothing_of_the_others() -> None:
    """Its client had repeated it through the other process."""
    tap = set_to("ann", LOVE, "key")
    ops = remember(b"", tap.op, START_US // 1_000_000, Verb.SET << 4 | LOVE, Outcome.CREATED << 4)
    store = Unconfirmed({"ann": Row(LOVE, START_US, START_US, ops)})
    found = await store.outcome(tap, set_to("bob", LOVE))
    assert isinstance(found, Moved)
    assert found.answers == [Answer(Outcome.CREATED, NONE, LOVE, replayed=True), None]


async def test_a_row_to_the_byte_as_we_would_have_written_it_is_not_ours_in_the_commit_of_another() -> None:
    """A key that changes nothing was repeated through the other process within the second, and others rode along."""
    tap, before = set_to("ann", LIKE, "key"), Row(LIKE, 9, 9)
    ops = remember(b"", tap.op, START_US // 1_000_000, Verb.SET << 4 | LIKE, Outcome.UNCHANGED << 4 | LIKE)
    store = Unconfirmed({"ann": Row(LIKE, 9, 9, ops), "bob": Row(LOVE, 10, 10)}, {"ann": before})
    found = await store.outcome(tap)
    assert isinstance(found, Moved), "or its header would be published as that of their commit"
    assert found.answers == [Answer(Outcome.UNCHANGED, LIKE, LIKE, replayed=True)]


@pytest.mark.parametrize("others", [0, 1])
async def test_a_commit_of_ours_that_nobody_told_us_of_is_found(others: int) -> None:
    """Alone, and with another one behind it."""
    store = Stored(others)
    found = await store.outcome(set_to("ann", LIKE, "key"))
    assert isinstance(found, Settled)
    assert found.wrote is not None
    assert found.answers == [Answer(Outcome.CREATED, NONE, LIKE)]


@pytest.mark.parametrize(("others", "ours"), [(0, True), (1, False)])
async def test_of_a_commit_in_which_nothing_happened_only_the_header_tells(others: int, ours: bool) -> None:
    store = Stored(others, {"ann": Row(LIKE, 9, 9)})
    found = await store.outcome(set_to("ann", LIKE, "key"))
    assert isinstance(found, Settled if ours else Moved)
    assert found.answers == [Answer(Outcome.UNCHANGED, LIKE, LIKE)], "and the client hears of no repetition"


async def test_a_time_that_anybody_would_have_given_is_no_proof() -> None:
    """Our clock is behind the last time there was, so the next one follows from that."""
    tap, last_at = set_to("ann", LOVE, "key"), START_US + 5
    for keyed, ours in ((True, False), (False, True)):
        store = Stored(1, {"ann": Row(LIKE, last_at, last_at)}, last_at)
        found = await store.outcome(tap if keyed else set_to("ann", LOVE))
        assert isinstance(found, Settled if ours else Moved)


async def test_a_key_that_changes_nothing_is_not_tried_again_where_its_row_has_forgotten() -> None:
    """It may have been stored, and others since: now it would change something."""
    store = Unconfirmed({"ann": Row(LIKE, 9, 10, forgotten())}, {"ann": Row(LIKE, 9, 9)})
    with pytest.raises(OutcomeUnknown, match="forgotten"):
        await store.outcome(set_to("ann", LIKE, "key"))


async def test_nothing_is_believed_after_an_unknown_outcome_nor_of_a_root_that_is_sealed() -> None:
    store = Unconfirmed({"ann": Row(LIKE, 10, 10)})
    store.known.learn(KEY, CellState(None, None, {}), Header(0, "post"), {"ann": None})
    await store.proposer.attempt(KEY, [set_to("ann", LOVE)])
    assert store.known.recall(KEY, []) is None

    header = store.store.states(KEY)[-1].header
    store.store.decide(KEY, Proposal(1, seal(header, 4), {}), 0)
    store.known.learn(KEY, CellState(None, None, {}), Header(1, "post"), {"bob": None})
    assert isinstance(await store.proposer.attempt(KEY, [set_to("ann", LOVE)]), Sealed)
    assert store.known.recall(KEY, []) is None
