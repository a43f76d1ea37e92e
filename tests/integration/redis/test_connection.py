"""The connection to Redis Cluster: what survives a dead master, forgotten scripts, a wrong password."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import glide
import pytest

from plaudit.adapters.redis import RedisConfig, RedisTotals, Session
from plaudit.adapters.redis.errors import failed
from plaudit.adapters.redis.packed import VERSION
from plaudit.adapters.redis.totals import key
from plaudit.domain.errors import Unavailable
from plaudit.ports.ledger import Target
from tests.engines.redis import Redis
from tests.support.redis import Watched, config, event, fresh_target, master_of, open_session, state

T = TypeVar("T")

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def session(redis: Redis, anyio_backend: str) -> AsyncIterator[Session]:
    async with open_session(redis) as opened:
        yield opened


def on_all(redis: Redis, *command: str) -> None:
    """Ask every master."""
    for node in range(len(redis.ports)):
        if "role:master" in redis.ask(node, "INFO", "replication"):
            redis.ask(node, *command)


async def answered(ask: Callable[[], Awaitable[T]], within_s: float = 60.0) -> T:
    """The first answer that is not `Unavailable`."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return await ask()
        except Unavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


def every_error() -> list[type[Exception]]:
    exported = vars(glide).values()
    return [kind for kind in exported if isinstance(kind, type) and issubclass(kind, glide.GlideError)]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.__name__)
async def test_every_error_of_the_driver_is_unavailable(error: type[Exception]) -> None:
    class Client:
        async def mget(self, keys: list[str]) -> list[bytes | None]:
            raise error("no")

        info = exec = mget

    assert isinstance(failed(error("no")), Unavailable)
    session = Session(RedisConfig(["127.0.0.1:1"]))
    session._client = Client()
    with pytest.raises(Unavailable):
        await session.mget(["a"])


async def test_entries_last_but_for_those_that_say_nothing_is_there(redis: Redis, session: Session) -> None:
    totals = RedisTotals(session)
    a, b = fresh_target(), fresh_target()
    began_s = time.monotonic()
    await totals.put({a: state(1), b: Target()})

    def ttl(target: str) -> int:
        return int(redis.ask(master_of(redis, key(target)), "TTL", key(target)))

    assert ttl(a) == -1
    left_s = ttl(b)
    assert 59 - (time.monotonic() - began_s) <= left_s <= 60
    await totals.apply([event(b, state(1))])
    assert ttl(b) == -1


async def test_what_is_kept_beside_a_target_is_in_its_slot(redis: Redis) -> None:
    target = fresh_target()
    slots = {
        redis.ask(0, "CLUSTER", "KEYSLOT", name) for name in (key(target), f"cells:{{{target}}}", target)
    }
    assert len(slots) == 1


async def test_forgotten_scripts_are_told_again(redis: Redis, session: Session) -> None:
    totals = RedisTotals(session)
    targets = [fresh_target() for _ in range(50)]
    for seq in (1, 2):
        on_all(redis, "SCRIPT", "FLUSH")
        await totals.apply([event(target, state(seq)) for target in targets])
    assert await totals.get(targets) == {target: state(2) for target in targets}


async def test_a_flushed_redis_takes_what_it_is_told_anew(redis: Redis, session: Session) -> None:
    totals = RedisTotals(session)
    targets = [fresh_target() for _ in range(50)]
    await totals.apply([event(target, state(9)) for target in targets])
    on_all(redis, "FLUSHALL")
    assert await totals.get(targets) == {}
    await totals.put({target: state(8) for target in targets})
    assert await totals.get(targets) == {target: state(8) for target in targets}


async def test_what_cannot_be_read_is_not_known(redis: Redis, session: Session) -> None:
    totals = RedisTotals(session)
    a, b, c = (fresh_target() for _ in range(3))
    await session.run([["SET", key(a), bytes([VERSION + 1]) + bytes(8)], ["SET", key(b), b"??"]])
    await totals.put({c: state(1)})
    assert await totals.get([a, b, c]) == {c: state(1)}
    await totals.put({a: state(1), b: state(1)})
    assert await totals.get([a, b, c]) == {a: state(1), b: state(1), c: state(1)}


async def test_who_waits_does_not_hold_the_loop_up(redis: Redis) -> None:
    """A node that does not answer, and a client made while it does not."""
    longest_s = float("inf")
    for _ in range(3):  # a machine may stall, but not each time
        longest_s = min(longest_s, await longest_turn(redis))
        if longest_s < 0.4:
            break
    else:
        pytest.fail("a client that connects while it is made would hold the loop for its time-out")


async def longest_turn(redis: Redis) -> float:
    """For how long the loop was held at most, while somebody waited for a node that does not answer."""
    node = master_of(redis, key("held"))
    longest = 0.0

    async def ticks() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            longest = max(longest, time.perf_counter() - before)

    redis.nodes[node].freeze()
    ticking = asyncio.create_task(ticks())
    try:
        async with Session(RedisConfig([f"127.0.0.1:{redis.ports[node]}"])) as session:
            with pytest.raises(Unavailable):
                await RedisTotals(session).get(["held"])
    finally:
        ticking.cancel()
        redis.nodes[node].thaw()
        redis.wait()
    return longest


async def test_a_redis_that_is_away_at_the_start_is_found_later(redis: Redis) -> None:
    for node in redis.nodes:
        node.kill()
    try:
        async with Session(config(redis)) as session:
            with pytest.raises(Unavailable):
                await session.mget(["a"])
            redis.start()
            assert await answered(lambda: session.mget(["a"])) == [None]
    finally:
        redis.start()


async def test_a_dead_master_costs_its_keys_a_moment_and_the_epoch_changes(redis: Redis) -> None:
    target = fresh_target()
    node = master_of(redis, key(target))
    async with Session(config(redis)) as session:
        totals = RedisTotals(session)
        await totals.apply([event(target, state(1))])
        before = await session.epoch()
        assert await session.epoch() == before
        redis.nodes[node].kill()
        try:
            await answered(lambda: totals.apply([event(target, state(2))]))
            assert await answered(lambda: totals.get([target])) == {target: state(2)}
            after = await answered(session.epoch)
            assert after != before
        finally:
            redis.nodes[node].start()
            redis.wait()
        assert await answered(session.epoch) == after, "a replica more is no new history"


async def test_a_name_and_a_password(redis: Redis) -> None:
    for node in range(len(redis.ports)):
        redis.ask(node, "ACL", "SETUSER", "plaudit", "on", ">s3cret", "~*", "+@all")
    try:
        nodes = config(redis).nodes
        async with Session(RedisConfig(nodes, "plaudit", "s3cret")) as session:
            await Watched(session).connected()
            assert await session.mget(["a"]) == [None]
        async with Session(RedisConfig(nodes, "plaudit", "wrong")) as session:
            with pytest.raises(Unavailable):
                await session.mget(["a"])
    finally:
        for node in range(len(redis.ports)):
            redis.ask(node, "ACL", "DELUSER", "plaudit")
