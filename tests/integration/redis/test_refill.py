"""Refill over the real engines: what Redis has forgotten comes from Cassandra, and everything while Redis is frozen."""

from collections.abc import AsyncIterator

import pytest

from plaudit.adapters.cassandra import CassandraCells, CassandraLists
from plaudit.adapters.redis import RedisTotals
from plaudit.domain.cell import Header
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.ledger import Target
from plaudit.services.refill import Refill
from plaudit.services.update_counters import UpdateCounters
from plaudit.telemetry import Metrics
from tests.engines.cassandra import Cassandra
from tests.engines.redis import Redis
from tests.support import cassandra as ledger
from tests.support.redis import event, fresh_target, open_session
from tests.support.wait import until

pytestmark = pytest.mark.timeout(180)


class World:
    def __init__(self, cells: CassandraCells, totals: RedisTotals, refill: Refill) -> None:
        self.cells = cells
        self.totals = totals
        self.refill = refill

    async def commit(self, target: str, seq: int) -> Target:
        """Bring the target from the commit before to this one."""
        state = Target(Header(seq, "post", (seq,), seq, 0, 5, (("ada", 1),)))
        assert state.header is not None
        assert await self.cells.propose(CellKey(target), Proposal(seq - 1, state.header, {}))
        return state


@pytest.fixture
async def world(cassandra: Cassandra, redis: Redis, anyio_backend: str) -> AsyncIterator[World]:
    async with (
        ledger.open_session(cassandra) as cassandra_session,
        CassandraCells(cassandra_session) as cells,
        CassandraLists(cassandra_session) as lists,
        open_session(redis) as session,
    ):
        totals = RedisTotals(session)
        async with Refill(totals, lists, Metrics(), probe_every_s=0.05) as refill:
            yield World(cells, totals, refill)


async def test_an_emptied_redis_fills_itself_again(world: World, redis: Redis) -> None:
    targets = [fresh_target() for _ in range(20)]
    states = {target: await world.commit(target, 1) for target in targets}
    await UpdateCounters(world.totals).handle([event(target, state) for target, state in states.items()])
    assert await world.refill.targets([*targets, "nobody"]) == states
    for node in range(len(redis.ports)):
        if "role:master" in redis.ask(node, "INFO", "replication"):
            redis.ask(node, "FLUSHALL")
    assert await world.refill.targets([*targets, "nobody"]) == states
    await until(lambda: world.refill._keeper is None, "it is kept")
    assert await world.totals.get([*targets, "nobody"]) == {**states, "nobody": Target()}
    assert not world.refill.degraded


async def test_a_refill_never_undoes_a_newer_event(world: World) -> None:
    target = fresh_target()
    old = await world.commit(target, 1)
    assert await world.refill.targets([target]) == {target: old}
    new = await world.commit(target, 2)
    await UpdateCounters(world.totals).handle([event(target, new), event(target, old)])
    await until(lambda: world.refill._keeper is None, "what was read is kept")
    await world.totals.put({target: old})
    assert await world.refill.targets([target]) == {target: new}


async def test_while_redis_is_frozen_cassandra_answers(world: World, redis: Redis) -> None:
    target = fresh_target()
    state = await world.commit(target, 1)
    assert await world.refill.targets([target]) == {target: state}
    for node in redis.nodes:
        node.freeze()
    try:
        for _ in range(5):
            assert await world.refill.targets([target]) == {target: state}
            assert world.refill.degraded
        assert world.refill.away
        new = await world.commit(target, 2)
        assert await world.refill.targets([target]) == {target: new}
    finally:
        for node in redis.nodes:
            node.thaw()
        redis.wait()
    await until(lambda: not world.refill.degraded, "Redis answers again")
