"""Events that are owed, in Cassandra: found again by whoever sweeps, until they are paid."""

from collections.abc import AsyncIterator

import pytest

from plaudit.adapters.cassandra import CassandraDebts, Session
from plaudit.adapters.cassandra.debts import CLOSED_AFTER_S, SLICE_S
from plaudit.ports.cells import CellKey
from plaudit.ports.events import SHARDS, Debt
from tests.engines.cassandra import Cassandra
from tests.support.cassandra import emptied, fresh_target, open_session
from tests.support.clock import ManualClock

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def session(cassandra: Cassandra, anyio_backend: str) -> AsyncIterator[Session]:
    async with open_session(cassandra) as opened:
        await emptied(opened, ("pending_events", "pending_slices"))
        yield opened


async def all_of(debts: CassandraDebts) -> list[Debt]:
    return [debt for shard in range(SHARDS) for debt in await debts.owed(shard)]


async def test_a_debt_of_long_ago_is_still_found_and_an_empty_slice_is_closed(session: Session) -> None:
    clock, key = ManualClock(), CellKey(fresh_target())
    async with CassandraDebts(session, clock) as debts:
        await debts.owe(key, ["ann"])
        clock.advance(30 * SLICE_S)
        await debts.owe(key, ["bob"])
        found = await all_of(debts)
        assert [debt.users for debt in found] == [("ann",), ("bob",)], "oldest first"
        for debt in found:
            await debts.settle(debt)
        assert await slices(session) == 2
        assert await all_of(debts) == []
        assert await slices(session) == 1, "the slice of now stays open"
        clock.advance(SLICE_S + CLOSED_AFTER_S)
        await all_of(debts)
        assert await slices(session) == 0
        await debts.owe(key, ["cid"])
        assert [debt.users for debt in await all_of(debts)] == [("cid",)]


async def slices(session: Session) -> int:
    statement = await session.prepare("SELECT count(*) FROM $keyspace.pending_slices")
    return int((await session.read(statement.bind([]))).first().as_tuple()[0])
