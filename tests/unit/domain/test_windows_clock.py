"""A clock that was ahead: times of a target only grow, and nobody is to wait until they have come."""

import pytest

from plaudit.domain.watch import UNSEEN
from plaudit.domain.windows import AHEAD, Pace, close, follow, latest_end, on_time, postpone
from tests.unit.domain.watching import DAY, HOUR, OWNER, SECOND, Watched


def length_s(target: Watched) -> float:
    assert target.watch.window is not None
    return (target.watch.window.closes_at - target.now) / SECOND


def ahead(seconds: float = 10 * DAY) -> Watched:
    """A target on which somebody tapped while the clock was so far ahead; it is right again."""
    target = Watched()
    target.now += round(seconds * SECOND)
    target.react("ann")
    target.now -= round(seconds * SECOND)
    return target


def test_the_next_tap_ends_a_window_that_a_clock_ahead_opened() -> None:
    target = ahead()
    target.react("bob")
    assert length_s(target) == 0
    [message] = target.wait(0)
    assert (message.total, message.window) == (2, target.now)


@pytest.mark.parametrize("while_ahead_s", [0, 60])
def test_windows_that_follow_have_their_length(while_ahead_s: float) -> None:
    """Whether the one that was opened then has also ended then, or not."""
    target = Watched()
    right = target.now
    target.now += 10 * DAY * SECOND
    target.react("ann")
    target.wait(while_ahead_s)
    target.now = right
    if not while_ahead_s:
        target.react("bob")
        target.wait(0)
    target.react("cid")
    assert length_s(target) == (30 if while_ahead_s else 300), (
        "as the first, or as one that follows a message"
    )


def test_taps_in_a_minute_are_counted_by_our_clock() -> None:
    target = ahead()
    target.watch, target.pace = UNSEEN, Pace(windows_s=(200,), busy_window_s=3000)
    for n in range(150):
        target.react(f"u{n}")
        target.wait(1)
    assert length_s(target) == 50, "sixty in each minute do not extend it"


def test_what_is_a_moment_ahead_names_its_window_as_it_does_when_it_is_replayed() -> None:
    """Clocks of two machines differ, and who replays does so later."""
    target = Watched()
    target.react("ann")
    [event] = target.events
    windows = [
        follow(UNSEEN, [event], OWNER, target.now + late, target.pace).window
        for late in (-AHEAD, -SECOND, 0, HOUR * SECOND)
    ]
    assert len({window and (window.opened_at, window.closes_at) for window in windows}) == 1


def test_quiet_hours_are_waited_for_and_no_longer() -> None:
    target = Watched()
    target.react("ann")
    night = postpone(target.watch, target.now + DAY * SECOND)
    assert on_time(night, target.now, target.pace) is night
    assert follow(night, target.events, OWNER, target.now, target.pace) is night
    postponed_by_a_clock_ahead = postpone(target.watch, latest_end(target.now, target.pace) + 1)
    draft, _ = close(on_time(postponed_by_a_clock_ahead, target.now, target.pace), OWNER, target.now)
    assert draft is not None
    assert draft.window == target.now, "it was opened by a clock that was right, and keeps its name"
    assert on_time(UNSEEN, 1, target.pace) is UNSEEN
