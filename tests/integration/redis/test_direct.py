"""Values straight from the masters: where they are found, and what is left to the driver."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from plaudit.adapters.redis import Session
from plaudit.adapters.redis.direct import SLOTS, slot_of
from plaudit.domain.errors import Unavailable
from tests.engines.redis import Redis
from tests.support.redis import Watched, config, fresh_target, master_of

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def watched(redis: Redis, anyio_backend: str) -> AsyncIterator[Watched]:
    async with Session(config(redis)) as session:
        watched = Watched(session)
        await watched.connected()
        yield watched


async def stored(session: Session, many: int) -> dict[str, bytes]:
    keys = {fresh_target(): b"%d\r\n" % n * (n % 5) for n in range(many)}
    await session.run([["SET", key, value] for key, value in keys.items()])
    return keys


async def test_values_come_in_their_order_and_without_the_driver(watched: Watched) -> None:
    keys = await stored(watched.session, 1000)
    wanted = [*keys, "missing", *reversed(keys)]
    assert await watched.session.mget(wanted) == [keys.get(key) for key in wanted]
    assert watched.asked == []


async def test_the_first_reads_are_answered_by_the_driver(redis: Redis) -> None:
    async with Session(config(redis)) as session:
        keys = await stored(session, 20)
        watched = Watched(session)
        assert await session.mget(list(keys)) == list(keys.values())
        assert watched.asked == list(keys)


@pytest.mark.parametrize("key", ["a", "{a}b", "{}a", "a{", "a}b{c}d", "{a{b}c}", "ä{ö}{u}"])
def test_slots_are_those_of_redis(redis: Redis, key: str) -> None:
    assert slot_of(key.encode()) == int(redis.ask(0, "CLUSTER", "KEYSLOT", key))


async def test_what_a_master_does_not_have_is_left_to_the_driver_and_found_again(watched: Watched) -> None:
    """The slots have moved, as after a failover or when a cluster grows."""
    keys = await stored(watched.session, 100)
    wires = watched.direct._of_slot
    watched.direct._of_slot = wires[SLOTS // 2 :] + wires[: SLOTS // 2]
    assert await watched.session.mget(list(keys)) == list(keys.values())
    assert watched.asked
    await watched.connected()
    deadline = time.monotonic() + 60
    while watched.direct._of_slot != wires:
        assert time.monotonic() < deadline
        await watched.session.mget(list(keys))
        await asyncio.sleep(0.02)


async def test_lost_connections_cost_nobody_an_answer(redis: Redis, watched: Watched) -> None:
    keys = await stored(watched.session, 100)
    for node in range(len(redis.ports)):
        redis.ask(node, "CLIENT", "KILL", "TYPE", "normal")
    deadline = time.monotonic() + 60
    while True:
        try:
            assert await watched.session.mget(list(keys)) == list(keys.values())
            break
        except Unavailable:  # the driver's own were killed too
            assert time.monotonic() < deadline
    await watched.connected()
    assert await watched.session.mget(list(keys)) == list(keys.values())
    assert watched.asked == []


async def test_a_master_that_hangs_is_unavailable_in_time_and_mixes_nothing_up(
    redis: Redis, watched: Watched
) -> None:
    keys = await stored(watched.session, 100)
    node = redis.nodes[master_of(redis, next(iter(keys)))]
    node.freeze()
    try:
        began_s = time.monotonic()
        with pytest.raises(Unavailable, match="in time"):
            await watched.session.mget(list(keys))
        assert 0.4 < time.monotonic() - began_s < 5
    finally:
        node.thaw()
        redis.wait()
    await watched.connected()
    for _ in range(3):
        assert await watched.session.mget(list(keys)) == list(keys.values())


async def test_a_key_that_holds_something_else_is_for_the_driver_alone(watched: Watched) -> None:
    keys = await stored(watched.session, 10)
    other = fresh_target()
    await watched.session.run([["RPUSH", other, "a"]])
    assert await watched.session.mget([*keys, other]) == [*keys.values(), None]
    assert watched.asked == [other]


async def test_who_goes_away_shifts_nobodys_answers(watched: Watched) -> None:
    keys = await stored(watched.session, 200)
    names = list(keys)
    asking = [asyncio.create_task(watched.direct.get(names[n : n + 50])) for n in range(0, 150, 50)]
    await asyncio.sleep(0)
    asking[1].cancel()
    assert await watched.direct.get(names[150:]) == [keys[name] for name in names[150:]]
    assert await asking[0] == [keys[name] for name in names[:50]]
    assert await asking[2] == [keys[name] for name in names[100:150]]
