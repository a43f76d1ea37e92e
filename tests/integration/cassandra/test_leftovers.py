"""Rows of erased users that no list knows are removed by the auditor when it comes by, and by nobody before."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from plaudit.adapters.cassandra import CassandraJobs, CassandraUsers
from plaudit.adapters.system import SystemClock
from plaudit.services.alter import Alter
from plaudit.services.compare import Drift
from plaudit.services.erased import Erased
from plaudit.services.leftovers import Leftovers
from plaudit.services.removals import CellRemovals
from tests.engines.cassandra import Cassandra
from tests.engines.redis import Redis
from tests.support.cassandra import fresh_target
from tests.support.taps import LIKE, LOVE, NONE
from tests.support.town import Town, open_town

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("patient_redis")]


@asynccontextmanager
async def cleaner(town: Town, *marked: str) -> AsyncIterator[Leftovers]:
    """What removes leftovers of these users, who are marked now."""
    clock = SystemClock()
    async with CassandraUsers(town.session, clock) as users, CassandraJobs(town.session, clock) as jobs:
        alter = Alter(town.cells, town.publisher(), clock, Random(0))
        for user in marked:
            await users.mark(user)
        parts = (alter, town.cells, town.cells, town.publisher(), jobs, users, town.lists, clock)
        async with Erased(users, clock) as erased:
            yield Leftovers(erased, CellRemovals(*parts))
        await alter.drain()


async def test_the_auditor_removes_what_an_erasure_did_not_find(cassandra: Cassandra, redis: Redis) -> None:
    async with open_town(cassandra, redis) as town:
        target, gone, back, other = fresh_target(), "left-gone", "left-back", "left-other"
        await town.tap(target, **{gone: LIKE, back: LOVE, other: LOVE})
        await town.tap(target, **{back: NONE})
        await town.settled()
        async with cleaner(town, gone, back) as leftovers:
            drift: list[Drift] = []
            await town.auditor(drift.append, leftovers=leftovers).everything("looks only")
            before = (await town.header(target)).header
            assert before is not None
            assert before.rows == 3
            await town.auditor(drift.append, repair=True, leftovers=leftovers).everything("mends")
            await town.settled()
            header = (await town.header(target)).header
            assert header is not None
            assert (header.rows, header.counts, header.recent) == (1, (0, 1), ((other, LOVE),))
            assert [entry.key for entry in await town.lists.reactors(target, [LIKE, LOVE], None, 10)] == [
                other
            ]
            assert await town.lists.reacted(gone, None, 10) == []
            assert await leftovers.remove(target, [gone, back, other]) == 0
        assert drift == []
        assert await town.audit() == []
