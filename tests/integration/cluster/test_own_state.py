"""Own state over a real Cassandra and a real Redis Cluster: what it costs, that it is exact, and what it says when a
part is away."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from plaudit.adapters.cassandra import CassandraCells, CassandraIndex, CassandraLists
from plaudit.adapters.cassandra import Session as CassandraSession
from plaudit.adapters.redis import RedisConfig, RedisIndexed, RedisMine
from plaudit.adapters.redis import Session as RedisSession
from plaudit.adapters.redis.mine import HOUR_S
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Header, Row, Transition
from plaudit.domain.errors import Unavailable
from plaudit.domain.events import Cause, Committed
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.own import Change, State
from plaudit.services.index import IndexReactions
from plaudit.services.near import NearCache
from plaudit.services.own_state import NEWEST, Own
from plaudit.services.probed import FAILURES
from tests.engines.cassandra import Cassandra
from tests.engines.redis import Redis
from tests.support.cassandra import fresh_target, open_session
from tests.support.clock import ManualClock
from tests.support.redis import open_session as open_redis
from tests.support.taps import HAHA, LIKE, LOVE, NONE
from tests.support.wait import turns

pytestmark = pytest.mark.timeout(300)

PARTITIONS = 4
REACTED = 8000


class Calls:
    """Counts requests to stores; how many were under way at most; and stages: calls that waited for one before."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()
        self.stages = 0
        self.most = 0
        self._under_way: Counter[bool] = Counter()

    def requests(self, store: Any, **kinds: str) -> None:
        """Each call of these methods is a request to the store of that name."""
        for method, kind in kinds.items():
            setattr(store, method, self._counted(getattr(store, method), kind))

    def stage(self, store: Any, *methods: str) -> None:
        """A call of one of these is a stage, unless another call is under way: all of its requests are made at once, or
        as many at once as there may be."""
        for method in methods:
            setattr(store, method, self._counted(getattr(store, method), None))

    def _counted(self, method: Any, kind: str | None) -> Any:
        whole = kind is None

        async def call(*arguments: Any) -> Any:
            if kind is not None:
                self.of[kind] += 1
            elif not self._under_way[whole]:
                self.stages += 1
            self._under_way[whole] += 1
            if not whole:
                self.most = max(self.most, self._under_way[whole])
            try:
                return await method(*arguments)
            finally:
                self._under_way[whole] -= 1

        return call

    def take(self) -> tuple[dict[str, int], int]:
        """Requests by store, and stages, since the last time."""
        found = dict(self.of), self.stages
        self.of.clear()
        self.stages = self.most = 0
        return found


@dataclass
class Parts:
    """Everything that own state is made of; the lists are as far as the log."""

    cassandra: CassandraSession
    redis: RedisSession
    lists: CassandraLists
    index: CassandraIndex
    cells: CassandraCells
    states: RedisMine
    indexed: RedisIndexed
    indexer: IndexReactions
    near: NearCache
    own: Own
    clock: ManualClock
    calls: Calls

    async def commit(self, target: str, *rows: tuple[str, int, int], born: int = 0) -> None:
        """A target with these rows (user, reaction, created_at)."""
        stored = {user: Row(reaction, at, at, b"x" * 14) for user, reaction, at in rows}
        born = min([at for _, _, at in rows] + ([born] if born else []))
        header = Header(1, "post", (1,), max(1, len(rows)), 0, born)
        assert await self.cells.propose(CellKey(target), Proposal(0, header, stored))

    async def caught_up(self) -> None:
        """The indexer says that it has read everything."""
        await self.indexed.reach(dict.fromkeys(range(PARTITIONS), self.clock.now_us()))


@pytest.fixture
async def parts(cassandra: Cassandra, redis: Redis, anyio_backend: str) -> AsyncIterator[Parts]:
    clock, calls = ManualClock(), Calls()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_session(cassandra))
        session = await stack.enter_async_context(open_redis(redis))
        cells = await stack.enter_async_context(CassandraCells(store))
        lists = await stack.enter_async_context(CassandraLists(store))
        index = await stack.enter_async_context(CassandraIndex(store))
        calls.requests(store, read="cassandra")
        calls.requests(session, run="redis", hmget="redis")
        calls.stage(session, "run", "hmget")
        calls.stage(lists, "newest", "states", "targets", "reacted")
        states, indexed = RedisMine(session, clock), RedisIndexed(session, PARTITIONS)
        near = NearCache(lists, Catalogue(), entries=1000, public=True)
        own = await stack.enter_async_context(Own(states, indexed, lists, near, clock))
        indexer = IndexReactions(index, states, indexed, clock)
        found = Parts(store, session, lists, index, cells, states, indexed, indexer, near, own, clock, calls)
        await found.caught_up()
        yield found


def event(target: str, *transitions: Transition, cause: Cause = "tap") -> Committed:
    return Committed(target, 0, "post", 1, cause, 1, (), 0, 0, (), transitions)


async def busy_user(parts: Parts) -> tuple[str, list[str], int]:
    """A user who reacted to 8,000 targets, the newest last; and when the oldest of the newest 256 was."""
    user = fresh_target()
    targets = [fresh_target() for _ in range(REACTED)]
    start = parts.clock.now_us() - REACTED
    await parts.index.apply(
        event(target, Transition(user, NONE, LIKE, start + n, start + n)) for n, target in enumerate(targets)
    )
    return user, targets, start + REACTED - NEWEST


async def a_feed(parts: Parts, user: str, targets: Sequence[str], since: int, size: int) -> dict[str, int]:
    """`size` targets, a fifth each: reacted to lately, long ago; not reacted to though old, and being new; and without
    any row. Returns what is true of them."""
    fifth = size // 5
    late, old = targets[-size:][:fifth], targets[10 * size :][:fifth]
    quiet, new, empty = ([fresh_target() for _ in range(fifth)] for _ in range(3))
    for target in [*late, *old]:
        at = since + 10 if target in late else since - 1000
        await parts.commit(target, (user, LIKE, at), born=at - 5)
    for target in quiet:
        await parts.commit(target, ("somebody", LIKE, since - 1))
    for target in new:
        await parts.commit(target, ("somebody", LIKE, since + 1))
    feed = [*late, *old, *quiet, *new, *empty]
    Random(1).shuffle(feed)
    await parts.near.load(feed)  # a feed reads them beside own state
    return {target: LIKE if target in late or target in old else NONE for target in feed}


async def test_stages_do_not_depend_on_the_targets_and_reads_only_on_the_old_ones(parts: Parts) -> None:
    user, targets, since = await busy_user(parts)
    for size in (10, 100):
        await parts.states.forget([user])
        true = await a_feed(parts, user, targets, since, size)
        feed, old = list(true), 2 * size // 5
        wanted = {target: code for target, code in true.items() if code}
        parts.clock.advance(2)  # so that it is asked how far the lists are
        parts.calls.take()

        assert await parts.own.mine(user, feed) == wanted
        # Recall, how far the lists are, begin, the newest 256, finish, and what is older from the ledger.
        assert parts.calls.take() == ({"redis": 4, "cassandra": 1 + old}, 6)
        await parts.own.told()
        parts.calls.take()

        assert await parts.own.mine(user, feed) == wanted
        assert parts.calls.take() == ({"redis": 1}, 1), "what the ledger said is kept"

        older = targets[2000 + size :][:size]
        for target in older:
            await parts.commit(target, (user, HAHA, since - 1000))
        await parts.near.load(older)
        parts.calls.take()
        assert await parts.own.mine(user, older) == dict.fromkeys(older, HAHA)
        assert parts.calls.most <= 64
        assert parts.calls.take() == ({"redis": 1, "cassandra": size}, 2)
        await parts.own.told()


async def test_a_user_with_few_reactions_is_known_whole(parts: Parts) -> None:
    user, one, two = fresh_target(), fresh_target(), fresh_target()
    await parts.index.apply([event(one, Transition(user, NONE, LOVE, 5, 5))])
    await parts.commit(two, ("somebody", LIKE, 1))
    assert await parts.own.mine(user, [one, two]) == {one: LOVE}
    parts.calls.take()
    assert await parts.own.mine(user, [two, one, fresh_target()]) == {one: LOVE}
    assert parts.calls.take() == ({"redis": 1}, 1)
    assert await parts.own.mine(user, []) == {}
    assert [entry.key for entry in await parts.own.reacted(user, None, 10)] == [one]


async def test_who_asks_at_once_loads_once(parts: Parts) -> None:
    user, target = fresh_target(), fresh_target()
    await parts.index.apply([event(target, Transition(user, NONE, LOVE, 5, 5))])
    parts.calls.take()
    found = await asyncio.gather(*(parts.own.mine(user, [target, "other"]) for _ in range(50)))
    assert all(each == {target: LOVE} for each in found)
    assert parts.calls.of["cassandra"] == 1


async def test_while_the_lists_are_behind_silence_means_nothing(parts: Parts) -> None:
    user, target = fresh_target(), fresh_target()
    await parts.commit(target, (user, HAHA, parts.clock.now_us()))  # and no event of it came yet
    parts.clock.advance(601)
    for _ in range(2):
        assert await parts.own.mine(user, [target]) == {target: HAHA}
    await parts.redis.run([["UNLINK", RedisIndexed.KEY]])
    parts.clock.advance(2)
    assert await parts.own.mine(user, [target]) == {target: HAHA}
    assert (await parts.states.recall(user, [target])).since is None


async def test_128_taps_of_a_commit_are_told_in_few_round_trips(parts: Parts) -> None:
    target, at = fresh_target(), parts.clock.now_us()
    users = [fresh_target() for _ in range(128)]
    parts.calls.take()
    for user in users:
        parts.own.wrote(user, target, LIKE, at)
        parts.own.wrote(user, target, NONE, at + 2)
        parts.own.wrote(user, target, LOVE, at + 1)  # told late
    assert await parts.own.told()
    assert parts.calls.take()[0] == {"redis": 1}
    for user in users[::40]:
        assert (await parts.states.recall(user, [target])).states == {target: State(NONE, at + 2)}


async def test_a_tap_is_seen_before_it_is_indexed(parts: Parts) -> None:
    user, target = fresh_target(), fresh_target()
    assert await parts.own.mine(user, [target]) == {}
    parts.own.wrote(user, target, LIKE, parts.clock.now_us())
    await parts.own.told()
    assert await parts.own.mine(user, [target]) == {target: LIKE}
    parts.clock.advance(HOUR_S)  # and it is loaded again, from lists that do not have it
    await parts.caught_up()
    parts.own.wrote(user, target, LOVE, parts.clock.now_us())
    await parts.own.told()
    assert await parts.own.mine(user, [target, "other"]) == {target: LOVE}


async def test_loaders_taps_and_the_indexer_at_once_agree_in_the_end(parts: Parts) -> None:
    """30 users change their minds on 20 targets; half of the taps are not told by the API; events come twice, in any
    order, while all of them are being loaded."""
    random, start = Random(4), parts.clock.now_us()
    users, targets = [fresh_target() for _ in range(30)], [fresh_target() for _ in range(20)]
    events: list[Committed] = []
    true: dict[str, dict[str, int]] = {user: {} for user in users}
    for n, user in enumerate(users):
        for target in random.sample(targets, 12):
            created_at = before = 0
            for step in range(random.randint(1, 4)):
                at = start + 100 * step + n
                created_at = created_at or at
                after = random.choice([code for code in (NONE, LIKE, LOVE, HAHA) if code != before])
                events.append(event(target, Transition(user, before, after, created_at, at)))
                before = after
            true[user][target] = before
    told = events * 2
    random.shuffle(told)

    async def index() -> None:
        for n in range(0, len(told), 60):
            await parts.indexer.handle(told[n : n + 60])

    async def read() -> None:
        for _ in range(15):
            await asyncio.gather(*(parts.own.mine(user, targets) for user in users))

    for each in events[::2]:
        [t] = each.transitions
        parts.own.wrote(t.user, each.target, t.after, t.at)
    await asyncio.gather(index(), read())
    await parts.own.told()
    parts.calls.take()
    for user in users:
        assert await parts.own.mine(user, targets) == {t: code for t, code in true[user].items() if code}
    assert parts.calls.take()[0] == {"redis": len(users)}, "all of them were loaded meanwhile"


async def test_the_indexer_begins_nothing_and_erasure_and_import_end_it(parts: Parts) -> None:
    user, target = fresh_target(), fresh_target()
    await parts.indexer.handle([event(target, Transition(user, NONE, LIKE, 5, 5))])
    assert (await parts.states.recall(user, [target])).states == {}
    endings: list[tuple[Cause, int]] = [("import", HAHA), ("erase", NONE)]
    for cause, after in endings:
        await parts.states.note([Change(user, target, State(LIKE, 6))], create=True)
        await parts.indexer.handle([event(target, Transition(user, None, after, 5, 7), cause=cause)])
        assert (await parts.states.recall(user, [target])).states == {}
    assert await parts.own.mine(user, [target]) == {}


async def test_how_far_the_log_was_read_is_published_once_a_second(parts: Parts) -> None:
    await parts.indexed.forget()
    now = parts.clock.now_us()
    await parts.indexer.reached({0: now, 1: now})
    await parts.indexer.reached({1: now + 5, 2: now, 3: now + 9})
    assert await parts.indexed.reached() is None
    parts.clock.advance(1)
    await parts.indexer.reached({0: now + 1})
    assert await parts.indexed.reached() == now


async def test_a_redis_that_hangs_is_waited_for_by_the_first_few_and_then_by_nobody(
    parts: Parts, redis: Redis
) -> None:
    user, target = fresh_target(), fresh_target()
    await parts.index.apply([event(target, Transition(user, NONE, LOVE, 5, 5))])

    async def left_out() -> None:
        with pytest.raises(Unavailable):
            await own.mine(user, [target])

    async def told() -> dict[str, int]:
        deadline = time.monotonic() + 60
        while True:
            try:
                return await own.mine(user, [target])
            except Unavailable:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)

    async with Own(
        *(parts.states, parts.indexed, parts.lists, parts.near, parts.clock), probe_every_s=0.05
    ) as own:
        assert await own.mine(user, [target]) == {target: LOVE}
        for node in redis.nodes:
            node.freeze()
        try:
            for _ in range(FAILURES):
                began_s = time.monotonic()
                await left_out()
                assert time.monotonic() - began_s > 0.4, "these wait for the driver's patience"
            assert own.away
            parts.calls.take()
            assert max([await turns(left_out()) for _ in range(100)]) < 20
            assert parts.calls.take()[0].get("redis", 0) <= 3, "only probes ask"
        finally:
            for node in redis.nodes:
                node.thaw()
            redis.wait()
        assert await told() == {target: LOVE}
        assert not own.away


async def test_without_redis_own_state_is_not_said_to_be_none(parts: Parts) -> None:
    async with RedisSession(RedisConfig(["127.0.0.1:1"])) as nobody:
        states, indexed = RedisMine(nobody, parts.clock), RedisIndexed(nobody, PARTITIONS)
        async with Own(states, indexed, parts.lists, parts.near, parts.clock) as own:
            with pytest.raises(Unavailable):
                await own.mine("ann", ["t1"])
            own.wrote("ann", "t1", LIKE, 5)  # says nothing, waits for nothing
            indexer = IndexReactions(parts.index, states, indexed, parts.clock)
            with pytest.raises(Unavailable):
                await indexer.handle([event(fresh_target(), Transition("ann", NONE, LIKE, 5, 5))])
            await indexer.reached({0: 1})
