"""Events go to the log or are owed, and a log that is away is not asked at every turn."""

import asyncio
from random import Random

import pytest

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Header, Row, Rules, Tap, Transition, Verb
from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.domain.events import Committed
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.events import SHARDS
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.propose import Proposer
from plaudit.services.publish import FAILURES, PROBE_EVERY_S, Publish
from plaudit.telemetry import Metrics
from tests.simulation.log import Away, SimulatedLog
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.support.clock import ManualClock
from tests.support.totals import NoCounters
from tests.support.wait import until

KEY = CellKey("t")
HEADER = Header(seq=1, type="post", counts=(1,), rows=1, last_at=9, born=5)
MOVE = Transition("ann", 0, 1, 5, 9)


class Asked(SimulatedLog):
    """A log that fails as it is told, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__(Random(0), Away())
        self.error: Exception | None = None
        self.asked = 0
        self.gate: asyncio.Event | None = None

    async def publish(self, key: CellKey, event: bytes) -> None:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        await super().publish(key, event)


class Bench:
    def __init__(self) -> None:
        self.log = Asked()
        self.clock = ManualClock()
        self.store = SimulatedStore()
        cells = SimulatedCells(self.store, Random(0), Faults(delay_s=0))
        self.publish = Publish(self.log, self.log, cells, self.clock)

    async def commit(self) -> None:
        await self.publish.commit(KEY, HEADER, [MOVE])

    async def sweep(self) -> int:
        return sum([(await self.publish.sweep(shard)).paid for shard in range(SHARDS)])


async def test_a_commit_is_published_as_it_was_and_nothing_is_owed() -> None:
    bench = Bench()
    await bench.commit()
    assert bench.log.events == [
        Committed("t", 0, "post", 1, "tap", 1, (1,), 1, 5, (), (MOVE,)),
    ]
    assert bench.log.debts == {}


@pytest.mark.parametrize("error", [Unavailable("no"), OutcomeUnknown("perhaps")])
async def test_what_the_log_does_not_confirm_is_owed_and_paid_with_the_state_of_then(
    error: Exception,
) -> None:
    bench = Bench()
    bench.log.error = error
    await bench.commit()
    assert [debt.users for debt in bench.log.debts.values()] == [("ann",)]
    bench.store.decide(KEY, Proposal(0, HEADER, {"ann": Row(2, 5, 12, b"")}), 0)
    assert await bench.sweep() == 0, "the log is still away"
    assert len(bench.log.debts) == 1
    bench.log.error = None
    assert await bench.sweep() == 1
    assert bench.log.debts == {}
    assert bench.log.events[-1].transitions == (Transition("ann", None, 2, 5, 12),)
    assert bench.log.events[-1].cause == "late"


async def test_a_log_that_is_away_is_asked_once_a_second_until_it_is_back() -> None:
    bench = Bench()
    bench.log.error = OutcomeUnknown("silent")
    for _ in range(20):
        await bench.commit()
    assert bench.log.asked == FAILURES
    bench.clock.advance(PROBE_EVERY_S + 0.01)
    for _ in range(20):
        await bench.commit()
    assert bench.log.asked == FAILURES + 1
    bench.log.error = None
    bench.clock.advance(PROBE_EVERY_S + 0.01)
    for _ in range(5):
        await bench.commit()
    assert len(bench.log.events) == 5
    assert len(bench.log.debts) == 40


async def test_a_commit_that_can_be_neither_published_nor_owed_goes_on() -> None:
    bench = Bench()
    bench.log.error = OutcomeUnknown("silent")
    bench.log.away.debts = 1.0
    task = asyncio.create_task(bench.commit())
    await asyncio.sleep(0.05)
    assert not task.done()
    bench.log.away.debts = 0.0
    await asyncio.wait_for(task, 5)


async def test_the_state_of_now_is_published_for_who_changed_something() -> None:
    bench = Bench()
    rows = {"ann": Row(1, 5, 9, b""), "bob": Row(0, 4, 8, b""), "cid": Row(0, 0, 0, b"x" * 14)}
    bench.store.decide(KEY, Proposal(0, HEADER, rows), 0)
    await bench.publish.again(KEY, ["ann", "bob", "cid", "nobody"])
    [event] = bench.log.events
    assert event.transitions == (Transition("ann", None, 1, 5, 9), Transition("bob", None, 0, 4, 8))
    await bench.publish.again(CellKey("never written"), ["ann"])
    assert len(bench.log.events) == 1


async def test_a_tap_waits_for_its_event_and_the_next_commit_does_not() -> None:
    bench = Bench()
    cells = SimulatedCells(bench.store, Random(0), Faults(delay_s=0))
    proposer = Proposer(cells, Known(), bench.clock, Rules(Catalogue()))
    near = NearCache(NoCounters(), Catalogue(), entries=10, public=True)
    committer = CellCommitter(proposer, near, bench.clock, Metrics(), Random(0), bench.publish)
    gate = bench.log.gate = asyncio.Event()
    futures = []
    for n in range(1, 4):
        futures.append(committer.submit("t", Tap("ann", Verb.SET, n, b"%08d" % n)))
        await until(lambda n=n: len(bench.store.states(KEY)) == n + 1, "the commit")  # type: ignore[misc] # bound now
    assert not any(future.done() for future in futures)
    gate.set()
    assert [(await future).shown.seq for future in futures] == [1, 2, 3]
    await committer.drain()
    assert sorted(event.seq for event in bench.log.events) == [1, 2, 3]
