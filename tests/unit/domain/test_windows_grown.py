"""Messages of more users than a window knows by name: by how much the counts grew, and by nothing that is no news."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.domain import windows
from plaudit.domain.watch import UNSEEN, Watch
from plaudit.domain.windows import KNOWN, Draft, Pace, close, retold
from tests.support.taps import HAHA, LIKE, LOVE, set_to
from tests.unit.domain.watching import OWNER, SECOND, Watched

DAY = 24 * 3600


def crowd(target: Watched, start: int, end: int, reaction: int) -> None:
    """These users tap, a hundred in a commit."""
    for n in range(start, end, 100):
        target.commit(*(set_to(f"u{m}", reaction) for m in range(n, min(n + 100, end))))


def old(count: int) -> Watched:
    """A target with so many likes that nobody will be told of any more."""
    target = Watched()
    crowd(target, 0, count, LIKE)
    target.wait(3 * DAY)
    target.messages.clear()
    return target


def only(target: Watched) -> tuple[int, dict[int, int]]:
    """What the one message says."""
    [message] = target.wait(301)
    assert sum(message.split.values()) == message.total
    return message.total, message.split


@pytest.mark.parametrize("switching_first", [True, False])
def test_a_switch_is_no_second_reaction_in_a_crowd(switching_first: bool) -> None:
    target = old(2000)
    if switching_first:
        target.react("first")
        crowd(target, 0, 1500, LOVE)
        crowd(target, 10_000, 11_199, LIKE)
    else:
        crowd(target, 10_000, 11_200, LIKE)
        crowd(target, 0, 1500, LOVE)
    assert only(target) == (1200, {LIKE: 1200})


def test_how_often_a_lost_tap_is_republished_says_nothing() -> None:
    """As a sweep does, a consumer that starts anew, a notifier that goes back: with the last number."""
    told = []
    for times in (1, 2, 3):
        target = Watched()
        crowd(target, 0, 1101, LIKE)
        before = target.watch
        target.react(OWNER, LOVE)
        [lost] = target.events[-1].transitions
        target.watch = before
        target.react("last")
        unknown = msgspec.structs.replace(lost, before=None)
        target.see([msgspec.structs.replace(target.events[-1], cause="late", transitions=(unknown,))] * times)
        told.append(only(target)[0])
    assert told == [1103] * 3, "with the owner, who cannot be told apart from others by then"


def test_two_among_a_crowd_that_switches_are_two() -> None:
    target = old(2000)
    target.react("first")
    crowd(target, 0, 1500, LOVE)
    target.react("last", HAHA)
    assert only(target) == (2, {LIKE: 1, HAHA: 1})


def test_a_switch_within_the_window_is_the_reaction_it_ends_with() -> None:
    target = Watched()
    crowd(target, 0, 1500, LIKE)
    crowd(target, 900, 1500, LOVE)
    assert only(target) == (1500, {LIKE: 900, LOVE: 600})


def test_the_owner_is_no_part_of_a_crowd() -> None:
    target = Watched()
    target.react(OWNER, LOVE)
    crowd(target, 0, 1101, LIKE)
    for reaction in (0, LOVE, HAHA):
        target.react(OWNER, reaction)
    assert only(target) == (1101, {LIKE: 1101})


def test_who_was_told_of_is_no_part_of_the_next_crowd() -> None:
    target = Watched()
    crowd(target, 0, 500, LIKE)
    assert only(target) == (500, {LIKE: 500})
    crowd(target, 0, 500, 0)
    target.wait(3600)
    crowd(target, 10_000, 11_001, LIKE)
    crowd(target, 0, 500, LOVE)
    crowd(target, 0, 100, 0)
    assert only(target) == (1001, {LIKE: 1001})


def test_old_reactions_that_known_users_take_back_take_nothing_away() -> None:
    target = old(300)
    target.react("first")
    crowd(target, 0, 300, 0)
    crowd(target, 10_000, 11_500, LOVE)
    assert only(target) == (1501, {LIKE: 1, LOVE: 1500})


def test_old_reactions_that_a_crowd_takes_back_are_not_seen_in_the_split() -> None:
    """The counts say only by how much they grew."""
    target = old(300)
    crowd(target, 10_000, 11_500, LOVE)
    crowd(target, 0, 300, 0)
    assert only(target) == (1200, {LOVE: 1200})


def test_what_is_taken_back_is_taken_from_whom_nobody_knows() -> None:
    target = Watched()
    crowd(target, 0, 600, HAHA)
    target.wait(3 * DAY)
    for start, count, reaction in ((0, 500, LIKE), (1000, 500, LOVE), (2000, 400, LIKE), (3000, 500, LOVE)):
        crowd(target, 10_000 + start, 10_000 + start + count, reaction)
    crowd(target, 0, 600, 0)
    assert target.watch.window is not None
    assert Counter(seen.now for seen in target.watch.window.seen.values()) == {LIKE: 500, LOVE: 500}
    assert only(target) == (1300, {LIKE: 634, LOVE: 666}), "in proportion"


def test_who_comes_back_in_a_crowd_is_one_of_it() -> None:
    target = old(500)
    crowd(target, 0, 500, 0)
    crowd(target, 10_000, 11_500, LIKE)
    crowd(target, 0, 500, LOVE)
    assert only(target) == (2000, {LIKE: 1500, LOVE: 500})


def test_it_is_never_fewer_than_those_who_are_known() -> None:
    target = old(2000)
    crowd(target, 10_000, 11_100, LOVE)
    crowd(target, 0, 2000, 0)
    assert only(target) == (KNOWN, {LOVE: KNOWN})


def test_who_is_erased_is_no_part_of_it() -> None:
    target = Watched()
    crowd(target, 0, 1200, LIKE)
    target.erase("u7")
    assert only(target) == (1199, {LIKE: 1199})


def test_a_crowd_after_a_message_that_the_watch_did_not_know_of_has_nobody_of_it() -> None:
    target = Watched(Pace(windows_s=(30, 300)))
    crowd(target, 0, 900, LIKE)
    draft, after = close(target.watch, OWNER, target.now + 30 * SECOND)
    assert isinstance(draft, Draft)
    assert draft.total == 900
    target.react("meanwhile")
    target.now += 31 * SECOND
    target.watch = retold(target.watch, after, target.now, target.pace)
    crowd(target, 10_000, 11_300, LOVE)
    assert only(target) == (1301, {LIKE: 1, LOVE: 1300})


def told_of_a_crowd() -> tuple[Watched, Watch]:
    """A window of more users than are known, and the watch as the message about it leaves it, which is not saved."""
    target = Watched(Pace(windows_s=(30, 300)))
    crowd(target, 0, 1500, LIKE)
    target.now += 300 * SECOND
    draft, after = close(target.watch, OWNER, target.now)
    assert isinstance(draft, Draft)
    assert draft.total == 1500
    return target, after


def test_who_comes_to_a_full_window_while_its_message_is_made_is_told_of_next() -> None:
    target, after = told_of_a_crowd()
    crowd(target, 10_000, 10_300, LOVE)
    target.watch = retold(target.watch, after, target.now, target.pace)
    target.react("last", HAHA)
    assert only(target) == (301, {LOVE: 300, HAHA: 1})
    assert target.wait(3 * DAY) == []


def test_of_a_full_window_to_which_nobody_else_comes_nothing_is_left() -> None:
    target, after = told_of_a_crowd()
    crowd(target, 900, 1200, LOVE)
    crowd(target, 1400, 1450, 0)
    target.watch = retold(target.watch, after, target.now, target.pace)
    assert target.watch.window is None


def test_a_window_that_was_opened_after_a_message_has_nobody_of_it() -> None:
    """The store forgot the first one altogether."""
    target, after = told_of_a_crowd()
    target.watch = UNSEEN
    target.wait(1)
    crowd(target, 10_000, 11_200, LOVE)
    target.watch = retold(target.watch, after, target.now, target.pace)
    assert only(target) == (1200, {LOVE: 1200})


people = st.sampled_from([*"abcdefgh", OWNER])
some_taps = st.lists(st.tuples(people, st.sampled_from([LIKE, LOVE, HAHA])), max_size=25)


@given(before=some_taps, told=some_taps, now=some_taps, back=st.sets(people))
@settings(max_examples=100)
def test_where_nobody_takes_back_what_is_older_it_is_exact(
    before: list[tuple[str, int]], told: list[tuple[str, int]], now: list[tuple[str, int]], back: set[str]
) -> None:
    """Whoever of them is known, told of, the owner, or had a reaction all along."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "KNOWN", 1000)
        target = Watched(Pace(windows_s=(30, 30)))
        for pause_s, taps in ((2 * DAY, before), (60, told)):
            for user, reaction in taps:
                target.react(user, reaction)
            target.wait(pause_s)
        known = {user for user, at in target.watch.told.items() if at * SECOND > target.now - DAY * SECOND}
        for user in back & known:
            target.react(user, 0)
        patch.setattr(windows, "KNOWN", 2)
        there = {user for user, row in target.rows.items() if row.reaction} | known | {OWNER}
        for user, reaction in now:
            target.react(user, reaction)
        news = {user: target.reaction(user) for user, _ in now if user not in there}
        made = target.wait(60)
    assert [message.total for message in made] == ([len(news)] if news else [])
    for message in made:
        assert sum(message.split.values()) == message.total
        if all(target.rows[user].created_at >= message.window for user in news):
            assert message.split == Counter(news.values())
