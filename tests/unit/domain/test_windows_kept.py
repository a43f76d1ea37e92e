"""What is remembered of a target and of whom was told of, for how long, and in which form."""

import msgspec
import pytest

from plaudit.domain import windows
from plaudit.domain.errors import Corrupt
from plaudit.domain.watch import UNSEEN, Watch, pack, unpack
from plaudit.domain.windows import GUARD, LATE, TOLD, collapse_id, follow, forget_at
from tests.support.taps import LIKE, LOVE, set_to
from tests.unit.domain.watching import DAY, HOUR, OWNER, SECOND, Watched, names


def test_the_newest_thousand_told_are_remembered() -> None:
    target = Watched()
    for n in range(TOLD + 300):
        target.react(f"u{n}")
        target.wait(3)
    target.wait(HOUR)
    assert len(target.watch.told) == TOLD
    assert f"u{TOLD + 299}" in target.watch.told


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


def test_somebody_is_told_of_for_a_day_and_not_a_moment_less() -> None:
    """When is cut to seconds, so a day lasts up to a second longer."""
    target = Watched()
    target.react("ann")
    target.wait(30)
    target.react("ann", 0)
    target.wait(DAY)
    target.react("ann")
    assert target.watch.window is None
    target.react("ann", 0)
    target.wait(1)
    target.react("ann")
    assert target.watch.window is not None


def test_what_was_no_news_when_it_was_made_is_none_when_it_is_read_again() -> None:
    """The day of somebody who was told of ends for their next tap, and not while the last one comes again."""
    target = Watched()
    target.react("ann")
    target.wait(30)
    target.wait(DAY)
    target.react("ann", 0)
    target.react("ann")
    assert target.watch.window is None
    kept_until = forget_at(target.watch, target.now, target.pace)
    assert kept_until >= target.now + GUARD
    target.wait(GUARD // SECOND)
    target.see(target.events)
    assert target.watch.window is None


def test_what_was_no_news_in_one_lane_is_none_after_a_message_about_another() -> None:
    """The window of the other lane does not know that the event has come."""
    target = Watched()
    target.react("ann")
    target.wait(30)
    target.wait(DAY)
    target.react("ann", 0)
    target.react("ann")
    other = Watched()
    other.now = target.now
    other.react("bob")
    target.see([msgspec.structs.replace(other.events[0], bucket=1)])
    assert [names(message) for message in target.wait(30)] == [["bob"]]
    target.see(target.events)
    assert target.watch.window is None


def test_what_was_taken_back_before_a_window_of_another_lane_is_not_in_it_when_it_is_read_again() -> None:
    """Else who gives it again in that window has had it all along."""
    target = Watched()
    target.react("ann")
    target.react("ann", 0)
    target.watch = UNSEEN
    target.wait(60)
    other = Watched()
    other.now = target.now
    other.react("bob")
    target.see([msgspec.structs.replace(other.events[0], bucket=1), target.events[-1]])
    target.react("ann")
    [message] = target.wait(30)
    assert sorted(names(message)) == ["ann", "bob"]


def test_what_comes_a_day_late_is_nobodys_news_in_a_window_of_others_either() -> None:
    """It may have been told of: what a process that died had under way is published again by whoever adopts it."""
    target = Watched()
    target.react("ann")
    [event] = target.events
    [tap] = event.transitions
    assert target.wait(30)
    target.wait(2 * DAY)
    target.react("bob")
    assert target.wait(30)
    target.wait(HOUR)
    target.react("cid")
    late = msgspec.structs.replace(
        target.events[-1], cause="late", transitions=(msgspec.structs.replace(tap, before=None),)
    )
    target.see([late])
    [message] = target.wait(30)
    assert (message.total, names(message)) == (1, ["cid"])


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


@pytest.mark.parametrize("cause", ["erase", "delete"])
def test_what_is_read_again_with_what_took_it_away_opens_no_window(cause: str) -> None:
    target = Watched()
    target.react("ann")
    target.wait(30)
    target.react("ann", 0)
    target.react("ann")
    last = target.events[-1]
    target.see([msgspec.structs.replace(last, cause=cause, seq=last.seq + 1)])
    watch = target.watch
    target.see(target.events)
    assert target.watch == watch


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
    assert unpack(bytes.fromhex(GOLDEN_BEFORE)).window == target.watch.window


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x90", b"\x91\xa8watch.v2", b"\x92\xa8watch.v1\xa1x"])
def test_anything_else_is_corrupt(body: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack(body)


GOLDEN = (
    "96a877617463682e7631810095029100920101000296cf00038d7ea4c68000cf00038d7ea6904380000282a3616e6e930001"
    "cf00038d7ea4c68000a3626f62930002cf00038d7ea4c68001c2000080"
)
# Before it was known which events of a cell are missing.
GOLDEN_BEFORE = GOLDEN.replace("95029100920101" + "0002", "93029100920101")


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


def test_a_tap_whose_event_was_lost_is_news_when_it_is_republished_after_a_newer_one() -> None:
    """Kafka was away for a moment: the state that is published again has the number of the last commit."""
    target = Watched()
    target.react("ann")
    before = target.watch
    target.react("bob")
    target.watch = before
    target.react("cid")
    [lost] = target.events[1].transitions
    unknown = msgspec.structs.replace(lost, before=None)
    late = msgspec.structs.replace(target.events[2], cause="late", transitions=(unknown,))
    target.see([late])
    seen = target.watch
    target.see([late, *target.events])
    assert target.watch.window is not None
    assert seen.window is not None
    assert target.watch.window.seen == seen.window.seen, "replayed, and the lost event with it"
    assert target.watch.cells[0].grown == seen.cells[0].grown
    [message] = target.wait(30)
    assert sorted(names(message)) == ["ann", "bob", "cid"]
    target.see([late])
    assert target.watch.window is None, "replayed once more"
