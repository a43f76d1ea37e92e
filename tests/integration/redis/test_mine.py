"""Own state in a real Redis Cluster: newer wins, who loads and who taps at once, bounds, and the end of keys."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import count
from random import Random

import pytest

from plaudit.adapters.redis import RedisIndexed, RedisMine
from plaudit.adapters.redis.mine import HOUR_S, KEEP, MOST, TAP_S, key
from plaudit.adapters.redis.session import Session
from plaudit.ports.own import NOTHING, Change, Recalled, State
from tests.engines.redis import Redis
from tests.support.clock import START_US, ManualClock
from tests.support.redis import open_session
from tests.support.taps import HAHA, LIKE, LOVE, NONE

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("patient_redis")]

_users = count(1)


@pytest.fixture
async def session(redis: Redis, anyio_backend: str) -> AsyncIterator[Session]:
    async with open_session(redis) as opened:
        yield opened


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def mine(session: Session, clock: ManualClock) -> RedisMine:
    return RedisMine(session, clock)


@pytest.fixture
def user() -> str:
    return f"mine-{next(_users)}"


async def tap(mine: RedisMine, user: str, target: str, reaction: int, at: int) -> None:
    await mine.note([Change(user, target, State(reaction, at))], create=True)


async def ttl_s(session: Session, user: str) -> float:
    [ms] = await session.run([["PTTL", key(user)]])
    return float(ms) / 1000


async def fields(session: Session, user: str) -> int:
    [number] = await session.run([["HLEN", key(user)]])
    return int(number)


async def test_of_two_states_the_newer_one_stays_whichever_comes_first(mine: RedisMine, user: str) -> None:
    for at, reaction in ((30, LOVE), (20, LIKE), (30, HAHA)):
        await tap(mine, user, "t1", reaction, START_US + at)
    await tap(mine, user, "t1", NONE, 999)  # fewer digits, and older
    assert await mine.recall(user, ["t1", "t2"]) == Recalled({"t1": State(LOVE, START_US + 30)}, None)


async def test_a_removal_is_kept_also_where_nothing_was(mine: RedisMine, user: str) -> None:
    await tap(mine, user, "t1", NONE, START_US + 10)
    await tap(mine, user, "t1", LIKE, START_US + 5)
    assert (await mine.recall(user, ["t1"])).states == {"t1": State(NONE, START_US + 10)}


async def test_without_a_hash_only_a_tap_begins_one(mine: RedisMine, session: Session, user: str) -> None:
    await mine.note([Change(user, "t1", State(LIKE, 5))], create=False)
    assert await fields(session, user) == 0
    await tap(mine, user, "t1", LIKE, 5)
    await mine.note([Change(user, "t2", NOTHING)], create=False)
    assert (await mine.recall(user, ["t1", "t2"])).states == {"t1": State(LIKE, 5), "t2": NOTHING}


async def test_silence_means_none_once_loaded_and_for_an_hour(
    mine: RedisMine, clock: ManualClock, user: str
) -> None:
    token = await mine.begin(user)
    assert (await mine.recall(user, ["t1"])).since is None
    assert await mine.finish(user, token, 77, {"t1": State(LIKE, 80)}) == 77
    assert await mine.recall(user, ["t1", "t2"]) == Recalled({"t1": State(LIKE, 80)}, 77)
    clock.advance(HOUR_S - 1)
    assert (await mine.recall(user, [])).since == 77
    clock.advance(1)
    assert (await mine.recall(user, [])).since is None


async def test_what_was_tapped_while_loading_is_not_undone(
    mine: RedisMine, clock: ManualClock, user: str
) -> None:
    token = await mine.begin(user)
    now = clock.now_us()
    await tap(mine, user, "gone", NONE, now)
    await tap(mine, user, "new", LOVE, now)
    listed = {"gone": State(LIKE, now - 9), "old": State(HAHA, now - 9), "new": State(LOVE, now)}
    assert await mine.finish(user, token, 0, listed) == 0
    assert await mine.recall(user, ["gone", "new", "old", "none"]) == Recalled(
        {"gone": State(NONE, now), "new": State(LOVE, now), "old": State(HAHA, now - 9)}, 0
    )


async def test_nothing_is_finished_once_the_key_was_lost(
    mine: RedisMine, session: Session, user: str
) -> None:
    token = await mine.begin(user)
    await mine.forget([user])
    assert await mine.finish(user, token, 0, {"t1": State(LIKE, 1)}) is None
    assert await fields(session, user) == 0
    await tap(mine, user, "t2", LIKE, 2)  # the key is there again, and is another one
    assert await mine.finish(user, token, 0, {"t1": State(LIKE, 1)}) is None
    assert await mine.recall(user, ["t1", "t2"]) == Recalled({"t2": State(LIKE, 2)}, None)


async def test_two_who_load_at_once_both_finish(mine: RedisMine, user: str) -> None:
    one, two = await asyncio.gather(mine.begin(user), mine.begin(user))
    assert one == two
    assert await mine.finish(user, one, 0, {"t1": State(LIKE, 1)}) == 0
    assert await mine.begin(user) == two
    assert (await mine.recall(user, ["t1"])) == Recalled({"t1": State(LIKE, 1)}, 0), "begun again too late"
    assert await mine.finish(user, two, 0, {"t1": State(LIKE, 1)}) == 0


async def test_to_load_again_lets_old_states_go_and_keeps_new_ones(
    mine: RedisMine, clock: ManualClock, user: str
) -> None:
    token = await mine.begin(user)
    await mine.finish(user, token, 0, {"old": State(LIKE, clock.now_us())})
    clock.advance(HOUR_S)
    await tap(mine, user, "new", LIKE, clock.now_us())
    clock.advance(TAP_S - 1)
    again = await mine.begin(user)
    assert again == token
    recalled = await mine.recall(user, ["old", "new"])
    assert recalled.since is None
    assert set(recalled.states) == {"new"}


async def test_taps_and_loaders_and_the_indexer_at_once_leave_the_newest(
    mine: RedisMine, clock: ManualClock, user: str
) -> None:
    """128 targets, each tapped 4 times and told of again in any order, while 8 load what the list had before."""
    random, now = Random(11), clock.now_us()
    targets = [f"t{n}" for n in range(128)]
    listed = {target: State(HAHA, now - 1000) for target in targets[::2]}
    changes = [
        Change(user, target, State(random.choice((NONE, LIKE, LOVE)), now + step))
        for target in targets
        for step in range(4)
    ]
    wanted = {change.target: change.state for change in changes}  # the last of each is the newest
    told = changes * 2
    random.shuffle(told)

    async def load() -> None:
        token = await mine.begin(user)
        assert await mine.finish(user, token, 0, listed) == 0

    await asyncio.gather(
        *(mine.note(told[n : n + 5], create=bool(n % 2)) for n in range(0, len(told), 5)),
        *(load() for _ in range(8)),
        mine.note(changes, create=True),
    )
    assert await mine.recall(user, [*targets, "other"]) == Recalled(wanted, 0)


async def test_a_hash_is_bounded_and_silence_still_means_none(
    mine: RedisMine, session: Session, clock: ManualClock, user: str
) -> None:
    token = await mine.begin(user)
    now = clock.now_us()
    assert await mine.finish(user, token, 0, {"first": State(LIKE, now)}) == 0
    last = 6 * 500
    for start in range(1, last, 500):
        block = range(start, start + 500)
        await mine.note([Change(user, f"t{n}", State(LIKE, now + n)) for n in block], create=True)
        assert await fields(session, user) <= MOST + 4
    recalled = await mine.recall(user, [f"t{n}" for n in range(last + 1)])
    assert recalled.since is not None
    kept = {int(target[1:]) for target in recalled.states}
    # What is silent was first given at `since` or before: for such a target the ledger is asked.
    assert kept == set(range(recalled.since - now + 1, last + 1))
    assert len(kept) >= KEEP


async def test_a_loader_does_not_promise_what_was_taken_out_meanwhile(
    mine: RedisMine, clock: ManualClock, user: str
) -> None:
    token = await mine.begin(user)
    now = clock.now_us()
    taps = [Change(user, f"t{n}", State(LIKE, now + n)) for n in range(MOST + 1)]
    await mine.note(taps, create=True)
    agreed = await mine.finish(user, token, 5, {})
    assert agreed is not None
    assert agreed >= now
    recalled = await mine.recall(user, [change.target for change in taps])
    assert recalled.since == agreed
    assert set(recalled.states) == {f"t{n}" for n in range(agreed - now + 1, MOST + 1)}


async def test_a_tap_leaves_a_quarter_of_an_hour_and_never_less_than_there_was(
    mine: RedisMine, session: Session, user: str
) -> None:
    began_s = time.monotonic()

    async def lasts(s: float) -> bool:
        """Whether it was given so long."""
        left_s = await ttl_s(session, user)
        return s - 1 - (time.monotonic() - began_s) < left_s <= s

    await tap(mine, user, "t1", LIKE, 1)
    assert await lasts(TAP_S)
    await mine.begin(user)
    assert await lasts(HOUR_S)
    await tap(mine, user, "t1", LIKE, 2)
    assert await lasts(HOUR_S)
    await session.run([["PEXPIRE", key(user), "60000"]])
    await mine.note([Change(user, "t1", State(LIKE, 3))], create=False)
    assert await ttl_s(session, user) <= 60
    await tap(mine, user, "t1", LIKE, 4)
    assert await lasts(TAP_S)


async def test_a_key_that_ended_while_it_was_loaded_is_not_finished(
    mine: RedisMine, session: Session, user: str
) -> None:
    token = await mine.begin(user)
    await session.run([["PEXPIRE", key(user), "0"]])
    await tap(mine, user, "t1", LIKE, 2)
    assert await mine.finish(user, token, 0, {}) is None


@pytest.mark.parametrize("value", ["x" * 18, "", "7", "+00000000000000101", "000000000000000199", "é" * 9])
async def test_a_state_that_cannot_be_read_is_taken_out_and_the_ledger_is_asked(
    mine: RedisMine, session: Session, clock: ManualClock, user: str, value: str
) -> None:
    """It is no reason to wait for the store, and silence means nothing for a target whose state is gone."""
    now = clock.now_us()
    states = {"t1": State(LIKE, now), "t2": State(LOVE, now)}
    assert await mine.finish(user, await mine.begin(user), 0, states) == 0
    await session.run([["HSET", key(user), "t1", value]])
    assert await mine.recall(user, ["t1", "t2"]) == Recalled({"t2": State(LOVE, now)}, now)
    assert await mine.recall(user, ["t1", "t2"]) == Recalled({"t2": State(LOVE, now)}, now)
    await mine.note([Change(user, "t1", State(LIKE, now))], create=False)  # as the ledger says
    assert (await mine.recall(user, ["t1", "t2"])).states == states


@pytest.mark.parametrize("mark", ["*until", "*since", "*pruned"])
async def test_a_mark_that_cannot_be_read_has_the_user_loaded_anew(
    mine: RedisMine, session: Session, clock: ManualClock, user: str, mark: str
) -> None:
    now = clock.now_us()
    assert await mine.finish(user, await mine.begin(user), 0, {"t1": State(LIKE, now)}) == 0
    await session.run([["HSET", key(user), mark, "soon"]])
    assert await mine.recall(user, ["t1", "t2"]) == Recalled({"t1": State(LIKE, now)}, None)
    assert await mine.finish(user, await mine.begin(user), 0, {}) == now
    assert await mine.recall(user, ["t1", "t2"]) == Recalled({"t1": State(LIKE, now)}, now)


async def test_what_cannot_be_read_begins_no_key_that_has_ended(
    mine: RedisMine, session: Session, user: str
) -> None:
    await mine._drop(user, None, ["t1"])
    assert await fields(session, user) == 0


async def test_many_users_are_told_together(mine: RedisMine) -> None:
    users = [f"u{next(_users)}" for _ in range(300)] + ["a{b}c", "}{", "{}"]
    await mine.note([Change(user, "t1", State(LIKE, 7)) for user in users], create=True)
    for user in (users[0], *users[-4:]):
        assert (await mine.recall(user, ["t1"])).states == {"t1": State(LIKE, 7)}
    await mine.forget(users)
    assert (await mine.recall(users[-1], ["t1"])).states == {}


async def test_what_cannot_be_read_of_a_partition_is_not_known_until_it_is_told_again(
    session: Session,
) -> None:
    indexed = RedisIndexed(session, 3)
    await indexed.reach({0: 50, 1: 40, 2: START_US})
    assert await indexed.reached() == 40
    await session.run([["HSET", RedisIndexed.KEY, "1", "x"]])
    assert await indexed.reached() is None
    await indexed.reach({1: 40})
    assert await indexed.reached() == 40
