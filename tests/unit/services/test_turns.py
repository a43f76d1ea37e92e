"""How long a tap would wait, judged by the last turns of its queue."""

import math

import pytest

from plaudit.domain.cell import MAX_USERS_PER_COMMIT
from plaudit.domain.errors import Overloaded
from plaudit.services.turns import KEPT, Turns, refuse_late

TURN_S = 0.1
AHEAD = 15 * MAX_USERS_PER_COMMIT


def waits_s(*gaps_s: float) -> float:
    """What a tap with so many ahead would wait, after turns with these times from one to the next."""
    turns, now_s = Turns(), 100.0
    turns.took(now_s)
    for gap_s in gaps_s:
        now_s += gap_s
        turns.took(now_s)
    return turns.wait_s(AHEAD, now_s)


@pytest.mark.parametrize("pauses", [0, 1, 2])
def test_a_store_that_paused_now_and_then_is_not_slow(pauses: int) -> None:
    usual_s = waits_s(*[TURN_S] * KEPT)
    assert usual_s == pytest.approx(16 * TURN_S)
    assert waits_s(*[1.5] * pauses, *[TURN_S] * (KEPT - pauses)) == pytest.approx(usual_s)
    with pytest.raises(Overloaded) as refused:
        refuse_late(usual_s, deadline_s=1.0)
    assert refused.value.retry_after_s == math.ceil(usual_s)


def test_one_that_pauses_all_the_time_is() -> None:
    assert waits_s(*[1.5, TURN_S] * (KEPT // 2)) > 5 * waits_s(*[TURN_S] * KEPT)


def test_of_the_first_turns_the_longest_is_left_out() -> None:
    assert waits_s(TURN_S) == 0.0, "nothing is known yet"
    assert waits_s(1.5, TURN_S) == pytest.approx(16 * TURN_S)
