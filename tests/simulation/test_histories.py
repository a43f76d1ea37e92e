"""Thousands of seeded histories of the cell committer, each judged; and judges that are judged themselves."""

import logging
import os

import pytest

from plaudit.domain.cell import Answer, Outcome, Verb
from plaudit.domain.errors import Corrupt
from plaudit.ports.cells import CellKey
from tests.simulation.broken import BROKEN, BROKEN_LANES, BROKEN_PUBLISH, BROKEN_RECOVER, BROKEN_ROOTS
from tests.simulation.history import Seen, not_linearizable
from tests.simulation.world import play

HISTORIES = 1500
ENOUGH_TO_NOTICE = 1500


@pytest.fixture(autouse=True)
def quiet() -> object:
    """What goes wrong here goes wrong on purpose."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", [0, int.from_bytes(os.urandom(4), "big")], ids=["known", "fresh"])
def test_every_history_is_one_that_a_correct_service_could_show(first: int) -> None:
    answered = split = 0
    for seed in range(first, first + HISTORIES):
        report = play(seed)
        assert report.wrong == [], f"python -m tests.simulation {seed} 1"
        answered += report.answered
        split += report.split
    assert split > HISTORIES / 5
    assert answered > 5 * HISTORIES, "histories in which nothing happens prove nothing"


def test_a_seed_is_a_history() -> None:
    assert [play(7), play(8)] == [play(7), play(8)]


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_noticed(name: str) -> None:
    for seed in range(ENOUGH_TO_NOTICE):
        try:
            if play(seed, BROKEN[name]).wrong:
                return
        except (AssertionError, Corrupt):  # so wrong that the history did not come to its end
            return
    pytest.fail(f"{name} went unnoticed in {ENOUGH_TO_NOTICE} histories")


@pytest.mark.parametrize("name", BROKEN_LANES)
def test_lanes_that_are_wrong_are_noticed(name: str) -> None:
    for seed in range(ENOUGH_TO_NOTICE):
        try:
            if play(seed, BROKEN_LANES[name], splits=1.0).wrong:
                return
        except AssertionError:
            return
    pytest.fail(f"{name} went unnoticed in {ENOUGH_TO_NOTICE} histories")


@pytest.mark.parametrize("name", BROKEN_ROOTS)
def test_who_is_taken_for_new_and_is_not_is_noticed(name: str) -> None:
    for seed in range(ENOUGH_TO_NOTICE):
        if play(seed, splits=1.0, roots=BROKEN_ROOTS[name]).wrong:
            return
    pytest.fail(f"{name} went unnoticed in {ENOUGH_TO_NOTICE} histories")


@pytest.mark.parametrize("name", BROKEN_PUBLISH)
def test_what_is_not_published_is_noticed(name: str) -> None:
    for seed in range(ENOUGH_TO_NOTICE):
        if play(seed, publish=BROKEN_PUBLISH[name]).wrong:
            return
    pytest.fail(f"{name} went unnoticed in {ENOUGH_TO_NOTICE} histories")


@pytest.mark.parametrize("name", BROKEN_RECOVER)
def test_what_is_not_recovered_is_noticed(name: str) -> None:
    for seed in range(ENOUGH_TO_NOTICE):
        try:
            if play(seed, recover=BROKEN_RECOVER[name]).wrong:
                return
        except AssertionError:  # something is still under way at the end
            return
    pytest.fail(f"{name} went unnoticed in {ENOUGH_TO_NOTICE} histories")


def tap(sent_s: float, told_s: float, previous: int, outcome: Outcome) -> Seen:
    """A toggle of like."""
    answer = Answer(outcome, previous, 0)
    return Seen(CellKey("t"), "u", Verb.TOGGLE, 1, b"", False, sent_s, told_s, answer)


def test_the_search_finds_an_order_where_there_is_one() -> None:
    created, removed = tap(0, 9, 0, Outcome.CREATED), tap(1, 2, 1, Outcome.REMOVED)
    assert not not_linearizable([created, removed], 0), "they overlap: created came first"
    assert not_linearizable([created, removed], 1), "one of them is lost"
    assert not_linearizable([tap(3, 4, 0, Outcome.CREATED), removed], 0), "removed before it was created"
    assert not_linearizable([created, tap(3, 4, 0, Outcome.CREATED)], 1), "created twice"


def test_the_search_lets_an_unknown_tap_come_late_or_never() -> None:
    unknown = Seen(CellKey("t"), "u", Verb.TOGGLE, 1, b"", False, 0, maybe=True)
    refused = Seen(CellKey("t"), "u", Verb.TOGGLE, 1, b"", False, 0, 1)
    assert not not_linearizable([unknown], 0)
    assert not not_linearizable([unknown], 1)
    assert not not_linearizable([unknown, tap(5, 6, 1, Outcome.REMOVED)], 0)
    assert not_linearizable([refused], 1), "a refused tap has no effect"
