"""Straight to the masters: one that cannot be reached costs only what it has itself."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from plaudit.adapters.redis.direct import LOOK_EVERY_S, SLOTS, Direct, Entry, Span, Values, slot_of
from plaudit.domain.errors import Unavailable
from tests.simulation import loop
from tests.support.wait import happens

NO_NAME = "x" * 70 + ".example"  # longer than a part of a name may be, which is a `UnicodeError`
LOW, HIGH = "b", "a"


@pytest.fixture
async def port(anyio_backend: str) -> AsyncIterator[int]:
    """Of a master that answers all it is asked with "direct"."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(b"$6\r\ndirect\r\n" * data.count(b"*"))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


class Cluster:
    """Who has which slots, and the driver."""

    def __init__(self, *spans: Span) -> None:
        self.spans = spans
        self.looks = 0
        self.fails: Exception | None = None
        self.direct = Direct(self._driver, self._masters, Entry([["PING"]], None, 5), 5)

    async def _driver(self, keys: list[str]) -> Values:
        return [b"driver"] * len(keys)

    async def _masters(self) -> tuple[Span, ...]:
        self.looks += 1
        if self.fails:
            raise self.fails
        return self.spans


async def test_a_master_without_a_name_leaves_the_others(port: int, caplog: pytest.LogCaptureFixture) -> None:
    assert slot_of(LOW.encode()) < SLOTS // 2 <= slot_of(HIGH.encode())
    cluster = Cluster(Span(0, SLOTS // 2 - 1, NO_NAME, 1), Span(SLOTS // 2, SLOTS - 1, "127.0.0.1", port))

    async def direct() -> bool:
        return await cluster.direct.get([LOW, HIGH]) == [b"driver", b"direct"]

    with caplog.at_level(logging.WARNING, "plaudit.redis"):
        await happens(direct, "the other to answer")
        looks = cluster.looks

        async def again() -> bool:
            return await direct() and cluster.looks > looks

        await happens(again, "another look")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert NO_NAME in caplog.text
    await cluster.direct.aclose()


@pytest.mark.parametrize("error", [RuntimeError("nobody foresaw it"), Unavailable("away")])
def test_nobody_looks_more_often_than_once_a_second_whatever_fails(error: Exception) -> None:
    async def main(cluster: Cluster) -> None:
        cluster.fails = error
        for looks in (1, 2):
            for _ in range(100):
                assert await cluster.direct.get([LOW]) == [b"driver"]
                await asyncio.sleep(LOOK_EVERY_S / 101)
            assert cluster.looks == looks
            await asyncio.sleep(LOOK_EVERY_S)
        await cluster.direct.aclose()

    loop.run(main(Cluster()))
