"""When the owner is told, and of what."""

import msgspec
import pytest

from plaudit.domain.cell import Transition
from plaudit.domain.events import Committed
from plaudit.domain.watch import UNSEEN, pack
from plaudit.domain.windows import KNOWN, SAMPLE, Draft, Pace, checked, close, follow, postpone
from tests.support.taps import HAHA, LIKE, LOVE, set_to, toggle
from tests.unit.domain.watching import DAY, HOUR, OWNER, SECOND, Watched, names


def test_a_window_is_thirty_seconds_from_its_first_tap_and_makes_one_message() -> None:
    target = Watched()
    target.react("ann", LIKE)
    assert target.wait(20) == []
    target.react("bob", LOVE)
    assert target.wait(9.9) == []
    [message] = target.wait(0.1)
    assert (message.total, message.split, names(message)) == (2, {LIKE: 1, LOVE: 1}, ["bob", "ann"])
    assert target.wait(DAY) == []


def test_nobody_is_told_of_their_own_tap() -> None:
    target = Watched()
    target.react(OWNER)
    assert target.watch.window is None
    target.react("ann")
    target.react(OWNER, LOVE)
    [message] = target.wait(60)
    assert (message.total, message.split) == (1, {LIKE: 1})


def test_a_tap_taken_back_before_the_end_was_never_there() -> None:
    target = Watched()
    target.react("ann")
    target.react("bob")
    target.react("ann", 0)
    [message] = target.wait(60)
    assert names(message) == ["bob"]


def test_a_window_in_which_everything_was_taken_back_makes_no_message_and_no_longer_window() -> None:
    target = Watched()
    target.react("ann")
    target.react("ann", 0)
    assert target.wait(60) == []
    target.react("bob")
    assert len(target.wait(30)) == 1


def test_a_switch_is_the_reaction_it_ends_with_and_no_second_one() -> None:
    target = Watched()
    target.react("ann", LIKE)
    target.react("ann", LOVE)
    [message] = target.wait(30)
    assert (message.total, message.split) == (1, {LOVE: 1})
    target.react("ann", HAHA)
    assert target.wait(HOUR) == []


def test_a_switch_of_a_reaction_from_before_the_window_is_not_counted() -> None:
    target = Watched()
    target.react("ann", LIKE)
    target.wait(2 * DAY)
    target.react("bob")
    target.react("ann", LOVE)
    target.react("ann", 0)
    target.react("ann", LIKE)
    assert [names(message) for message in target.wait(HOUR)] == [["bob"]]


def test_fifty_pairs_of_on_and_off_are_one_message() -> None:
    target = Watched()
    for _ in range(50):
        target.commit(toggle("ann"))
        target.wait(7)
        target.commit(toggle("ann"))
        target.wait(7)
    target.commit(toggle("ann"))
    target.wait(DAY)
    assert len(target.messages) <= 1


@pytest.mark.parametrize("pause_s", [1, 20, 31, 400, 2000, 4000])
def test_somebody_who_was_told_of_is_not_told_of_again_for_a_day(pause_s: int) -> None:
    target = Watched()
    for _ in range(DAY // (2 * pause_s) if pause_s > 300 else 50):
        target.react("ann")
        target.wait(pause_s)
        target.react("ann", 0)
        target.wait(min(pause_s, 31))
    assert len(target.messages) <= 1


def test_after_a_day_it_is_news_again() -> None:
    target = Watched()
    target.react("ann")
    target.wait(30)
    target.react("ann", 0)
    target.wait(DAY + 1)
    target.react("ann")
    assert len(target.wait(HOUR)) == 1


def test_windows_that_follow_a_message_grow_and_start_again_after_an_hour_without() -> None:
    target = Watched()
    lengths = []
    for user in "abcd":
        target.react(user)
        opened = target.now
        while not target.wait(1):
            pass
        lengths.append((target.now - opened) // SECOND)
    assert lengths == [30, 300, 1800, 1800]
    target.wait(HOUR)
    target.react("e")
    assert len(target.wait(30)) == 1


@pytest.mark.parametrize("apart_s", [0.1, 0.5, 60 / 101])
def test_more_than_a_hundred_taps_a_minute_extend_the_window_to_five_minutes(apart_s: float) -> None:
    target = Watched()
    for n in range(101):
        target.react(f"u{n}")
        assert target.wait(apart_s) == []
    assert target.wait(298 - 101 * apart_s) == []
    [message] = target.wait(2.5)
    assert message.total == 101


def test_a_hundred_taps_a_minute_do_not() -> None:
    target = Watched()
    for n in range(50):
        target.react(f"u{n}")
        target.wait(0.6)
    assert [message.total for message in target.messages] == [50]


@pytest.mark.parametrize(("a_minute", "length_s"), [(90, 30), (240, 300)])
def test_the_events_of_lanes_come_in_any_order(a_minute: int, length_s: int) -> None:
    """A notifier that is behind reads one partition after the other."""
    taps = []
    for n, at in enumerate(range(SECOND, 33 * SECOND, 60 * SECOND // a_minute)):
        tap = Transition(f"u{n}", 0, LIKE, at, at)
        taps.append(Committed("t", 1 + n % 8, "post", 8, "tap", 1 + n // 8, (1,), 1, at, (), (tap,)))
    watch = follow(UNSEEN, sorted(taps, key=lambda tap: tap.bucket), OWNER, 40 * SECOND, Pace())
    assert watch.window is not None
    assert watch.window.closes_at - watch.window.opened_at == length_s * SECOND


def test_likes_all_hour_long_are_a_handful_of_messages() -> None:
    target = Watched()
    for n in range(3592):
        target.react(f"u{n}")
        target.wait(1.002)
    target.wait(HOUR)
    assert sum(message.total for message in target.messages) == 3592
    assert len(target.messages) <= 6


def test_beyond_the_known_users_the_counts_say_how_many() -> None:
    target = Watched()
    target.react("early", LOVE)
    target.wait(2 * DAY)
    for n in range(0, 5000, 100):
        target.commit(*(set_to(f"u{m}", LIKE if m % 2 else LOVE) for m in range(n, n + 100)))
    for n in range(0, 5000, 10):
        target.react(f"u{n}", 0)
    assert target.watch.window is not None
    assert len(target.watch.window.seen) == KNOWN
    [message] = target.wait(300)
    assert (message.total, message.split) == (4500, {LIKE: 2500, LOVE: 2000})
    assert len(message.sample) == SAMPLE
    assert len(pack(target.watch)) < 32 * KNOWN


def test_lanes_are_counted_together() -> None:
    target = Watched(Pace(windows_s=(30,)))
    for bucket in (1, 2):
        other = Watched()
        for n in range(0, 800, 80):
            event = other.commit(*(set_to(f"l{bucket}u{m}", LIKE) for m in range(n, n + 80)))
            assert event is not None
            target.see([msgspec.structs.replace(event, bucket=bucket, lanes=64)])
    [message] = target.wait(300)
    assert (message.total, message.split) == (1600, {LIKE: 1600})


@pytest.mark.parametrize("cause", ["import", "repair", "delete", "erase"])
def test_only_taps_notify(cause: str) -> None:
    target = Watched()
    target.react("ann")
    [event] = target.events
    other = msgspec.structs.replace(event, cause=cause)
    assert follow(UNSEEN, [other], OWNER, target.now, target.pace) is UNSEEN


def test_a_draft_is_checked_against_the_ledger() -> None:
    draft = Draft(1, 30, {LIKE: 20, LOVE: 10}, (("ann", LIKE), ("bob", LOVE), ("cid", LIKE)))
    now = {"ann": LIKE, "bob": 0, "cid": HAHA}
    assert checked(draft, now) == Draft(1, 29, {LIKE: 19, LOVE: 9, HAHA: 1}, (("ann", LIKE), ("cid", HAHA)))
    assert checked(Draft(1, 1, {LIKE: 1}, (("ann", LIKE),)), {}) is None


def test_a_postponed_window_goes_on() -> None:
    target = Watched()
    target.react("ann")
    target.watch = postpone(target.watch, target.now + HOUR * SECOND)
    target.wait(60)
    target.react("bob")
    assert target.messages == []
    assert [message.total for message in target.wait(HOUR)] == [2]
    assert postpone(target.watch, target.now) is target.watch


def test_closing_nothing_is_nothing() -> None:
    assert close(UNSEEN, OWNER, 1) == (None, UNSEEN)
