"""Events go to the log or are owed, and a log that is away is not asked at every turn."""

import asyncio
from collections.abc import Iterable
from random import Random

import msgspec
import pytest

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import MAX_USERS_PER_COMMIT, Header, Row, Rules, Tap, Transition, Verb
from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.domain.events import Committed
from plaudit.domain.operations import KEPT, remember
from plaudit.ports.cells import CellKey, CellState, Proposal
from plaudit.ports.clock import Clock
from plaudit.ports.events import SHARDS, Debt
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.propose import Proposer
from plaudit.services.publish import FAILURES, PATIENCE_S, PROBE_EVERY_S, Publish
from plaudit.telemetry import Metrics
from tests.simulation import loop
from tests.simulation.log import Away, SimulatedLog
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.simulation.world import ProcessClock
from tests.support.clock import START_US, ManualClock
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
    def __init__(self, clock: Clock | None = None, seed: int = 0) -> None:
        self.log = Asked()
        self.clock = ManualClock()
        self.store = SimulatedStore()
        cells = SimulatedCells(self.store, Random(seed), Faults(delay_s=0))
        self.publish = Publish(self.log, self.log, cells, clock or self.clock)

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


async def test_one_probe_at_a_time_is_under_way_and_nobody_else_waits_for_it() -> None:
    bench = Bench()
    bench.log.error = OutcomeUnknown("silent")
    for _ in range(FAILURES):
        await bench.commit()
    bench.clock.advance(PROBE_EVERY_S + 0.01)
    gate = bench.log.gate = asyncio.Event()
    committing = [asyncio.create_task(bench.commit()) for _ in range(5)]
    await until(lambda: len(bench.log.debts) == FAILURES + 4, "all but the probe owe their events")
    assert bench.log.asked == FAILURES + 1
    gate.set()
    await asyncio.gather(*committing)
    assert bench.log.asked == FAILURES + 1


def test_a_silent_log_is_waited_for_three_times_and_no_longer_than_there_is_patience() -> None:
    """Whoever comes right after the third time-out would else wait for the next."""

    async def main() -> None:
        bench = Bench(ProcessClock(Random(0)))
        bench.log.gate = asyncio.Event()
        for _ in range(20):
            await bench.commit()
        assert bench.log.asked == FAILURES
        assert len(bench.log.debts) == 20
        assert asyncio.get_running_loop().time() == pytest.approx(FAILURES * PATIENCE_S, abs=0.5)

    loop.run(main())


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


@pytest.mark.parametrize("swept", [False, True])
async def test_the_state_that_is_published_is_the_newest_that_was_decided(swept: bool) -> None:
    """An ordinary read may miss it, until it is at a quorum."""
    newest = msgspec.structs.replace(HEADER, seq=2, counts=(0, 1), last_at=12)
    for seed in range(8):
        bench = Bench(seed=seed)
        bench.store.decide(KEY, Proposal(0, HEADER, {"ann": Row(1, 5, 9, b"")}), 0)
        bench.store.decide(KEY, Proposal(1, newest, {"ann": Row(2, 5, 12, b"")}), 0)
        if swept:
            await bench.log.owe(KEY, ["ann"])
            assert await bench.sweep() == 1
        else:
            await bench.publish.again(KEY, ["ann"])
        [event] = bench.log.events
        assert (event.seq, event.transitions) == (2, (Transition("ann", None, 2, 5, 12),))


async def test_debts_of_one_cell_are_paid_together_for_as_many_users_as_a_commit_has() -> None:
    bench = Bench()
    users = [f"u{n:03}" for n in range(MAX_USERS_PER_COMMIT + 1)]
    rows = {user: Row(1, 5, 9, b"") for user in users}
    bench.store.decide(KEY, Proposal(0, HEADER, rows), 0)
    bench.log.debts = {n: Debt(KEY, (user,), (0, 0, n)) for n, user in enumerate(users)}
    assert (await bench.publish.sweep(0)).paid == len(users)
    told = [sorted(transition.user for transition in event.transitions) for event in bench.log.events]
    assert told == [users[:MAX_USERS_PER_COMMIT], users[MAX_USERS_PER_COMMIT:]]


async def test_what_rows_say_of_a_commit_that_nobody_will_ever_know_of_is_published() -> None:
    bench = Bench()
    ops, shown = b"", list[object]()
    for n in range(KEPT):
        ops = remember(ops, b"theirs.%d" % n, START_US // 1_000_000, 0x11, 0x10)

    class Silent(SimulatedCells):
        async def propose(self, key: CellKey, proposal: Proposal) -> bool:
            bench.store.decide(KEY, Proposal(0, HEADER, {"ann": Row(1, 5, 9, ops)}), 0)
            raise OutcomeUnknown("no reply")

        async def settle(self, key: CellKey, users: Iterable[str]) -> CellState:
            shown.append(near.get("t"))
            await near.load(["t"])
            return await super().settle(key, users)

    cells = Silent(bench.store, Random(0), Faults(delay_s=0))
    proposer = Proposer(cells, Known(), bench.clock, Rules(Catalogue()))
    near = NearCache(NoCounters(), Catalogue(), entries=10, public=True)
    committer = CellCommitter(proposer, near, bench.clock, Metrics(), Random(0), bench.publish)
    await near.load(["t"])
    with pytest.raises(OutcomeUnknown):
        await committer.submit("t", Tap("ann", Verb.SET, 2, b"ours...1"))
    assert [*shown, near.get("t")] == [None, None], "counts from before it are not shown"
    await committer.drain()
    [event] = bench.log.events
    assert event.transitions == (Transition("ann", None, 1, 5, 9),)


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
