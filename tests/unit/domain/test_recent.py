"""Who is shown beside a count: the newest three of those who have a reaction now."""

from plaudit.domain.cell import Transition, apply_to_counts, apply_to_recent
from tests.unit.domain.cells import LIKE, LOVE, NONE, SAD, Cell, tap


def four() -> Cell:
    """A cell in which ann, bob, cat and dan reacted, in this order."""
    cell = Cell()
    for user in ("ann", "bob", "cat", "dan"):
        cell.one(tap(user, LIKE))
    return cell


def test_the_newest_three_are_shown_newest_first() -> None:
    assert four().seen.recent == (("dan", LIKE), ("cat", LIKE), ("bob", LIKE))


def test_one_commit_gives_the_same_as_four() -> None:
    cell = Cell()
    cell.commit(*(tap(user, LIKE) for user in ("ann", "bob", "cat", "dan")))
    assert cell.seen.recent == four().seen.recent


def test_who_switches_keeps_the_place() -> None:
    cell = four()
    cell.one(tap("cat", LOVE))
    assert cell.seen.recent == (("dan", LIKE), ("cat", LOVE), ("bob", LIKE))


def test_who_switches_and_is_not_shown_stays_away() -> None:
    cell = four()
    cell.one(tap("ann", LOVE))
    assert cell.seen.recent == (("dan", LIKE), ("cat", LIKE), ("bob", LIKE))


def test_a_removal_leaves_fewer() -> None:
    cell = four()
    cell.one(tap("cat", NONE))
    assert cell.seen.recent == (("dan", LIKE), ("bob", LIKE))
    cell.one(tap("ann", NONE))
    assert cell.seen.recent == (("dan", LIKE), ("bob", LIKE))


def test_who_comes_back_is_the_newest() -> None:
    cell = four()
    cell.one(tap("bob", NONE))
    cell.one(tap("bob", SAD))
    assert cell.seen.recent == (("bob", SAD), ("dan", LIKE), ("cat", LIKE))


def test_nobody_is_shown_twice_even_if_a_transition_is_told_twice() -> None:
    again = Transition("ann", NONE, LOVE, 1, 1)
    assert apply_to_recent((("bob", LIKE), ("ann", LIKE)), [again, again]) == (("ann", LOVE), ("bob", LIKE))


def test_without_transitions_nothing_moves() -> None:
    recent = (("bob", LIKE),)
    assert apply_to_recent(recent, []) is recent
    assert apply_to_counts((1, 2), []) == (1, 2)


def test_counts_grow_to_the_code_that_is_given_and_keep_their_length() -> None:
    given, taken = Transition("ann", NONE, SAD, 1, 1), Transition("ann", SAD, NONE, 1, 2)
    assert apply_to_counts((3,), [given]) == (3, 0, 0, 0, 1)
    assert apply_to_counts((3, 0, 0, 0, 1), [taken]) == (3, 0, 0, 0, 0)
