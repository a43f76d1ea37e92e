"""Refill over the real engines: what Redis has forgotten comes from Cassandra, and everything while Redis is frozen."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from random import Random

import pytest

from plaudit.adapters.cassandra import CassandraCells, CassandraLists
from plaudit.adapters.redis import RedisTotals
from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Header
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.ledger import Target
from plaudit.services.aging import AgingNearCache
from plaudit.services.refill import Gate, Refill
from plaudit.services.update_counters import UpdateCounters
from plaudit.telemetry import Metrics
from tests.engines.cassandra import Cassandra
from tests.engines.redis import Redis
from tests.support import cassandra as ledger
from tests.support.redis import emptied, event, fresh_target, open_session
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


async def test_emptied_under_load_the_ledger_is_read_once_in_each_process(
    world: World, redis: Redis, cassandra: Cassandra
) -> None:
    targets = [fresh_target() for _ in range(400)]
    for target in targets:
        await world.commit(target, 1)
    gate, clock = Gate(reads=3), SystemClock()
    async with (
        ledger.open_session(cassandra) as session,
        CassandraLists(session) as lists,
        AsyncExitStack() as stack,
    ):
        processes = []
        for _ in range(2):
            counted, totals = Counted(lists), Noted(world.totals)
            refill = await stack.enter_async_context(Refill(totals, counted, Metrics(), gate))
            near = AgingNearCache(refill, Catalogue(), entries=1000, public=True, max_age_s=0.1, clock=clock)
            processes.append((counted, totals, near))
        reading = [
            asyncio.create_task(_read(near, targets, Random(n))) for n in range(8) for *_, near in processes
        ]

        async def all_kept() -> None:
            async with asyncio.timeout(60):
                while len(await world.totals.get(targets)) < len(targets):
                    await asyncio.sleep(0.01)

        await all_kept()  # at start-up
        emptied(redis)
        await all_kept()
        answered = [{*targets} - totals.silent_of for _, totals, _ in processes]
        for task in reading:
            task.cancel()
        ended = await asyncio.gather(*reading, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
        for (counted, _, near), sure in zip(processes, answered, strict=True):
            await until(lambda near=near: near._refreshing is None, "nothing is read any more")  # type: ignore[misc] # bound now
            often = {target: reads for target, reads in counted.reads.items() if reads > 2 and target in sure}
            assert often == {}, "once at start-up, once after Redis was emptied"
            assert counted.most_at_once <= gate.reads
        assert sum((counted.reads for counted, *_ in processes), Counter[str]()).keys() == set(targets)


async def _read(near: AgingNearCache, targets: Sequence[str], random: Random) -> None:
    """Read some of these again and again."""
    while True:
        found = await near.load(random.sample(targets, 20))
        assert all(shown.seq == 1 for shown in found.values())
        await asyncio.sleep(0.002)


class Noted:
    """The totals, and of whom they did not answer in time, as where the machine stalls: those may be read once more."""

    def __init__(self, totals: RedisTotals) -> None:
        self._totals = totals
        self.silent_of: set[str] = set()
        self.apply, self.forget = totals.apply, totals.forget

    async def get(self, ids: Sequence[str]) -> dict[str, Target]:
        try:
            return await self._totals.get(ids)
        except BaseException:
            self.silent_of.update(ids)
            raise

    async def put(self, states: Mapping[str, Target]) -> None:
        try:
            await self._totals.put(states)
        except BaseException:
            self.silent_of.update(states)
            raise


class Counted:
    """The ledger, with what it was asked."""

    def __init__(self, lists: CassandraLists) -> None:
        self._lists = lists
        self.reads: Counter[str] = Counter()
        self._at_once = self.most_at_once = 0

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        self.reads.update(ids)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._lists.targets(ids)
        finally:
            self._at_once -= 1


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
