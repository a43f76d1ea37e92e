"""Lists derived from events in Cassandra: ties, late deletes, replays, and the order of pages."""

import asyncio
from collections.abc import AsyncIterator
from itertools import permutations
from random import Random
from zlib import crc32

import msgspec
import pytest

from plaudit.adapters.cassandra import CassandraCells, CassandraIndex, CassandraLists, Session
from plaudit.adapters.cassandra.index import LIST_BUCKETS
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Row, Transition
from plaudit.domain.events import Committed
from plaudit.domain.lanes import lane_of
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Entry
from plaudit.ports.own import NOTHING, State
from tests.engines.cassandra import Cassandra
from tests.support.cassandra import fresh_target, open_session
from tests.support.taps import ALL, HAHA, LIKE, LOVE, NONE

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def session(cassandra: Cassandra, anyio_backend: str) -> AsyncIterator[Session]:
    async with open_session(cassandra) as opened:
        yield opened


@pytest.fixture
async def lists(session: Session) -> AsyncIterator[CassandraLists]:
    async with CassandraLists(session) as opened:
        yield opened


@pytest.fixture
async def index(session: Session) -> AsyncIterator[CassandraIndex]:
    async with CassandraIndex(session) as opened:
        yield opened


def event(target: str, *transitions: Transition) -> Committed:
    return Committed(target, 0, "post", 1, "tap", 1, (), 0, 0, (), transitions)


def moves(user: str, *steps: tuple[int | None, int], created_at: int = 10) -> list[Transition]:
    """One transition per step (before, after), ten microseconds apart, the first at `created_at`."""
    return [
        Transition(user, before, after, created_at, created_at + 10 * n)
        for n, (before, after) in enumerate(steps)
    ]


async def test_every_order_of_a_users_events_leaves_the_same_lists(
    lists: CassandraLists, index: CassandraIndex
) -> None:
    steps = moves("ann", (NONE, LIKE), (LIKE, LOVE), (LOVE, NONE), (NONE, LIKE))
    orders = [list(order) for order in permutations(steps)]

    async def leaves(order: list[Transition]) -> tuple[list[Entry], list[Entry]]:
        target, user = fresh_target(), fresh_target()
        for step in order:
            transition = Transition(user, step.before, step.after, step.created_at, step.at)
            await index.apply([event(target, transition)])
        who = await lists.reactors(target, ALL, None, 10)
        what = await lists.reacted(user, None, 10)
        assert [entry.key for entry in who] in ([user], [])
        assert [entry.key for entry in what] in ([target], [])
        return [Entry("", e.reaction, e.created_at) for e in who], [
            Entry("", e.reaction, e.created_at) for e in what
        ]

    found = await asyncio.gather(*map(leaves, orders))
    assert all(each == ([Entry("", LIKE, 10)], [Entry("", LIKE, 10)]) for each in found)


async def test_a_delete_that_comes_late_takes_nothing_newer_away(
    lists: CassandraLists, index: CassandraIndex
) -> None:
    target = fresh_target()
    create, remove, again = moves("ann", (NONE, LIKE), (LIKE, NONE), (NONE, LIKE))
    await index.apply([event(target, create), event(target, again)])
    await index.apply([event(target, remove)])
    assert await lists.reactors(target, ALL, None, 10) == [Entry("ann", LIKE, 10)]


async def test_an_insert_that_comes_late_brings_nothing_back(
    lists: CassandraLists, index: CassandraIndex
) -> None:
    target = fresh_target()
    create, remove = moves("ann", (NONE, LIKE), (LIKE, NONE))
    await index.apply([event(target, remove)])
    await index.apply([event(target, create)])
    assert await lists.reactors(target, ALL, None, 10) == []


async def test_on_equal_timestamps_the_delete_wins_whichever_comes_first(
    lists: CassandraLists, index: CassandraIndex
) -> None:
    for order in ((0, 1), (1, 0)):
        target = fresh_target()
        tied = [Transition("ann", NONE, LIKE, 10, 20), Transition("ann", LIKE, NONE, 10, 20)]
        for n in order:
            await index.apply([event(target, tied[n])])
        assert await lists.reactors(target, ALL, None, 10) == []


async def test_a_replay_of_everything_changes_nothing(lists: CassandraLists, index: CassandraIndex) -> None:
    target, random = fresh_target(), Random(3)
    events = []
    for n in range(20):
        reaction = NONE
        for step in range(5):
            after = random.choice([code for code in (NONE, LIKE, LOVE, HAHA) if code != reaction])
            events.append(event(target, Transition(f"u{n}", reaction, after, 100 + n, 1000 + 10 * step)))
            reaction = after
    await index.apply(events)
    before = await lists.reactors(target, ALL, None, 100)
    random.shuffle(events)
    await index.apply(events)
    await index.apply(events[::-1])
    assert await lists.reactors(target, ALL, None, 100) == before
    assert before


async def test_a_state_published_again_takes_the_user_off_every_other_list(
    lists: CassandraLists, index: CassandraIndex
) -> None:
    target = fresh_target()
    await index.apply(
        [event(target, *moves("ann", (NONE, LIKE))), event(target, *moves("bob", (NONE, HAHA)))]
    )
    lost = [Transition("ann", None, LOVE, 10, 30), Transition("bob", None, NONE, 10, 30)]
    await index.apply([event(target, *lost)])
    assert await lists.reactors(target, ALL, None, 10) == [Entry("ann", LOVE, 10)]
    await index.apply([event(target, *moves("ann", (NONE, LIKE), (LIKE, LOVE)))])
    assert await lists.reactors(target, ALL, None, 10) == [Entry("ann", LOVE, 10)]


async def test_a_deletion_takes_whole_lists_and_nothing_of_what_comes_after(
    lists: CassandraLists, index: CassandraIndex
) -> None:
    """Also who is not told of: what they did last may never have been."""
    before = event("", *moves("ann", (NONE, LIKE), (LIKE, HAHA)), *moves("bob", (NONE, LOVE)))
    gone = msgspec.structs.replace(event("", Transition("ann", None, NONE, 10, 50)), cause="delete")
    after = event("", Transition("ann", NONE, LIKE, 51, 51), Transition("cid", NONE, LOVE, 52, 52))
    for order in permutations((before, gone, after)):
        target = fresh_target()
        for each in order:
            await index.apply([msgspec.structs.replace(each, target=target)])
        assert await lists.reactors(target, ALL, None, 10) == [Entry("cid", LOVE, 52), Entry("ann", LIKE, 51)]
        assert [e.created_at for e in await lists.reacted("ann", None, 99) if e.key == target] == [51]


async def test_a_row_of_a_split_root_goes_from_the_list_that_its_lane_was_told_to_keep_it_in(
    lists: CassandraLists, index: CassandraIndex
) -> None:
    target = fresh_target()
    split = msgspec.structs.replace(event(target, *moves("ann", (None, LIKE))), lanes=4)
    gone = msgspec.structs.replace(split, cause="delete", transitions=tuple(moves("ann", (None, NONE))))
    await index.apply([split, msgspec.structs.replace(split, bucket=lane_of("ann", 4))])
    assert await lists.reactors(target, ALL, None, 10, split=True) == [Entry("ann", LIKE, 10)]
    await index.apply([gone])
    assert await lists.reactors(target, ALL, None, 10, split=True) == []


async def test_pages_are_newest_first_without_gap_or_repeat(
    lists: CassandraLists, index: CassandraIndex
) -> None:
    target, random = fresh_target(), Random(5)
    people = [(f"u{n:02}", random.choice((LIKE, LOVE, HAHA)), random.randint(1, 5)) for n in range(40)]
    await index.apply([event(target, *(Transition(user, NONE, code, at, at) for user, code, at in people))])
    wanted = sorted(
        (Entry(u, c, at) for u, c, at in people), key=lambda e: (e.created_at, e.key), reverse=True
    )
    found: list[Entry] = []
    while page := await lists.reactors(
        target, ALL, (found[-1].created_at, found[-1].key) if found else None, 7
    ):
        found += page
    assert found == wanted
    assert await lists.reactors(target, [LOVE], None, 100) == [e for e in wanted if e.reaction == LOVE]


async def test_who_stands_in_two_lists_for_a_moment_is_shown_once(
    lists: CassandraLists, index: CassandraIndex
) -> None:
    """Half of a switch is written: the new entry is there, the old one too."""
    target, users = fresh_target(), [f"u{n:02}" for n in range(30)]
    for reaction, at in ((LIKE, 10), (LOVE, 20)):
        moved = (Transition(user, NONE, reaction, 10 + n % 4, at + n % 4) for n, user in enumerate(users))
        await index.apply([event(target, *moved)])
    found: list[Entry] = []
    while page := await lists.reactors(
        target, ALL, (found[-1].created_at, found[-1].key) if found else None, 7
    ):
        found += page
        assert len(page) == 7 or len(found) == 30
    places = [(entry.created_at, entry.key) for entry in found]
    assert places == sorted(places, reverse=True)
    assert {entry.key for entry in found} == set(users)
    assert len(found) == 30


async def test_a_user_sees_what_they_reacted_to_newest_first(
    lists: CassandraLists, index: CassandraIndex
) -> None:
    user, targets = fresh_target(), [fresh_target() for _ in range(5)]
    await index.apply([event(t, Transition(user, NONE, LIKE, n, n)) for n, t in enumerate(targets, 1)])
    await index.apply([event(targets[2], Transition(user, LIKE, NONE, 3, 9))])
    wanted = [Entry(targets[n - 1], LIKE, n) for n in (5, 4, 2, 1)]
    assert await lists.reacted(user, None, 10) == wanted
    assert await lists.reacted(user, (4, targets[3]), 10) == wanted[2:]


async def test_events_taken_together_leave_what_they_leave_one_by_one(
    lists: CassandraLists, index: CassandraIndex
) -> None:
    random = Random(9)

    async def entries(together: bool) -> tuple[list[tuple[int, int]], list[list[tuple[int, int]]]]:
        """Of one target and its users, all the same but for their names."""
        target, users = fresh_target(), [fresh_target() for _ in range(150)]
        number = {user: n for n, user in enumerate(users)}
        events = [
            event(target, *(Transition(users[n], before, after, 10 + n, at) for n, before, after, at in step))
            for step in steps
        ]
        for batch in [events] if together else [[one] for one in events]:
            await index.apply(batch)
        who = [(number[e.key], e.reaction) for e in await lists.reactors(target, ALL, None, 1000)]
        what = [[(e.reaction, at) for e, at in await lists.newest(user, 10)] for user in users]
        return who, what

    steps = []
    for at in range(100, 140):
        chosen = random.sample(range(150), 20)
        steps.append(
            [
                (n, random.choice((None, LIKE, LOVE, NONE)), random.choice((NONE, LIKE, LOVE)), at)
                for n in chosen
            ]
        )
    one_by_one = await entries(together=False)
    assert await entries(together=True) == one_by_one
    assert len(one_by_one[0]) > 64, "more of one partition than are written together"


async def test_the_newest_of_a_user_come_with_the_time_of_their_last_change(
    lists: CassandraLists, index: CassandraIndex
) -> None:
    user, targets = fresh_target(), [fresh_target() for _ in range(4)]
    await index.apply([event(t, Transition(user, NONE, LIKE, n, n)) for n, t in enumerate(targets, 1)])
    await index.apply(
        [
            event(targets[0], Transition(user, LIKE, LOVE, 1, 9)),
            event(targets[3], Transition(user, LIKE, NONE, 4, 9)),
        ]
    )
    wanted = [
        (Entry(targets[2], LIKE, 3), 3),
        (Entry(targets[1], LIKE, 2), 2),
        (Entry(targets[0], LOVE, 1), 9),
    ]
    assert await lists.newest(user, 10) == wanted
    assert await lists.newest(user, 2) == wanted[:2]
    assert await lists.newest(fresh_target(), 2) == []


async def test_states_in_the_ledger_say_where_there_is_no_row(
    session: Session, lists: CassandraLists
) -> None:
    here, nowhere = fresh_target(), fresh_target()
    rows = {"ann": Row(LIKE, 4, 5, b"x" * 14), "bob": Row(NONE, 4, 6, b"")}
    header = Header(seq=1, type="post", counts=(1,), rows=2, last_at=6, born=4)
    async with CassandraCells(session) as cells:
        assert await cells.propose(CellKey(here), Proposal(0, header, rows))
    assert await lists.states("ann", [here, nowhere]) == {here: State(LIKE, 5), nowhere: NOTHING}
    assert await lists.states("bob", [here]) == {here: State(NONE, 6)}
    assert await lists.states("eve", [here, here]) == {here: NOTHING}


async def test_totals_come_from_the_ledger(session: Session, lists: CassandraLists) -> None:
    one, two, none = (fresh_target() for _ in range(3))
    header = Header(seq=1, type="post", counts=(1,), rows=2, last_at=5, born=4)
    rows = {"ann": Row(LIKE, 4, 5, b"x" * 14), "bob": Row(NONE, 4, 5, b"")}
    registration = Registration(type="post", owner="olga")
    async with CassandraCells(session) as cells:
        assert await cells.propose(CellKey(one), Proposal(0, header, rows))
        assert await cells.propose(CellKey(two), Proposal(0, header, {}, registration))
    assert await lists.targets([one, none, two]) == {one: Target(header), two: Target(header, registration)}
    assert await lists.targets([]) == {}
    assert await lists.states("ann", []) == {}


def lane_event(target: str, *transitions: Transition) -> Committed:
    """An event of a lane; all lanes share the list buckets of their users."""
    return Committed(target, 7, "post", 64, "tap", 1, (), 0, 0, (), transitions)


async def test_reactors_of_a_split_target_are_those_of_root_and_lanes_newest_first(
    lists: CassandraLists,
    index: CassandraIndex,
) -> None:
    target = fresh_target()
    await index.apply([event(target, *(Transition(f"r{n}", NONE, LIKE, n + 1, n + 1) for n in range(20)))])
    new = [Transition(f"l{n}", NONE, LOVE, 100 + n, 100 + n) for n in range(20)]
    await index.apply([lane_event(target, *new)])
    wanted = [f"l{n}" for n in reversed(range(20))] + [f"r{n}" for n in reversed(range(20))]
    found: list[str] = []
    before = None
    while page := await lists.reactors(target, ALL, before, 7, split=True):
        found += [entry.key for entry in page]
        before = page[-1].created_at, page[-1].key
    assert found == wanted
    assert [e.key for e in await lists.reactors(target, [LIKE], None, 2, split=True)] == ["r19", "r18"]


@pytest.mark.parametrize("alike", [0.0, 0.5, 0.9, 1.0])
async def test_pages_of_a_split_target_leave_nobody_out_however_uneven_its_lists_are(
    lists: CassandraLists, index: CassandraIndex, alike: float
) -> None:
    """`alike`: how many of a hundred are in one and the same of its lists, in runs that are longer than a page."""
    target, random = fresh_target(), Random(alike)
    same = [name for name in (f"s{n}" for n in range(2000)) if crc32(name.encode()) % LIST_BUCKETS == 3]
    who = [same[at] if random.random() < alike else f"o{at}" for at in range(100)]
    moved = [
        Transition(one, NONE, LOVE if one.startswith("o") and at % 2 else LIKE, at, at)
        for at, one in enumerate(who)
    ]
    await index.apply([lane_event(target, *moved)])
    for limit in 1, 2, 7, 21, 101:
        found: list[str] = []
        before = None
        while page := await lists.reactors(target, ALL, before, limit, split=True):
            assert len(page) == min(limit, len(who) - len(found))
            found += [entry.key for entry in page]
            before = page[-1].created_at, page[-1].key
        assert found == who[::-1]


@pytest.mark.parametrize("before", [LIKE, None])
@pytest.mark.parametrize("after", [NONE, LOVE, LIKE])
async def test_who_taps_in_a_lane_leaves_the_list_of_the_root(
    lists: CassandraLists, index: CassandraIndex, before: int | None, after: int
) -> None:
    """In any order: the root's events may come after those of the lane."""
    for order in (0, 1):
        target, user = fresh_target(), fresh_target()
        events = [
            event(target, Transition(user, NONE, LIKE, 5, 5)),
            lane_event(target, Transition(user, before, after, 5, 9)),
        ]
        for each in events[::-1] if order else events:
            await index.apply([each])
        assert await lists.reactors(target, ALL, None, 9) == [], "nothing in the list of the root"
        found = await lists.reactors(target, ALL, None, 9, split=True)
        assert found == ([Entry(user, after, 5)] if after else [])
