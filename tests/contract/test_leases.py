"""What `plaudit.ports.leases.Leases` promises: Cassandra."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from plaudit.adapters.cassandra import CassandraLeases
from plaudit.ports.leases import Leases
from tests.engines.cassandra import Cassandra
from tests.support.cassandra import fresh_target, open_session

pytestmark = pytest.mark.timeout(300)

LONG_S = 600


@pytest.fixture
async def workers(cassandra: Cassandra, anyio_backend: str) -> AsyncIterator[list[Leases]]:
    """Four that want the same."""
    async with open_session(cassandra) as session, AsyncExitStack() as stack:
        yield [await stack.enter_async_context(CassandraLeases(session, f"worker-{n}")) for n in range(4)]


@pytest.fixture
def name() -> str:
    return f"lease/{fresh_target()}"


async def test_one_of_many_has_it_and_goes_on_having_it(workers: list[Leases], name: str) -> None:
    got = await asyncio.gather(*(worker.claim(name, LONG_S) for worker in workers))
    assert sum(got) == 1
    assert await asyncio.gather(*(worker.claim(name, LONG_S) for worker in workers)) == got
    assert await workers[0].claim(f"{name}/other", LONG_S), "each name is a lease of its own"


async def test_who_has_it_can_give_it_back_and_nobody_else_can(workers: list[Leases], name: str) -> None:
    ann, bob, *_ = workers
    assert await ann.claim(name, LONG_S)
    await bob.release(name)
    assert not await bob.claim(name, LONG_S)
    await ann.release(name)
    await ann.release(name)
    assert await bob.claim(name, LONG_S)
    assert not await ann.claim(name, LONG_S)


async def test_that_of_a_dead_worker_ends_by_itself(workers: list[Leases], name: str) -> None:
    ann, bob, *_ = workers
    assert await ann.claim(name, 1)
    async with asyncio.timeout(60):
        while not await bob.claim(name, LONG_S):
            await asyncio.sleep(0.05)
    assert not await ann.claim(name, 1), "it came back too late"


async def test_one_that_is_renewed_does_not_end(workers: list[Leases], name: str) -> None:
    ann, bob, *_ = workers
    assert await ann.claim(name, 2)
    assert await ann.claim(name, LONG_S)
    await asyncio.sleep(2.5)  # past the end that it would have had
    assert not await bob.claim(name, LONG_S)
