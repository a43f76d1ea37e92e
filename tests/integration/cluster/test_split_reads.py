"""What reading the totals of a feed costs where some of its targets are split: round trips to Redis and Cassandra."""

from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import pytest

from plaudit.adapters.cassandra import Session as CassandraSession
from plaudit.adapters.redis import Session as RedisSession
from plaudit.adapters.system import SystemClock
from plaudit.services.alter import Alter
from plaudit.services.refill import Refill
from plaudit.services.split import Split
from plaudit.telemetry import Metrics
from tests.engines.cassandra import Cassandra
from tests.engines.redis import Redis
from tests.support.redis import emptied
from tests.support.taps import LIKE
from tests.support.town import Town, open_town

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("patient_redis")]

LANES = 8


@pytest.fixture
async def town(cassandra: Cassandra, redis: Redis, anyio_backend: str) -> AsyncIterator[Town]:
    async with open_town(cassandra, emptied(redis)) as opened:
        yield opened


def watched(
    asked: list[str], name: str, call: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    async def asking(*arguments: Any) -> Any:
        asked.append(name)
        answer = await call(*arguments)
        asked.append(f"{name} answered")
        return answer

    return asking


async def test_split_targets_cost_no_more_once_they_are_kept(
    town: Town, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = await town.inhabited(20)
    splits = Split(Alter(town.cells, town.publisher(), SystemClock(), Random(0)), LANES)
    for target in feed[:3]:
        await splits.split(target)
        await town.tap(target, zoe=LIKE)
    await splits.drain()
    await town.settled()
    emptied(redis)
    asked: list[str] = []
    monkeypatch.setattr(RedisSession, "mget", watched(asked, "mget", RedisSession.mget))
    monkeypatch.setattr(CassandraSession, "read", watched(asked, "read", CassandraSession.read))

    async with Refill(town.totals, town.lists, Metrics()) as refill:
        cold = await refill.targets(feed)
        assert len(cold) == len(feed)
        assert [name for name in feed if cold[name].cells] == feed[:3]
        roots, lanes = len(feed) // 10, 3 * LANES
        # Three stages, one waiting for the other: Redis, the roots, and all lanes.
        assert asked[:2] == ["mget", "mget answered"]
        assert asked[2 : 2 + 2 * roots] == ["read"] * roots + ["read answered"] * roots
        assert asked[2 + 2 * roots :][:lanes] == ["read"] * lanes
        assert asked.count("read") == roots + lanes
        while refill._keeper is not None:
            await refill._keeper
        asked.clear()
        warm = await refill.targets(feed)
        assert asked == ["mget", "mget answered"]
        assert warm.keys() == cold.keys()
