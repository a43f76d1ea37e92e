"""What `plaudit.ports.lists` promises: totals, own state, reactors and reacted."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from plaudit.domain.catalogue import Registration
from plaudit.ports.lists import Entry
from plaudit.ports.removals import Job
from tests.support.clock import ManualClock
from tests.support.stores import Stores
from tests.support.taps import ALL, HAHA, LIKE, LOVE, NONE, SAD, WOW, cell, set_to, toggle

PROFILES = ("sqlite", "cassandra")
# What lists that trail the ledger cannot promise, and what the cluster profile does not do yet.
embedded_only = pytest.mark.parametrize("stores", ["sqlite"], indirect=True)


Page = Callable[[tuple[int, str] | None, int], Awaitable[list[Entry]]]


async def walk(page: Page, limit: int) -> list[Entry]:
    """All pages, each asked for after the last line of the one before."""
    found: list[Entry] = []
    while lines := await page((found[-1].created_at, found[-1].key) if found else None, limit):
        assert len(lines) <= limit
        found += lines
    return found


def reactors(stores: Stores, target: str, *codes: int) -> Page:
    return lambda before, limit: stores.reactors.reactors(target, codes or ALL, before, limit)


def reacted(stores: Stores, user: str) -> Page:
    return lambda before, limit: stores.own.reacted(user, before, limit)


async def purge_begun(stores: Stores, target: str) -> None:
    job = Job(id=f"j-{target}", kind="delete_target", subject=target, state="running", created_at=1)
    await stores.removals.begin_purge(target, job)
    await stores.settle()


async def test_targets_nobody_touched_are_not_there(stores: Stores) -> None:
    await stores.tap("t", toggle("ann"))
    found = await stores.counters.targets(["nobody", "t", "T", "t2"])
    assert list(found) == ["t"]
    assert await stores.counters.targets([]) == {}


async def test_targets_have_header_and_registration(stores: Stores) -> None:
    registration = Registration(type="comment", owner="olga", title="Hello", closed=True, allowed=6)
    await stores.tap("tapped", toggle("ann"))
    await stores.directory.register("registered", registration)
    found = await stores.counters.targets(["tapped", "registered"])
    assert found["tapped"].registration is None
    assert found["registered"].registration == registration
    assert (header := found["registered"].header) is not None
    assert (header.seq, header.total, header.type) == (1, 0, "comment")


@pytest.mark.parametrize("count", [1, 2, 3, 100, 1000])
async def test_any_number_of_targets_is_found(stores: Stores, count: int) -> None:
    names = [f"t{n}" for n in range(count)]
    for start in range(0, count, 200):
        await stores.ledger.commit([cell(t, toggle("ann", LOVE)) for t in names[start : start + 200]])
    await stores.settle()
    found = await stores.counters.targets([*names, "unknown", names[0]])
    assert sorted(found) == sorted(names)
    assert all(target.header is not None and target.header.total == 1 for target in found.values())
    assert await stores.own.mine("ann", [*names, "unknown", names[0]]) == dict.fromkeys(names, LOVE)


async def test_mine_has_only_this_users_reactions_on_these_targets(stores: Stores) -> None:
    await stores.ledger.commit(
        [
            cell("a", toggle("ann", LIKE), toggle("bob", LOVE)),
            cell("b", toggle("bob", LOVE)),
            cell("c", toggle("ann", HAHA), toggle("ann", HAHA)),
            cell("d", toggle("ann", SAD)),
        ]
    )
    await stores.settle()
    assert await stores.own.mine("ann", ["a", "b", "c"]) == {"a": LIKE}
    assert await stores.own.mine("ann", []) == {}
    assert await stores.own.mine("nobody", ["a"]) == {}


@embedded_only
async def test_nothing_is_shown_of_a_target_that_is_being_deleted(stores: Stores) -> None:
    await stores.tap("t", toggle("ann", LIKE))
    await stores.tap("u", toggle("ann", LIKE))
    await purge_begun(stores, "t")
    assert await stores.own.mine("ann", ["t", "u"]) == {"u": LIKE}
    assert [e.key for e in await stores.own.reacted("ann", None, 10)] == ["u"]
    assert await stores.reactors.reactors("t", ALL, None, 10) == []


async def test_reacted_is_newest_first_with_the_time_of_the_first_reaction(
    stores: Stores, clock: ManualClock
) -> None:
    start = clock.now_us()
    for target in ("b", "c", "a"):
        await stores.tap(target, toggle("ann", LIKE))
        clock.advance(1)
    await stores.tap("b", set_to("ann", WOW))
    await stores.tap("c", toggle("ann", LIKE))
    await stores.tap("c", toggle("ann", LOVE))
    assert await stores.own.reacted("ann", None, 10) == [
        Entry("a", LIKE, start + 2_000_000),
        Entry("c", LOVE, start + 1_000_000),
        Entry("b", WOW, start),
    ]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 12, 100])
async def test_reacted_pages_have_no_gap_and_no_repeat_though_times_are_equal(
    stores: Stores, clock: ManualClock, limit: int
) -> None:
    waves = [["m", "b", "z", "a"], ["t1", "t10", "t9", "T"], ["q"], ["y", "x", "w"]]
    expected: list[tuple[int, str]] = []
    for wave in waves:
        await stores.ledger.commit([cell(t, toggle("ann", LIKE), toggle(f"of-{t}")) for t in wave])
        expected += [(clock.now_us(), t) for t in wave]
        clock.advance(0.001)
    await stores.settle()
    found = await walk(reacted(stores, "ann"), limit)
    assert [(e.created_at, e.key) for e in found] == sorted(expected, reverse=True)


async def test_reacted_goes_on_after_a_place_that_is_no_longer_there(stores: Stores) -> None:
    await stores.ledger.commit([cell(f"t{n}", toggle("ann")) for n in range(6)])
    await stores.settle()
    first = await stores.own.reacted("ann", None, 3)
    await stores.tap(first[-1].key, toggle("ann"))
    rest = await stores.own.reacted("ann", (first[-1].created_at, first[-1].key), 10)
    assert [e.key for e in [*first, *rest]] == ["t5", "t4", "t3", "t2", "t1", "t0"]


@pytest.mark.parametrize("limit", [1, 4])
async def test_reacted_passes_over_more_removed_reactions_than_fit_on_a_page(
    stores: Stores, clock: ManualClock, limit: int
) -> None:
    await stores.tap("oldest", toggle("ann", SAD))
    for n in range(20):
        clock.advance(1)
        await stores.tap(f"t{n:02}", *[toggle("ann")] * 1, *([toggle("ann")] if n % 10 else []))
    found = await walk(reacted(stores, "ann"), limit)
    assert [e.key for e in found] == ["t10", "t00", "oldest"]


@pytest.mark.parametrize("limit", [1, 4])
async def test_reactors_pass_over_more_removed_reactions_than_fit_on_a_page(
    stores: Stores, limit: int
) -> None:
    await stores.tap("t", toggle("first", SAD), *(toggle(f"u{n}") for n in range(30)))
    await stores.tap("t", *(toggle(f"u{n}") for n in range(30) if n != 15))
    found = await walk(reactors(stores, "t"), limit)
    assert [(e.key, e.reaction) for e in found] == [("u15", LIKE), ("first", SAD)]


@pytest.mark.parametrize("limit", [1, 2, 5, 40, 1000])
async def test_reactors_are_newest_first_over_all_asked_reactions(stores: Stores, limit: int) -> None:
    taps = [toggle(f"u{n}", ALL[n * 7 % 6]) for n in range(40)]
    await stores.tap("t", *taps)
    await stores.tap("other", toggle("bob", LIKE))
    newest_first = list(reversed(taps))
    for codes in (ALL, (LIKE,), (LOVE, ALL[4]), (WOW, LIKE, SAD)):
        found = await walk(reactors(stores, "t", *codes), limit)
        assert [(e.key, e.reaction) for e in found] == [
            (t.user, t.reaction) for t in newest_first if t.reaction in codes
        ]
        assert all(newer.created_at > older.created_at for newer, older in pairwise(found))


async def test_who_switches_keeps_their_place_among_the_reactors(stores: Stores) -> None:
    await stores.tap("t", *(toggle(f"u{n}") for n in range(5)))
    await stores.tap("t", set_to("u1", LOVE), toggle("u3"), set_to("u3", WOW))
    found = await stores.reactors.reactors("t", ALL, None, 10)
    assert [(e.key, e.reaction) for e in found] == [
        ("u4", LIKE),
        ("u3", WOW),
        ("u2", LIKE),
        ("u1", LOVE),
        ("u0", LIKE),
    ]
    assert [e.key for e in await stores.reactors.reactors("t", [LIKE], None, 10)] == ["u4", "u2", "u0"]


async def test_reactors_of_no_reaction_or_no_target_are_nobody(stores: Stores) -> None:
    await stores.tap("t", toggle("ann", LIKE), set_to("bob", NONE, "k"))
    assert await stores.reactors.reactors("t", [], None, 10) == []
    assert await stores.reactors.reactors("t", [LOVE, 15], None, 10) == []
    assert await stores.reactors.reactors("t", [NONE], None, 10) == []
    assert await stores.reactors.reactors("unknown", ALL, None, 10) == []


async def test_a_reaction_asked_for_twice_is_shown_once(stores: Stores) -> None:
    await stores.tap("t", toggle("ann", LIKE), toggle("bob", LOVE))
    assert [e.key for e in await stores.reactors.reactors("t", [LIKE, LOVE, LIKE], None, 10)] == [
        "bob",
        "ann",
    ]


async def test_a_place_past_the_end_has_nothing_after_it(stores: Stores, clock: ManualClock) -> None:
    await stores.tap("t", toggle("ann"))
    start = clock.now_us()
    for place in ((start, "ann"), (start, ""), (start - 1, "zed"), (0, ""), (-5, "x")):
        assert await stores.reactors.reactors("t", ALL, place, 10) == []
    for place in ((start, "t"), (start, "a"), (start - 1, "zzz"), (0, ""), (start, "")):
        assert await stores.own.reacted("ann", place, 10) == []


async def test_a_place_before_the_start_has_everything_after_it(stores: Stores, clock: ManualClock) -> None:
    await stores.tap("t", toggle("ann"))
    for place in ((clock.now_us() + 1, ""), (clock.now_us(), "zed"), (1 << 61, "x")):
        assert [e.key for e in await stores.reactors.reactors("t", ALL, place, 10)] == ["ann"]
        assert [e.key for e in await stores.own.reacted("ann", place, 10)] == ["t"]


@embedded_only
async def test_somebody_who_keeps_switching_is_always_seen_once(stores: Stores) -> None:
    """Reads see whole commits: no moment shows the same user under two reactions, or under none."""
    await stores.tap("t", toggle("ann", LIKE), toggle("bob", LIKE))
    done = asyncio.Event()

    async def switch() -> None:
        for n in range(300):
            await stores.ledger.commit([cell("t", set_to("ann", ALL[n % 6]))])
        done.set()

    async def look() -> None:
        while not done.is_set():
            assert [e.key for e in await stores.reactors.reactors("t", ALL, None, 10)] == ["bob", "ann"]

    await asyncio.gather(switch(), look(), look())


async def test_the_reactions_of_many_are_read_by_target_and_user(stores: Stores) -> None:
    await stores.tap("a", set_to("ann", LIKE), set_to("bob", LOVE))
    await stores.tap("b", set_to("ann", HAHA), set_to("bob", LIKE))
    await stores.tap("b", set_to("bob", NONE))
    pairs = [("a", "ann"), ("a", "bob"), ("b", "ann"), ("b", "bob"), ("a", "cid"), ("c", "ann")]
    wanted = {("a", "ann"): LIKE, ("a", "bob"): LOVE, ("b", "ann"): HAHA}
    assert await stores.reactions.reactions(pairs) == wanted
    assert await stores.reactions.reactions([*pairs, *pairs]) == wanted
    assert await stores.reactions.reactions([]) == {}


async def test_targets_are_seen_with_reactions_of_some_of_their_users(stores: Stores) -> None:
    names = [f"seen{n}" for n in range(25)]
    for n, name in enumerate(names):
        await stores.tap(name, set_to("ann", LIKE), *(set_to(f"u{n}-{m}", LOVE) for m in range(n % 4)))
    await stores.tap("seen3", set_to("ann", NONE))
    users = {name: ["ann", "nobody", *(f"u{n}-{m}" for m in range(2))] for n, name in enumerate(names)}
    targets, reactions = await stores.reactions.seen({**users, "unknown": ["ann"], "seen0": []})
    assert targets == await stores.counters.targets(names)
    pairs = [(name, user) for name in names[1:] for user in users[name]]
    assert reactions == await stores.reactions.reactions(pairs)
    assert ("seen3", "ann") not in reactions
    assert await stores.reactions.seen({}) == ({}, {})
