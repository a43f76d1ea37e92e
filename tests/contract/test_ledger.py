"""What `plaudit.ports.ledger.Ledger` promises."""

import asyncio
from collections import Counter
from random import Random

import msgspec
import pytest

from plaudit.domain import ids
from plaudit.domain.cell import Answer, Outcome, Refused, Tap
from plaudit.domain.events import Committed, decode
from plaudit.ports.directory import Profile
from plaudit.ports.removals import Job
from tests.support.clock import ManualClock
from tests.support.stores import Stores
from tests.support.taps import ALL, HAHA, LIKE, LOVE, NONE, SAD, WOW, cell, set_to, toggle

DAY_S = 24 * 60 * 60

PROFILES = ("sqlite", "cassandra")
pytestmark = pytest.mark.timeout(120)


async def events(stores: Stores) -> list[Committed]:
    return [decode(body) for _, body in await stores.log.read("test", 10_000)]


async def test_a_tap_on_a_target_never_seen_creates_it(stores: Stores, clock: ManualClock) -> None:
    result = await stores.tap("t", toggle("ann", LOVE))
    assert result.answers == [Answer(Outcome.CREATED, NONE, LOVE)]
    header = result.target.header
    assert header is not None
    assert (header.seq, header.type, header.total, header.rows) == (1, "post", 1, 1)
    assert (header.counts[LOVE - 1], header.recent) == (1, (("ann", LOVE),))
    assert header.born == header.last_at == clock.now_us()
    assert result.target.registration is None


async def test_the_result_is_what_the_counters_then_say(stores: Stores) -> None:
    for tap in (toggle("ann"), toggle("bob", LOVE), toggle("ann"), set_to("bob", WOW)):
        result = await stores.tap("t", tap)
        assert result.target == await stores.target("t")


async def test_toggle_creates_switches_and_removes(stores: Stores) -> None:
    answers = [await stores.answer("t", toggle("ann", code)) for code in (LIKE, LOVE, LOVE, SAD)]
    assert answers == [
        Answer(Outcome.CREATED, NONE, LIKE),
        Answer(Outcome.SWITCHED, LIKE, LOVE),
        Answer(Outcome.REMOVED, LOVE, NONE),
        Answer(Outcome.CREATED, NONE, SAD),
    ]
    assert await stores.counts("t") == (0, 0, 0, 0, 1)


async def test_one_answer_per_tap_and_one_result_per_cell_in_order(stores: Stores) -> None:
    targets = [f"t{n}" for n in (3, 1, 2, 9, 0)]
    work = [cell(t, toggle("ann", LIKE), toggle("bob", LOVE), toggle("ann", HAHA)) for t in targets]
    await stores.tap("t1", toggle("cid", LIKE))
    results = await stores.ledger.commit(work)
    assert len(results) == len(targets)
    for target, result in zip(targets, results, strict=True):
        assert [(a.outcome, a.previous) for a in result.answers if isinstance(a, Answer)] == [
            (Outcome.CREATED, NONE),
            (Outcome.CREATED, NONE),
            (Outcome.SWITCHED, LIKE),
        ]
        assert result.target.header is not None
        assert result.target.header.total == (3 if target == "t1" else 2)
    assert sorted(e.target for e in await events(stores)) == sorted(["t1", *targets])


async def test_no_work_is_no_commit(stores: Stores) -> None:
    assert await stores.ledger.commit([]) == []
    assert (await stores.tap("t")).answers == []
    assert await events(stores) == []


async def test_header_rows_and_event_of_a_commit_agree(stores: Stores) -> None:
    taps = [toggle(f"u{n}", ALL[n % 6]) for n in range(50)] + [toggle("u0", LIKE), toggle("u1", HAHA)]
    header = (await stores.tap("t", *taps)).target.header
    assert header is not None
    rows = await stores.reactors.reactors("t", ALL, None, 100)
    by_code = Counter(row.reaction for row in rows)
    assert header.counts == tuple(by_code[code] for code in ALL)
    [event] = [e for e in await events(stores) if e.cause == "tap"]
    assert (event.seq, event.counts, event.rows, event.recent) == (1, header.counts, 50, header.recent)
    assert {(t.user, t.after, t.created_at) for t in event.transitions} == {
        (row.key, row.reaction, row.created_at) for row in rows
    }


async def test_128_users_with_4_taps_each_ride_in_one_commit(stores: Stores) -> None:
    taps = [toggle(f"u{n}", code) for code in (LIKE, LOVE, LOVE, WOW) for n in range(128)]
    result = await stores.tap("t", *taps)
    assert len(result.answers) == 512
    assert result.target.header is not None
    assert (result.target.header.seq, result.target.header.counts[WOW - 1]) == (1, 128)
    assert len(await stores.reactors.reactors("t", [WOW], None, 1000)) == 128


async def test_seq_goes_up_by_one_with_every_commit_that_writes(stores: Stores) -> None:
    seen = []
    for tap in (toggle("ann"), set_to("ann", LIKE), toggle("bob"), set_to("cid", NONE), toggle("ann")):
        header = (await stores.tap("t", tap)).target.header
        assert header is not None
        seen.append(header.seq)
    assert seen == [1, 1, 2, 2, 3]
    assert [e.seq for e in await events(stores) if e.cause == "tap"] == [1, 2, 3]


async def test_a_refused_tap_stores_nothing(stores: Stores) -> None:
    result = await stores.tap("t", set_to("ann", 14))
    assert result.answers == [Refused("reaction_not_allowed")]
    assert result.target.header is None
    assert await stores.counters.targets(["t"]) == {}
    assert await events(stores) == []


async def test_a_repeated_operation_is_answered_and_not_repeated(stores: Stores) -> None:
    first = await stores.answer("t", toggle("ann", LIKE, "k"))
    before = await stores.target("t")
    for _ in range(3):
        assert await stores.answer("t", toggle("ann", LIKE, "k")) == msgspec.structs.replace(
            first, replayed=True
        )
    assert await stores.target("t") == before


async def test_a_repeat_in_the_same_commit_is_applied_once(stores: Stores) -> None:
    result = await stores.tap("t", *[toggle("ann", LIKE, "k")] * 4)
    assert [a.replayed for a in result.answers if isinstance(a, Answer)] == [False, True, True, True]
    assert await stores.counts("t") == (1,)


async def test_a_replay_shows_the_first_outcome_and_the_reaction_of_now(stores: Stores) -> None:
    await stores.answer("t", toggle("ann", LIKE, "k"))
    await stores.answer("t", toggle("ann", LOVE))
    assert await stores.answer("t", toggle("ann", LIKE, "k")) == Answer(
        Outcome.CREATED, NONE, LOVE, replayed=True
    )


async def test_an_unchanged_tap_with_a_key_is_remembered(stores: Stores) -> None:
    assert await stores.answer("t", set_to("ann", NONE, "k")) == Answer(Outcome.UNCHANGED, NONE, NONE)
    await stores.answer("t", toggle("ann", LOVE))
    again = await stores.answer("t", set_to("ann", NONE, "k"))
    assert again == Answer(Outcome.UNCHANGED, NONE, LOVE, replayed=True)


async def test_a_key_is_of_one_user_and_target(stores: Stores) -> None:
    for target in ("t", "other"):
        for user in ("ann", "bob"):
            assert not (await stores.answer(target, toggle(user, LIKE, "k"))).replayed
    assert await stores.counts("t") == (2,)


async def test_a_key_used_for_something_else_is_refused(stores: Stores) -> None:
    await stores.answer("t", toggle("ann", LIKE, "k"))
    for tap in (toggle("ann", LOVE, "k"), set_to("ann", LIKE, "k")):
        assert (await stores.tap("t", tap)).answers == [Refused("idempotency_key_reused")]
    assert await stores.counts("t") == (1,)


async def test_an_operation_is_remembered_over_eight_more_taps(stores: Stores) -> None:
    await stores.answer("t", toggle("ann", LIKE, "k"))
    for _ in range(8):
        await stores.answer("t", toggle("ann", LIKE))
    assert (await stores.answer("t", toggle("ann", LIKE, "k"))).replayed
    await stores.answer("t", toggle("ann", LIKE))
    assert not (await stores.answer("t", toggle("ann", LIKE, "k"))).replayed


async def test_an_operation_is_remembered_for_a_day(stores: Stores, clock: ManualClock) -> None:
    await stores.answer("t", toggle("ann", LIKE, "k"))
    clock.advance(DAY_S - 1)
    assert (await stores.answer("t", toggle("ann", LIKE, "k"))).replayed
    clock.advance(2)
    assert await stores.answer("t", toggle("ann", LIKE, "k")) == Answer(Outcome.REMOVED, LIKE, NONE)


async def test_erased_users_are_refused_in_their_places(stores: Stores) -> None:
    for user in ("eve", "ian"):
        job = Job(id=f"j-{user}", kind="erase_user", subject=user, state="running", created_at=1)
        await stores.removals.mark_erased(user, job)
    await stores.settle()
    await stores.directory.put_profile("ann", Profile(name="Ann"))
    taps = [
        toggle("eve"),
        toggle("ann"),
        toggle("ian"),
        toggle("bob"),
        toggle("eve", LOVE),
        set_to("ann", LOVE),
    ]
    result = await stores.tap("t", *taps)
    gone = Refused("user_erased")
    assert result.answers == [
        gone,
        Answer(Outcome.CREATED, NONE, LOVE),
        gone,
        Answer(Outcome.CREATED, NONE, LIKE),
        gone,
        Answer(Outcome.SWITCHED, LIKE, LOVE),
    ]
    only_erased = await stores.tap("u", toggle("eve"), toggle("ian"))
    assert only_erased.answers == [gone, gone]
    assert only_erased.target.header is None


async def test_calls_are_applied_in_the_order_they_were_made(stores: Stores) -> None:
    codes = [Random(7).choice(ALL) for _ in range(40)]
    calls = [stores.ledger.commit([cell("t", set_to("ann", code, f"k{n}"))]) for n, code in enumerate(codes)]
    results = await asyncio.gather(*calls)
    previous = [a.previous for [result] in results for a in result.answers if isinstance(a, Answer)]
    assert previous == [NONE, *codes[:-1]]


async def test_many_calls_at_once_give_the_exact_count(stores: Stores) -> None:
    async def user(n: int) -> None:
        for _ in range(3):
            await stores.ledger.commit(
                [cell("t", toggle(f"u{n}", LIKE)), cell(f"t{n % 5}", toggle(f"u{n}", LOVE))]
            )

    await asyncio.gather(*(user(n) for n in range(60)))
    await stores.settle()
    assert await stores.counts("t") == (60,)
    assert [await stores.counts(f"t{n}") for n in range(5)] == [(0, 12)] * 5


async def test_times_in_a_cell_only_grow_though_the_clock_steps_back(
    stores: Stores, clock: ManualClock
) -> None:
    start = clock.now_us()
    await stores.answer("t", toggle("ann"))
    clock.step_to(start - 3_600_000_000)
    await stores.tap("t", toggle("bob"), toggle("cid"))
    clock.step_to(start + 5)
    await stores.answer("t", toggle("dan"))
    entries = await stores.reactors.reactors("t", ALL, None, 10)
    assert [(e.key, e.created_at - start) for e in entries] == [
        ("dan", 5),
        ("cid", 2),
        ("bob", 1),
        ("ann", 0),
    ]


async def test_the_type_is_that_of_the_first_tap(stores: Stores) -> None:
    first = msgspec.structs.replace(toggle("ann"), target_type="comment")
    other = msgspec.structs.replace(toggle("bob"), target_type="post")
    await stores.answer("t", first)
    result = await stores.tap("t", other, toggle("cid"))
    assert result.answers == [Refused("target_type_mismatch"), Answer(Outcome.CREATED, NONE, LIKE)]
    assert result.target.header is not None
    assert result.target.header.type == "comment"


@pytest.mark.parametrize(
    "target", ["post:42", "a" * ids.MAX_ID_LENGTH, "~|=-_.:@9", "POST:42", "0", "null", "-1", "1.0"]
)
async def test_every_allowed_target_id_is_kept_apart(stores: Stores, target: str) -> None:
    other = "Post:42" if target == "POST:42" else target[:-1] + "x"
    await stores.tap(other, toggle("ann", LIKE))
    await stores.tap(ids.target_id(target), toggle("ann", LOVE))
    assert await stores.own.mine("ann", [target, other]) == {target: LOVE, other: LIKE}


@pytest.mark.parametrize(
    "user", ["auth0|5f", "!#$%&()*+-./:;=?@[]^_`{|}~", "Z" * ids.MAX_ID_LENGTH, "7", "true"]
)
async def test_every_allowed_user_id_is_kept_apart(stores: Stores, user: str) -> None:
    await stores.tap("t", toggle(ids.user_id(user), LOVE), toggle(user.swapcase() + "'", LIKE))
    assert await stores.own.mine(user, ["t"]) == {"t": LOVE}
    assert [e.key for e in await stores.reactors.reactors("t", [LOVE], None, 10)] == [user]


def random_tap(random: Random, users: int) -> Tap:
    user = f"u{random.randrange(users)}"
    key = f"k{random.randrange(6)}" if random.random() < 0.3 else None
    if random.random() < 0.6:
        return toggle(user, random.choice(ALL), key)
    return set_to(user, random.choice((NONE, *ALL)), key)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_tapped_counts_are_rows(stores: Stores, clock: ManualClock, seed: int) -> None:
    random = Random(seed)
    targets, users = [f"t{n}" for n in range(4)], 8
    for _ in range(60):
        clock.advance(random.random() * 3600)
        work = [
            cell(target, *(random_tap(random, users) for _ in range(random.randint(1, 10))))
            for target in random.sample(targets, random.randint(1, 4))
        ]
        shown = {}
        for one, result in zip(work, await stores.ledger.commit(work), strict=True):
            assert len(result.answers) == len(one.taps)
            for tap, answer in zip(one.taps, result.answers, strict=True):
                if isinstance(answer, Answer):
                    shown[one.target, tap.user] = answer.reaction
        await stores.settle()
        for (target, user), reaction in shown.items():
            assert (await stores.own.mine(user, [target])).get(target, NONE) == reaction
    for target in targets:
        mine = [(await stores.own.mine(f"u{n}", [target])).get(target, NONE) for n in range(users)]
        counted = Counter(code for code in mine if code)
        header = (await stores.target(target)).header
        assert header is not None
        assert {code: n for code, n in enumerate(header.counts, 1) if n} == counted
        assert all(mine[int(user[1:])] == code for user, code in header.recent)
