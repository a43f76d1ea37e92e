"""What a process believes about cells."""

from plaudit.domain.cell import Header, Row
from plaudit.ports.cells import CellKey, CellState
from plaudit.services.known import Known

A, B, C = CellKey("a"), CellKey("b"), CellKey("c")


def state(seq: int) -> CellState:
    return CellState(Header(seq=seq) if seq else None, None, {})


def test_nothing_is_known_of_a_cell_never_committed() -> None:
    assert Known().recall(A, ["ann"]) is None


def test_a_commit_teaches_its_rows_and_those_that_are_not_there() -> None:
    known = Known()
    known.learn(A, state(0), Header(seq=1), {"ann": Row(1), "bob": None})
    assert known.recall(A, ["ann", "bob"]) == CellState(Header(seq=1), None, {"ann": Row(1)})
    assert known.recall(A, ["ann", "cid"]) is None, "one row is not known, so all are read"


def test_an_unbroken_chain_keeps_what_was_known_before() -> None:
    known = Known()
    known.learn(A, state(0), Header(seq=1), {"ann": Row(1)})
    known.learn(A, state(1), Header(seq=2), {"bob": Row(2)})
    assert known.recall(A, ["ann", "bob"]) == CellState(Header(seq=2), None, {"ann": Row(1), "bob": Row(2)})


def test_a_broken_chain_forgets_it() -> None:
    known = Known()
    known.learn(A, state(0), Header(seq=1), {"ann": Row(1)})
    known.learn(A, state(5), Header(seq=6), {"bob": Row(2)})
    assert known.recall(A, ["ann"]) is None
    assert known.recall(A, ["bob"]) == CellState(Header(seq=6), None, {"bob": Row(2)})
    known.forget(A)
    assert known.recall(A, ["bob"]) is None


def test_it_is_bounded_and_forgets_what_was_used_longest_ago() -> None:
    known = Known(max_rows=8)
    for key in (A, B, C):
        known.learn(key, state(0), Header(seq=1), {"ann": Row(1), "bob": None})
    assert [len(known), known.recall(A, []), known.recall(B, [])] == [
        2,
        None,
        CellState(Header(seq=1), None, {}),
    ]


def test_one_cell_does_not_fill_it() -> None:
    known = Known(max_rows=40)
    for n in range(100):
        known.learn(A, state(n), Header(seq=n + 1), {f"u{n}": Row(1)})
    assert known.recall(A, ["u99"]) is not None
    assert known.recall(A, ["u0"]) is None
