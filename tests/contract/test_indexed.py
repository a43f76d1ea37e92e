"""How far the lists follow the log: as far as the slowest of its partitions."""

from collections.abc import AsyncIterator

import pytest

from plaudit.adapters.redis import RedisIndexed
from plaudit.ports.own import Indexed
from tests.support.clock import START_US
from tests.support.redis import open_session
from tests.support.totals import MemoryIndexed

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["memory", "redis"])
async def indexed(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Indexed]:
    """Of a log with three partitions, about which nobody has told."""
    if request.param == "memory":
        yield MemoryIndexed(3)
        return
    async with open_session(request.getfixturevalue("redis")) as session:
        opened = RedisIndexed(session, 3)
        await opened.forget()
        yield opened


async def test_the_lists_are_as_far_as_their_slowest_partition(indexed: Indexed) -> None:
    assert await indexed.reached() is None
    await indexed.reach({0: 50, 2: 30})
    assert await indexed.reached() is None
    await indexed.reach({1: 40})
    assert await indexed.reached() == 30
    await indexed.reach({2: START_US})
    assert await indexed.reached() == 40


async def test_lists_that_were_emptied_follow_nothing_until_all_is_told_again(indexed: Indexed) -> None:
    await indexed.reach({0: 50, 1: 40, 2: 30})
    await indexed.reach({})
    assert await indexed.reached() == 30
    await indexed.forget()
    assert await indexed.reached() is None
    await indexed.reach({0: 50, 1: 40})
    assert await indexed.reached() is None
    await indexed.reach({2: 60})
    assert await indexed.reached() == 40
