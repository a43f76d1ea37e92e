"""The epoch of what only Redis has: it changes where something was forgotten, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from plaudit.adapters.redis import RedisKept, Session
from plaudit.adapters.redis.session import Command
from tests.engines.redis import Redis
from tests.support.redis import config, emptied, open_session

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("patient_redis")]


@pytest.fixture
async def session(redis: Redis, anyio_backend: str) -> AsyncIterator[Session]:
    async with open_session(redis) as opened:
        yield opened


async def test_whoever_empties_redis_changes_the_epoch_once_for_all(redis: Redis, session: Session) -> None:
    one, other = RedisKept(session), RedisKept(session)
    before = await one.epoch()
    assert await other.epoch() == before
    assert await one.epoch() == before
    plain = await session.epoch()
    emptied(redis)
    after = await one.epoch()
    assert after != before
    assert await session.epoch() == plain, "the histories of the masters go on, so they tell nothing of it"
    assert [await other.epoch(), await one.epoch()] == [after, after]


async def test_of_two_who_miss_the_same_the_first_puts_it_there(redis: Redis, session: Session) -> None:
    came, go = asyncio.Event(), asyncio.Event()

    class Slow(Session):
        async def run(self, commands: Sequence[Command]) -> list[Any]:
            came.set()
            await go.wait()
            return await super().run(commands)

    async with Slow(config(redis)) as slow:
        emptied(redis)
        late = asyncio.create_task(RedisKept(slow).epoch())
        await came.wait()
        first = await RedisKept(session).epoch()
        go.set()
        assert await late == first


async def test_one_emptied_master_is_enough(redis: Redis, session: Session) -> None:
    before = await RedisKept(session).epoch()
    master = next(n for n in range(6) if "role:master" in redis.ask(n, "INFO", "replication"))
    redis.ask(master, "FLUSHALL")
    assert await RedisKept(session).epoch() != before
