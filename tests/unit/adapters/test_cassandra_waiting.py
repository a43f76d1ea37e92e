"""Who waits for whom in one process's requests to Cassandra."""

import asyncio
from typing import Any, Self

from plaudit.adapters.cassandra import CassandraCells
from plaudit.adapters.cassandra.lists import HEADERS, TENS_AT_ONCE, CassandraLists
from plaudit.domain.cell import Header
from plaudit.ports.cells import CellKey, Proposal
from tests.support.wait import until


class Statement:
    def __init__(self, query: str) -> None:
        self.query = query

    def bind(self, _: list[Any]) -> Self:
        return self


class Result:
    def all(self) -> list[Any]:
        return []


class StuckOnHeaders:
    """A session whose reads of headers end when the test says so."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.headers = 0

    async def prepare(self, query: str, _: object = None) -> Statement:
        return Statement(query)

    async def read(self, statement: Statement) -> Result:
        if statement.query == HEADERS:
            self.headers += 1
            await self.go_on.wait()
        return Result()


async def test_pages_do_not_wait_for_a_flood_of_headers() -> None:
    session: Any = StuckOnHeaders()
    async with CassandraLists(session) as lists:
        flood = asyncio.create_task(lists.targets([f"t{n}" for n in range(1_000)]))
        await until(lambda: session.headers == TENS_AT_ONCE, "as many as may be are under way")
        async with asyncio.timeout(5):
            assert await lists.reacted("ann", None, 10) == []
        assert session.headers == TENS_AT_ONCE
        session.go_on.set()
        assert await flood == {}


class StuckOnCommits(StuckOnHeaders):
    """A session whose commits do not end."""

    commits = 0

    async def commit(self, _: object) -> None:
        self.commits += 1
        await self.go_on.wait()


async def test_commits_wait_for_no_others() -> None:
    session: Any = StuckOnCommits()
    async with CassandraCells(session) as cells:
        some = [
            asyncio.create_task(cells.propose(CellKey(f"t{n}"), Proposal(0, Header(seq=1), {})))
            for n in range(1_000)
        ]
        await until(lambda: session.commits == len(some), "all are under way")
        for each in some:
            each.cancel()
