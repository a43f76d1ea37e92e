"""When the owner is told, and of what."""

import msgspec
import pytest

from plaudit.domain import windows
from plaudit.domain.errors import Corrupt
from plaudit.domain.windows import (
    KNOWN,
    LATE,
    SAMPLE,
    TOLD,
    UNSEEN,
    Draft,
    Pace,
    Watch,
    checked,
    close,
    collapse_id,
    follow,
    forget_at,
    pack,
    postpone,
    unpack,
)
from tests.support.taps import HAHA, LIKE, LOVE, set_to, toggle
from tests.unit.domain.watching import OWNER, SECOND, Watched

HOUR = 3600
DAY = 24 * HOUR


def names(draft: Draft) -> list[str]:
    return [user for user, _ in draft.sample]


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


def test_more_than_a_hundred_taps_a_minute_extend_the_window_to_five_minutes() -> None:
    target = Watched()
    for n in range(101):
        target.react(f"u{n}")
        target.wait(0.1)
    assert target.wait(288) == []
    [message] = target.wait(2)
    assert message.total == 101


def test_a_hundred_taps_a_minute_do_not() -> None:
    target = Watched()
    for n in range(100):
        target.react(f"u{n}")
        target.wait(0.1)
    assert len(target.wait(20)) == 1


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


def test_the_newest_thousand_told_are_remembered() -> None:
    target = Watched()
    for n in range(TOLD + 300):
        target.react(f"u{n}")
        target.wait(3)
    target.wait(HOUR)
    assert len(target.watch.told) == TOLD
    assert f"u{TOLD + 299}" in target.watch.told


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


def test_replayed_events_change_nothing() -> None:
    target = Watched()
    target.react("ann")
    target.react("bob")
    target.react("ann", 0)
    before = target.watch
    target.see(target.events)
    assert target.watch == before
    assert len(target.wait(30)) == 1
    before = target.watch
    target.see(target.events)
    assert target.watch == before


def test_a_replayed_window_that_was_forgotten_has_the_same_collapse_id() -> None:
    target = Watched()
    target.react("ann")
    [first] = target.wait(30)
    target.watch = UNSEEN
    target.see(target.events)
    [again] = target.wait(HOUR)
    assert first == again
    assert collapse_id("t", OWNER, first.window) == collapse_id("t", OWNER, again.window)


def test_a_collapse_id_is_32_characters_that_any_channel_takes() -> None:
    found = {collapse_id(t, o, w) for t in ("a", "ab", "b") for o in ("c", "bc") for w in (1, 2)}
    assert len(found) == 12
    assert all(len(id_) == 32 and id_.replace("-", "").replace("_", "").isalnum() for id_ in found)
    assert collapse_id("post:42", "carol", 1_760_000_000_000_000) == "UDKpiTHlkWPbR65IZHKx3WFt54vnIIPR"


def test_a_republished_first_reaction_is_news_and_a_republished_later_state_is_not() -> None:
    target = Watched()
    target.react("ann")
    [event] = target.events
    [transition] = event.transitions
    late = msgspec.structs.replace(
        event, cause="late", transitions=(msgspec.structs.replace(transition, before=None),)
    )
    fresh = follow(UNSEEN, [late], OWNER, target.now, target.pace)
    assert fresh.window is not None
    later = msgspec.structs.replace(transition, before=None, at=transition.at + 5)
    assert (
        follow(
            UNSEEN,
            [msgspec.structs.replace(late, transitions=(later,))],
            OWNER,
            target.now,
            target.pace,
        )
        is UNSEEN
    )


def test_what_is_a_day_late_is_nobodys_news() -> None:
    target = Watched()
    target.react("ann")
    assert follow(UNSEEN, target.events, OWNER, target.now + LATE, target.pace) is UNSEEN


def test_who_was_told_of_is_remembered_for_as_long_as_a_tap_of_then_is_news() -> None:
    """Events that come while there is no window are known by nothing else, and may come again."""
    target = Watched()
    target.now += SECOND * 7 // 10
    target.react("ann")
    assert target.wait(30)
    target.react("ann", 0)
    target.react("ann")
    [again] = target.events[-1].transitions
    almost_late = again.at + LATE - 1
    watch = follow(target.watch, target.events[-1:], OWNER, almost_late, target.pace)
    assert watch.window is None


@pytest.mark.parametrize("cause", ["import", "repair", "delete", "erase"])
def test_only_taps_notify(cause: str) -> None:
    target = Watched()
    target.react("ann")
    [event] = target.events
    other = msgspec.structs.replace(event, cause=cause)
    assert follow(UNSEEN, [other], OWNER, target.now, target.pace) is UNSEEN


def test_a_deleted_target_has_no_window() -> None:
    target = Watched()
    target.react("ann")
    gone = msgspec.structs.replace(target.events[0], cause="delete", seq=9, transitions=())
    target.see([gone])
    assert target.watch.window is None


def test_nothing_is_remembered_of_a_deleted_target_but_which_events_came() -> None:
    target = Watched()
    target.react("ann")
    [before] = target.events
    target.wait(30)
    assert "ann" in target.watch.told
    gone = msgspec.structs.replace(before, cause="delete", seq=9, transitions=())
    target.see([gone])
    assert (target.watch.told, target.watch.level, target.watch.message_at) == ({}, 0, 0)
    assert follow(target.watch, [before], OWNER, target.now, target.pace) is target.watch, "repeated"
    assert follow(target.watch, [gone], OWNER, target.now, target.pace) is target.watch
    again = msgspec.structs.replace(before, seq=12)
    assert follow(target.watch, [again], OWNER, target.now, target.pace).window is not None


def test_an_erased_user_is_in_no_window_and_no_memory() -> None:
    target = Watched()
    target.react("ann")
    target.wait(30)
    target.react("bob")
    target.erase("ann")
    assert b"ann" not in pack(target.watch)
    target.react("cid")
    target.erase("bob")
    assert b"bob" not in pack(target.watch)
    assert [names(message) for message in target.wait(HOUR)] == [["cid"]]


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


def test_a_watch_is_kept_as_long_as_it_is_needed() -> None:
    target = Watched()
    assert forget_at(UNSEEN, 5, target.pace) == 600 * SECOND + 5
    target.react("ann")
    target.wait(30)
    assert forget_at(target.watch, target.now, target.pace) >= target.now + (DAY - 1) * SECOND


def test_the_stored_form_is_for_ever() -> None:
    target = Watched()
    target.now = 1_000_000_000_000_000
    target.react("ann", LIKE)
    target.react("bob", LOVE)
    stored = pack(target.watch)
    assert stored.hex() == GOLDEN
    assert unpack(stored) == target.watch


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x90", b"\x91\xa8watch.v2", b"\x92\xa8watch.v1\xa1x"])
def test_anything_else_is_corrupt(body: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack(body)


def test_closing_nothing_is_nothing() -> None:
    assert close(UNSEEN, OWNER, 1) == (None, UNSEEN)


GOLDEN = (
    "96a877617463682e763181009302910092010196cf00038d7ea4c68000cf00038d7ea6904380000282a3616e6e930001"
    "cf00038d7ea4c68000a3626f62930002cf00038d7ea4c68001c2000080"
)


def test_the_users_of_a_window_are_copied_once_for_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Watched()
    target.react("ann")
    before, stored = target.watch, pack(target.watch)
    event = target.commit(*(set_to(f"u{n}", LIKE) for n in range(8)))
    assert event is not None
    used: list[object] = []
    tap = windows._tap

    def watched(watch: Watch, *more: object) -> Watch:
        used.append(watch.window and watch.window.seen)
        return tap(watch, *more)  # type: ignore[arg-type] # handed on

    monkeypatch.setattr(windows, "_tap", watched)
    after = follow(before, [event], OWNER, target.now, target.pace)
    assert (len(used), len({id(seen) for seen in used})) == (8, 1)
    assert after.window is not None
    assert len(after.window.seen) == 9
    assert pack(before) == stored, "what was given stays as it is"
