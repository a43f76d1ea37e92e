"""How long to pause for the sake of others. What it brings is in tests/simulation/test_rivals.py."""

from random import Random

from plaudit.ports.cells import CellKey
from plaudit.services.pace import LATELY_S, MANY, TURNS, Backoff, Rivals


def test_a_turn_for_others_is_as_long_as_a_few_commits_and_bounded() -> None:
    backoff, random = Backoff(cap_s=0.25), Random(0)
    turns = [backoff.turn_s(random, 0.01) for _ in range(2_000)]
    assert 0.95 * TURNS * 0.01 < max(turns) <= TURNS * 0.01
    assert max(backoff.turn_s(random, 9.0) for _ in range(2_000)) <= 0.25


def test_who_was_first_lately_is_a_rival_in_that_cell_only() -> None:
    rivals = Rivals()
    rivals.lost(CellKey("a", 1), 10.0)
    assert rivals.has(CellKey("a", 1), 10.0 + LATELY_S * 0.9)
    assert not rivals.has(CellKey("a", 1), 10.0 + LATELY_S)
    assert not rivals.has(CellKey("a", 2), 10.0)


def test_old_rivals_are_forgotten() -> None:
    rivals = Rivals()
    for number in range(MANY):
        rivals.lost(CellKey(f"t{number}"), 0.0)
    rivals.lost(CellKey("new"), LATELY_S)
    assert len(rivals._lost_s) == 1
