"""The hand on the processes and the checker of splits: they find what they are there to find."""

import pytest

from plaudit.domain.cell import Header, Row
from plaudit.ports.cells import CellKey, Proposal
from tests.faults.dying import Commit, commit_of
from tests.faults.record import Line, Tap
from tests.faults.splits import unsaid

ROOT, LANE = CellKey("t"), CellKey("t", 3)
TAP = Tap("ann", "t", "PUT", "like", "k1")
NEW, OF_THE_ROOT = {"ann": Row(1, 5, 5)}, {"ann": Row(2, 5, 6, b"", 1)}


@pytest.mark.parametrize(
    ("key", "proposal", "commit"),
    [
        (ROOT, Proposal(4, Header(5, lanes=64), {}), "seal"),
        (ROOT, Proposal(4, Header(5), NEW), None),
        (ROOT, Proposal(5, Header(6, lanes=64), {}, lanes=64), None),
        (LANE, Proposal(0, Header(1, lanes=64), OF_THE_ROOT), "touch"),
        (LANE, Proposal(0, Header(1, lanes=64), NEW), None),
        (LANE, Proposal(1, Header(2, lanes=64), OF_THE_ROOT, lanes=64), None),
    ],
)
def test_the_commits_at_which_a_process_dies(key: CellKey, proposal: Proposal, commit: Commit | None) -> None:
    assert commit_of(key, proposal) == commit


@pytest.mark.parametrize(
    ("sent_s", "lanes", "wrong"),
    [(1.0, 1, 0), (1.0, 64, 0), (3.0, 64, 0), (3.0, 1, 1), (1.0, 2, 1)],
)
def test_an_answer_says_how_many_lanes_there_were_when_its_tap_was_sent(
    sent_s: float, lanes: int, wrong: int
) -> None:
    lines = [Line(sent_s, TAP, 0, "sent"), Line(sent_s + 0.5, TAP, 0, "ok", lanes=lanes)]
    assert len(list(unsaid(lines, seen_s=2.0, lanes=64))) == wrong
