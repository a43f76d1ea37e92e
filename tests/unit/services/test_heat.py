"""What makes a cell too big or too hot, and what does not."""

import pytest

from plaudit.ports.cells import CellKey
from plaudit.services.heat import Bounds, Heat

KEY = CellKey("t")
FULL = 128


def commit(heat: Heat, now_s: float, *, users: int = FULL, waiting: int = FULL, rows: int = 1) -> bool:
    """One commit of as many taps as users."""
    return heat.committed(KEY, users, users, waiting, rows, now_s)


def test_a_cell_of_very_many_rows_is_split_at_once() -> None:
    heat = Heat()
    assert not commit(heat, 0, users=1, waiting=0, rows=100_000)
    assert commit(heat, 0, users=1, waiting=0, rows=100_001)


def test_full_commits_and_a_growing_queue_for_two_seconds_are_too_much() -> None:
    heat = Heat()
    assert [commit(heat, n / 10, waiting=200 + n) for n in range(20)] == [False] * 20
    assert commit(heat, 2.0, waiting=220)


@pytest.mark.parametrize(("users", "waiting"), [(127, 500), (FULL, 127)])
def test_one_commit_that_is_not_full_and_the_two_seconds_begin_anew(users: int, waiting: int) -> None:
    heat = Heat()
    for now_s in (0.0, 1.0):
        commit(heat, now_s, waiting=200)
    commit(heat, 1.5, users=users, waiting=waiting)
    assert not commit(heat, 2.0, waiting=200)
    assert not commit(heat, 3.9, waiting=200)
    assert commit(heat, 4.0, waiting=200)


def test_a_queue_that_shrinks_is_not_too_much() -> None:
    heat = Heat()
    assert not any(commit(heat, n / 10, waiting=400 - n) for n in range(100))


def test_refusals_are_too_much_where_there_are_many_taps_and_for_some_time() -> None:
    heat = Heat()
    for n in range(50):
        assert not heat.refused(KEY, n / 10)
        assert not commit(heat, n / 10, users=100)
    assert heat.refused(KEY, 5.0)


@pytest.mark.parametrize(("users", "refused_each"), [(10, 1), (100, 8)])
def test_few_taps_or_few_refusals_are_not_too_much(users: int, refused_each: int) -> None:
    heat = Heat()
    for n in range(1, 200):
        assert not commit(heat, n / 10, users=users)
        if n % refused_each == 0:
            assert not heat.refused(KEY, n / 10)


def test_only_so_many_splits_a_minute() -> None:
    heat = Heat(Bounds(rows=0, splits_per_minute=2))
    assert [commit(heat, n) for n in range(4)] == [True, True, False, False]
    assert [commit(heat, now_s) for now_s in (59.9, 60.0, 60.1, 61.0)] == [False, True, False, True]
