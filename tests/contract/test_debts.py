"""What `plaudit.ports.events.Debts` promises: the store of the simulations, and Cassandra."""

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from plaudit.adapters.cassandra import CassandraDebts
from plaudit.ports.cells import CellKey
from plaudit.ports.events import OWED_AT_ONCE, SHARDS, Debt, Debts
from tests.simulation.log import Away, SimulatedLog
from tests.support.cassandra import emptied, fresh_target, open_session
from tests.support.clock import ManualClock

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=["simulated", "cassandra"])
async def processes(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[tuple[Debts, Debts]]:
    """Two processes, and nothing is owed."""
    if request.param == "simulated":
        log = SimulatedLog(Random(0), Away())
        yield log, log
        return
    clock = ManualClock()
    async with open_session(request.getfixturevalue("cassandra")) as session:
        await emptied(session, ("pending_events", "pending_slices"))
        async with CassandraDebts(session, clock) as one, CassandraDebts(session, clock) as other:
            yield one, other


async def all_of(debts: Debts) -> list[Debt]:
    return [debt for shard in range(SHARDS) for debt in await debts.owed(shard)]


async def test_a_debt_is_found_by_another_process_and_forgotten_once_paid(
    processes: tuple[Debts, Debts],
) -> None:
    one, other = processes
    keys = [CellKey(fresh_target(), n % 3) for n in range(20)]
    for key in keys:
        await one.owe(key, ["ann", "bob"])
        await one.owe(key, [])
    found = await all_of(other)
    assert sorted((d.key, d.users) for d in found) == sorted(
        [(key, ("ann", "bob")) for key in keys] + [(key, ()) for key in keys]
    )
    for debt in found[:15]:
        await other.settle(debt)
        await other.settle(debt)
    assert await all_of(one) == found[15:]


async def test_what_is_owed_twice_is_two_debts_and_the_oldest_comes_first(
    processes: tuple[Debts, Debts],
) -> None:
    one, other = processes
    key = CellKey(fresh_target())
    for users in (["ann"], ["bob", "ann"], ["ann"]):
        await one.owe(key, users)
    first, *others = await all_of(other)
    assert [debt.users for debt in (first, *others)] == [("ann",), ("bob", "ann"), ("ann",)]
    await other.settle(first)
    assert await all_of(other) == others


async def test_so_many_are_shown_at_once_and_the_rest_when_these_are_paid(
    processes: tuple[Debts, Debts],
) -> None:
    one, other = processes
    key = CellKey(fresh_target())
    await asyncio.gather(*(one.owe(key, [f"u{n}"]) for n in range(OWED_AT_ONCE + 5)))
    shown = await all_of(other)
    assert len(shown) == OWED_AT_ONCE
    await asyncio.gather(*map(other.settle, shown[:20]))
    rest = await all_of(other)
    assert rest[: OWED_AT_ONCE - 20] == shown[20:]
    assert len({debt.users for debt in (*shown, *rest)}) == len(shown) + 5
