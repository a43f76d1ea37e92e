"""A watch that was lost, or whose notifier died, and what its owner was told meanwhile."""

import msgspec

from plaudit.domain.watch import UNSEEN, Watch
from plaudit.domain.windows import Pace, close, follow, retold
from tests.unit.domain.watching import OWNER, SECOND, Watched


def told(watched: Watched) -> Watch:
    """End the window as another notifier does that dies before it has saved the watch; what it left elsewhere."""
    watched.now += 31_000_000
    draft, after = close(watched.watch, OWNER, watched.now)
    assert draft is not None
    return after


def test_who_was_told_of_is_not_told_of_again() -> None:
    watched = Watched()
    watched.react("ann")
    after = told(watched)
    again = retold(watched.watch, after, watched.now, Pace())
    assert (again.window, again.told, again.message_at) == (None, after.told, after.message_at)
    assert close(again, OWNER, watched.now)[0] is None


def test_who_came_later_is_told_of_in_a_window_of_their_own() -> None:
    watched = Watched()
    watched.react("ann")
    after = told(watched)
    watched.react("bob")
    assert watched.watch.window is not None
    again = retold(watched.watch, after, watched.now, Pace())
    draft, last = close(again, OWNER, watched.now)
    assert draft is not None
    assert (draft.total, draft.sample) == (1, (("bob", 1),))
    assert draft.window != watched.watch.window.opened_at, "or it would replace the message about ann"
    assert again.window is not None
    assert again.window.closes_at - draft.window == Pace().windows_s[1] * SECOND, "whole, as one that follows"
    assert list(last.told) == ["ann", "bob"]


def test_a_lost_watch_passes_over_what_was_told_and_goes_on() -> None:
    watched = Watched()
    watched.react("ann")
    watched.react("bob")
    after = told(watched)
    again = follow(after, watched.events, OWNER, watched.now, watched.pace)
    assert again is after
    watched.react("bob", 0)
    watched.react("cid")
    again = follow(after, watched.events, OWNER, watched.now, watched.pace)
    assert again.window is not None
    assert list(again.window.seen) == ["cid"]
    assert again.level == 1


def test_a_watch_that_knows_stays_as_it_is() -> None:
    watched = Watched()
    watched.react("ann")
    after = told(watched)
    assert retold(after, after, watched.now, Pace()) is after
    assert retold(UNSEEN, UNSEEN, 1, Pace()) is UNSEEN
    older = msgspec.structs.replace(after, message_at=1)
    assert retold(after, older, watched.now, Pace()) is after


def test_who_came_by_a_clock_that_was_ahead_waits_as_long_as_anybody() -> None:
    watched = Watched()
    watched.react("ann")
    after = told(watched)
    right = watched.now
    watched.now += 24 * 3600 * SECOND
    watched.react("bob")
    again = retold(watched.watch, after, right, Pace())
    assert again.window is not None
    assert again.window.opened_at == right
