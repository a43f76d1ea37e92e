"""A split under full load on a real Cassandra: nobody is refused because of it. Prints what it costs (`pytest -s`)."""

import asyncio
from time import monotonic

import pytest

from plaudit.adapters.cassandra import CassandraCells, CassandraLists
from plaudit.domain.cell import Answer
from tests.contract.test_cell_commits import process
from tests.contract.test_splitting import splitter
from tests.engines.cassandra import Cassandra
from tests.support.cassandra import fresh_target, open_session
from tests.support.taps import set_to

pytestmark = pytest.mark.timeout(300)

WORKERS, TAPS = 128, 40


async def test_a_split_under_load_refuses_nobody_and_loses_nothing(
    cassandra: Cassandra, anyio_backend: str
) -> None:
    target = fresh_target()
    took: list[tuple[float, float]] = []  # when each tap ended, and how long it took
    async with (
        open_session(cassandra) as session,
        CassandraCells(session) as cells,
        CassandraLists(session) as lists,
    ):
        one = process(cells)

        async def worker(n: int) -> None:
            for tap in range(TAPS):
                began_s = monotonic()
                answer, *_ = await one.submit(target, set_to(f"u{n}", tap % 6 + 1))
                assert isinstance(answer, Answer)
                took.append((monotonic(), monotonic() - began_s))

        async def split() -> float:
            while len(took) < WORKERS * TAPS // 3:
                await asyncio.sleep(0.005)
            began_s = monotonic()
            await splitter(cells).split(target)
            return began_s

        moment = asyncio.create_task(split())
        await asyncio.gather(*map(worker, range(WORKERS)))
        split_s = await moment
        await one.drain()
        header = (await lists.targets([target]))[target].header
    assert header is not None
    last = (TAPS - 1) % 6
    assert (header.counts[last], header.total, header.lanes) == (WORKERS, WORKERS, 8)
    before = [s for at_s, s in took if at_s <= split_s]
    during = [s for at_s, s in took if split_s < at_s <= split_s + 1]
    slowest = max(before), max(during, default=0.0)
    print("slowest tap before {:.3f} s, in the second after the split {:.3f} s".format(*slowest))  # noqa: T201 - figures
