"""What makes a cell too big or too hot, and what does not."""

import pytest

from plaudit.ports.cells import CellKey
from plaudit.services.heat import Bounds, Heat

KEY = CellKey("t")
FULL = 128


def commit(
    heat: Heat, now_s: float, *, taps: int = FULL, full: bool = True, waiting: int = FULL, rows: int = 1
) -> bool:
    """One commit, full as a rule, after which as many wait."""
    return heat.committed(KEY, taps, full, waiting, rows, now_s)


def test_a_cell_of_very_many_rows_is_split_at_once() -> None:
    heat = Heat()
    assert not commit(heat, 0, taps=1, full=False, waiting=0, rows=100_000)
    assert commit(heat, 0, taps=1, full=False, waiting=0, rows=100_001)


@pytest.mark.parametrize("taps", [FULL, 64, 4 * FULL])
def test_a_queue_that_stands_for_two_seconds_is_too_much(taps: int) -> None:
    """However many taps a commit takes: fewer where they weigh much, more where users tap more than once."""
    heat = Heat()
    assert [commit(heat, n / 10, taps=taps, waiting=taps + n % 5) for n in range(20)] == [False] * 20
    assert commit(heat, 2.0, taps=taps, waiting=taps)


def test_what_one_commit_takes_is_no_queue() -> None:
    heat = Heat()
    for now_s in (0.0, 1.0):
        commit(heat, now_s, waiting=200)
    commit(heat, 1.5, waiting=FULL - 1)
    assert not commit(heat, 2.0, waiting=200)
    assert not commit(heat, 3.9, waiting=200)
    assert commit(heat, 4.0, waiting=200)


def test_commits_that_are_not_full_change_nothing_while_the_queue_stands() -> None:
    heat = Heat()
    for n in range(20):
        assert not commit(heat, n / 10, full=n % 3 != 1, waiting=200)
    assert not commit(heat, 2.0, taps=100, full=False, waiting=200)
    assert commit(heat, 2.1, waiting=200)


def test_a_few_who_tap_all_the_time_are_no_crowd() -> None:
    """So many taps of a user ride in one commit, and the others wait."""
    heat = Heat()
    assert not any(commit(heat, n / 10, taps=8, full=False, waiting=500) for n in range(100))
    assert not commit(heat, 10, waiting=500), "nor are they the beginning of one"


def test_a_queue_that_shrinks_is_not_too_much() -> None:
    heat = Heat()
    for n in range(11):
        commit(heat, n / 10, waiting=200 + 40 * n)
    assert not any(commit(heat, 1.1 + n / 10, waiting=600 - 30 * n) for n in range(17))


def test_a_pause_is_not_a_queue_that_stands() -> None:
    """Nothing was committed for long, and then everybody comes back."""
    heat = Heat()
    commit(heat, 0, waiting=200)
    assert not commit(heat, 60, waiting=200)
    assert not commit(heat, 61.9, waiting=200)
    assert commit(heat, 62.0, waiting=200)


def test_who_always_loses_has_a_queue_that_stands() -> None:
    """Nothing was committed by this process for long, but by others, and its own taps wait all the time."""
    heat = Heat()
    commit(heat, 0, waiting=200)
    assert not any(heat.refused(KEY, n / 2) for n in range(1, 6))
    assert commit(heat, 2.6, waiting=200)


def test_refusals_are_too_much_where_there_are_many_taps_and_for_some_time() -> None:
    heat = Heat()
    for n in range(50):
        assert not heat.refused(KEY, n / 10)
        assert not commit(heat, n / 10, taps=100, waiting=0)
    assert heat.refused(KEY, 5.0)


@pytest.mark.parametrize(("taps", "refused_each"), [(10, 1), (100, 8)])
def test_few_taps_or_few_refusals_are_not_too_much(taps: int, refused_each: int) -> None:
    heat = Heat()
    for n in range(1, 200):
        assert not commit(heat, n / 10, taps=taps, waiting=0)
        if n % refused_each == 0:
            assert not heat.refused(KEY, n / 10)


def test_only_so_many_splits_a_minute() -> None:
    heat = Heat(Bounds(rows=0, splits_per_minute=2))
    assert [commit(heat, n) for n in range(4)] == [True, True, False, False]
    assert [commit(heat, now_s) for now_s in (59.9, 60.0, 60.1, 61.0)] == [False, True, False, True]
