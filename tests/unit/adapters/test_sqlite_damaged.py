"""What could not be read is left out, and not for ever."""

from plaudit.adapters.sqlite.damaged import FOR_S, Damaged
from tests.support.clock import ManualClock


def test_what_could_not_be_read_is_tried_again_each_hour() -> None:
    clock = ManualClock()
    damaged = Damaged(clock)
    damaged.add({1, 2})
    clock.advance(FOR_S / 2)
    damaged.add({3})
    assert damaged.numbers() == {1, 2, 3}
    clock.advance(FOR_S / 2)
    assert damaged.numbers() == set(), "also those found later"
    damaged.add({2})
    clock.advance(FOR_S / 2)
    assert damaged.numbers() == {2}
