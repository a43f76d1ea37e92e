"""Events that overtake one another, as those of several processes do: nobody is missed, and nobody is told of twice."""

from random import Random

import msgspec
import pytest

from plaudit.domain import windows
from plaudit.domain.watch import REACH, CellCounts, pack
from plaudit.domain.windows import follow, retold
from tests.support.taps import HAHA, LIKE, LOVE, set_to
from tests.unit.domain.watching import DAY, HOUR, OWNER, SECOND, Held, Watched, names


def held(*taps: tuple[str, int]) -> Held:
    """A target with one event for each of these taps, none of which has come."""
    target = Held()
    for user, reaction in taps:
        target.now += 1_000
        target.react(user, reaction)
    return target


def told(target: Watched) -> dict[str, int]:
    """Whom all messages name, each once, when every window has ended."""
    target.wait(HOUR)
    pairs = [pair for message in target.messages for pair in message.sample]
    assert len(pairs) == len(dict(pairs)) == sum(message.total for message in target.messages)
    return dict(pairs)


@pytest.mark.parametrize("order", [(1, 0, 2), (1, 2, 0), (2, 1, 0), (2, 0, 1), (0, 2, 1)])
def test_whose_event_was_overtaken_is_told_of_once(order: tuple[int, ...]) -> None:
    target = held(("ann", LIKE), ("bob", LOVE), ("cid", LIKE))
    target.come(*order)
    before = target.watch
    target.come(*order, 0, 1, 2)
    assert target.watch == before, "read again"
    assert told(target) == {"ann": LIKE, "bob": LOVE, "cid": LIKE}


@pytest.mark.parametrize("first", [0, 1])
def test_whose_event_comes_after_the_message_is_told_of_in_the_next(first: int) -> None:
    target = held(("ann", LIKE), ("bob", LIKE), ("cid", LIKE))
    target.come(first, 2)
    [message] = target.wait(30)
    assert message.total == 2
    target.come(1 - first, 1 - first, 0, 1, 2)
    assert told(target) == {"ann": LIKE, "bob": LIKE, "cid": LIKE}
    target.come(0, 1, 2)
    assert target.watch.window is None, "read again"


def test_a_user_whose_own_taps_overtake_each_other_is_news_if_they_react() -> None:
    target = held(("ann", LIKE), ("bob", LIKE), ("bob", LOVE), ("cid", LIKE), ("cid", 0))
    target.come(0, 2, 1, 4, 3)
    assert told(target) == {"ann": LIKE, "bob": LOVE}


def test_what_was_before_the_window_is_not_in_it_however_late_it_comes() -> None:
    target = held(("ann", LIKE))
    target.come(0)
    target.wait(2 * DAY)
    target.react("ann", 0)
    target.react("bob")
    target.react("ann", LOVE)
    target.come(2, 1, 3)
    assert sorted(names(target.wait(31)[0])) == ["ann", "bob"]


@pytest.mark.parametrize(("place", "there"), [(1, True), (0, False)])
def test_so_many_events_may_overtake_one_and_no_more(place: int, there: bool) -> None:
    target = held(*((f"u{n}", LIKE) for n in range(REACH + 1)))
    target.come(*(n for n in range(REACH + 1) if n != place), place)
    assert target.watch.window is not None
    assert (f"u{place}" in target.watch.window.seen) == there


def test_what_is_missing_takes_no_more_room_than_a_number() -> None:
    target = held(*((f"u{n % 7}", n // 7 % 2) for n in range(1, 900)))
    target.come(*range(1, 890, 2))
    [cell] = target.watch.cells.values()
    assert cell.missing == sum(1 << n for n in range(1, REACH, 2))
    assert len(pack(target.watch)) < 300


def test_nothing_of_before_a_deletion_is_missing_after_it() -> None:
    target = held(("ann", LIKE), ("bob", LIKE))
    target.come(1)
    target.see([msgspec.structs.replace(target.events[1], cause="delete", seq=3, transitions=())])
    watch = target.watch
    target.come(0)
    assert target.watch == watch


def test_a_republished_state_does_not_stand_for_the_event_of_its_number() -> None:
    target = held(("ann", LIKE), ("bob", LIKE), ("cid", LIKE))
    target.come(0)
    [lost] = target.events[1].transitions
    unknown = msgspec.structs.replace(lost, before=None)
    target.see([msgspec.structs.replace(target.events[2], cause="late", transitions=(unknown,))])
    target.come(2)
    assert told(target) == {"ann": LIKE, "bob": LIKE, "cid": LIKE}


def test_a_republished_state_is_not_taken_for_an_event_that_is_missing() -> None:
    target = held(("ann", LIKE), ("bob", LIKE), ("cid", LIKE))
    target.come(0, 2)
    late = msgspec.structs.replace(target.events[1], cause="late", transitions=target.events[0].transitions)
    target.see([late])
    target.come(1)
    assert told(target) == {"ann": LIKE, "bob": LIKE, "cid": LIKE}


def test_what_neither_the_watch_nor_the_message_had_is_missing_still() -> None:
    target = held(("ann", LIKE), ("bob", LIKE), ("cid", LIKE), ("dan", LIKE), ("eve", LIKE))
    target.come(0, 4)
    forgot = target.watch
    target.come(1)
    [message] = target.wait(30)
    assert sorted(names(message)) == ["ann", "bob", "eve"]
    target.watch = retold(
        follow(forgot, [target.events[3]], OWNER, target.now, target.pace),
        target.watch,
        target.now,
        target.pace,
    )
    [cell] = target.watch.cells.values()
    assert cell.missing == 1 << 2
    target.come(*range(5))
    assert told(target) == dict.fromkeys(("ann", "bob", "cid", "dan", "eve"), LIKE)


def test_who_was_told_of_and_is_no_longer_remembered_is_not_told_of_again() -> None:
    target = Watched()
    for start in (0, 1000):
        target.commit(*(set_to(f"u{n}", LIKE) for n in range(start, start + 600)))
        target.wait(301)
        target.react("u0", 0)
        target.react("u0", LOVE)  # which was nothing to remember at the first time
    assert "u0" not in target.watch.told
    watch = target.watch
    target.see(target.events[:3])
    assert target.watch == watch


def test_who_was_erased_does_not_come_back_with_what_is_read_again() -> None:
    target = Watched()
    target.react("ann")
    target.wait(30)
    target.react("ann", 0)
    target.react("ann")
    target.react("bob")
    target.erase("ann")
    target.see(target.events)
    assert b"ann" not in pack(target.watch)


def test_a_tap_that_comes_behind_its_users_erasure_is_nobodys_news() -> None:
    target = Held()
    target.react("bob")
    target.react("ann")
    target.erase("ann")
    target.come(0, 2, 1)
    assert b"ann" not in pack(target.watch)
    assert told(target) == {"bob": LIKE}


def test_an_erasure_that_is_overtaken_takes_the_user_out_all_the_same() -> None:
    target = Held()
    target.react("ann")
    target.come(0)
    target.wait(30)
    target.erase("ann")
    target.react("bob")
    target.come(2, 1)
    assert target.watch.window is not None
    assert b"ann" not in pack(target.watch)


@pytest.mark.parametrize("seed", range(20))
def test_a_crowd_is_as_many_in_whatever_order(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "KNOWN", 5)
    chance, target = Random(seed), Held()
    target.commit(*(set_to(f"old{n}", LIKE) for n in range(10)))
    target.react(OWNER)
    target.come(0, 1)
    target.wait(2 * DAY)
    target.messages.clear()
    users = [*(f"u{n}" for n in range(40)), *(f"old{n}" for n in range(10)), OWNER]
    chance.shuffle(users)
    for start in range(0, len(users), 3):
        target.now += SECOND // 10
        target.commit(*(set_to(user, LOVE) for user in users[start : start + 3]))
    places = sorted(range(2, len(target.events)), key=lambda place: place + chance.uniform(0, 5))
    target.come(*places, *places)
    [message] = target.wait(301)
    assert (message.total, message.split) == (40, {LOVE: 40})
    target.come(*places)
    assert target.watch.window is None


def test_a_crowd_was_told_of_with_those_whose_events_were_missing() -> None:
    target = Held()
    for start in range(0, 1200, 100):
        target.commit(*(set_to(f"u{n}", HAHA) for n in range(start, start + 100)))
    target.come(*range(3), *range(4, 12))
    [message] = target.wait(301)
    assert message.total == 1200
    target.come(3)
    assert target.watch.window is None


def test_a_watch_that_was_stored_before_misses_nothing() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode([7, [0], [2]]), type=CellCounts) == CellCounts(
        7, (0,), (2,)
    )
    assert (CellCounts(7, (0,), (2,)).missing, CellCounts(7, (0,), (2,)).sure) == (0, REACH)
