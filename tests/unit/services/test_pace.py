"""How long to pause for the sake of others. What it brings is in tests/simulation/test_rivals.py."""

from random import Random

from plaudit.ports.cells import CellKey
from plaudit.services.pace import LATELY_S, MANY, PER_LOSS, TURNS, Backoff, Rivals


def test_a_turn_for_others_is_as_long_as_a_few_commits_and_bounded() -> None:
    backoff, random = Backoff(cap_s=0.25), Random(0)
    turns = [backoff.turn_s(random, 0.01) for _ in range(2_000)]
    assert 0.95 * TURNS * 0.01 < max(turns) <= TURNS * 0.01
    assert max(backoff.turn_s(random, 9.0) for _ in range(2_000)) <= 0.25


def test_who_was_first_lately_gets_a_few_turns_in_that_cell() -> None:
    rivals = Rivals()
    rivals.lost(CellKey("a", 1), 10.0)
    assert not rivals.turn(CellKey("a", 2), 10.0)
    turns = [rivals.turn(CellKey("a", 1), 10.0 + LATELY_S * 0.9) for _ in range(PER_LOSS + 1)]
    assert turns == [*[True] * PER_LOSS, False], "a tap that went astray costs a few pauses"
    rivals.lost(CellKey("a", 1), 20.0)
    assert not rivals.turn(CellKey("a", 1), 20.0 + LATELY_S), "that was long ago"


def test_the_oldest_rivals_are_forgotten() -> None:
    rivals = Rivals()
    for number in range(MANY + 1):
        rivals.lost(CellKey(f"t{number}"), 0.0)
    assert len(rivals._owed) == MANY
    assert not rivals.turn(CellKey("t0"), 0.0)
    assert rivals.turn(CellKey("t1"), 0.0)
