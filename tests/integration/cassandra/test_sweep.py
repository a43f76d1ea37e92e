"""Sweeping the debts in Cassandra: shared by any number of workers, and not while the log is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from random import Random

import pytest

from plaudit.adapters.cassandra import CassandraCells, CassandraDebts, CassandraLeases, Session
from plaudit.adapters.system import SystemClock
from plaudit.domain.cell import Header, Row
from plaudit.domain.errors import OutcomeUnknown
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.clock import Clock
from plaudit.ports.events import SHARDS
from plaudit.services.publish import FAILURES, PROBE_EVERY_S, Publish
from plaudit.services.sweep import Sweep
from plaudit.telemetry import Metrics
from tests.engines.cassandra import Cassandra
from tests.simulation.log import Away, SimulatedLog
from tests.support.cassandra import emptied, fresh_target, open_session
from tests.support.clock import ManualClock
from tests.support.wait import until

pytestmark = pytest.mark.timeout(300)


class Log(SimulatedLog):
    """A log that is away while it is told to be, and counts how often it is asked then."""

    def __init__(self) -> None:
        super().__init__(Random(0), Away())
        self.gone = False
        self.asked = 0

    async def publish(self, key: CellKey, event: bytes) -> None:
        if self.gone:
            self.asked += 1
            raise OutcomeUnknown("away")
        await super().publish(key, event)


class Bench:
    """One store and one log, and workers on them."""

    def __init__(self, session: Session, stack: AsyncExitStack) -> None:
        self.log = Log()
        self._session = session
        self._stack = stack
        self.cells = CassandraCells(session)
        self.debts = CassandraDebts(session, SystemClock())

    async def owe(self, count: int) -> list[CellKey]:
        """Commit to so many cells, and owe their events."""
        keys = [CellKey(fresh_target()) for _ in range(count)]
        for key in keys:
            header = Header(1, "post", (1,), 1, 9, 5)
            assert await self.cells.propose(key, Proposal(0, header, {"ann": Row(1, 5, 9, b"")}))
            await self.debts.owe(key, ["ann"])
        return keys

    async def worker(
        self,
        name: str,
        clock: Clock = SystemClock(),  # noqa: B008 - has no state
    ) -> tuple[Sweep, Metrics, CassandraLeases]:
        leases = await self._stack.enter_async_context(CassandraLeases(self._session, name))
        publish = Publish(self.log, self.debts, self.cells, clock)
        metrics = Metrics()
        random = Random(name)
        return Sweep(publish, self.debts, leases, metrics, random, busy_pause_s=0.05), metrics, leases


@pytest.fixture
async def bench(cassandra: Cassandra, anyio_backend: str) -> AsyncIterator[Bench]:
    async with open_session(cassandra) as session, AsyncExitStack() as stack:
        await emptied(session, ("pending_events", "pending_slices", "lease"))
        made = Bench(session, stack)
        await stack.enter_async_context(made.cells)
        await stack.enter_async_context(made.debts)
        yield made


async def test_two_workers_share_what_is_owed_and_nothing_stays(bench: Bench) -> None:
    keys = await bench.owe(120)
    (one, metrics, _), (other, others, _) = await bench.worker("one"), await bench.worker("other")
    async with one, other:
        await until(lambda: metrics.debts_paid + others.debts_paid >= len(keys), "all of it is paid")
    assert {event.target for event in bench.log.events} == {key.target for key in keys}
    assert min(metrics.debts_paid, others.debts_paid) > 0, "both had a part in it"
    assert await one.look() == 0
    assert one.open == 0
    assert f"plaudit_debts_paid_total {float(metrics.debts_paid)}".encode() in metrics.render()


async def test_debts_of_one_cell_are_paid_with_one_event(bench: Bench) -> None:
    [key] = await bench.owe(1)
    for n in range(300):
        await bench.debts.owe(key, [f"u{n}"])
    sweep, _, _ = await bench.worker("one")
    assert await sweep.look() == 301
    assert len(bench.log.events) == 3, "128 users an event"


async def test_a_shard_is_left_to_who_has_its_lease_until_that_ends(bench: Bench) -> None:
    await bench.owe(1)
    sweep, _, _ = await bench.worker("living")
    _, _, dead = await bench.worker("dead")
    [shard] = [shard for shard in range(SHARDS) if await bench.debts.owed(shard)]
    assert await dead.claim(f"debts/{shard}", 600)
    assert await sweep.look() == 0
    assert sweep.open == 1
    assert await dead.claim(f"debts/{shard}", 2)
    async with sweep:
        await until(lambda: bool(bench.log.events), "its leases have ended")
    assert len(bench.log.events) == 1


async def test_a_log_that_is_away_is_asked_now_and_then_and_paid_when_it_is_back(bench: Bench) -> None:
    keys = await bench.owe(20)
    clock = ManualClock()
    sweep, metrics, _ = await bench.worker("one", clock)
    bench.log.gone = True
    for _ in range(10):
        await sweep.look()
    assert FAILURES <= (asked := bench.log.asked) < 20, "once a second, and a few under way at once"
    clock.advance(PROBE_EVERY_S)
    for _ in range(10):
        await sweep.look()
    assert asked < bench.log.asked < asked + 10, "a second later once more"
    assert sweep.open == 20
    assert b"plaudit_debts_open" not in metrics.render(), "nobody asks before it runs"
    clock.advance(PROBE_EVERY_S)
    bench.log.gone = False
    async with sweep:
        assert b"plaudit_debts_open 20.0" in metrics.render()
        await until(lambda: metrics.debts_paid == len(keys), "all of it is paid")
        await asyncio.sleep(0)
