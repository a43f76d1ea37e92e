"""The queue per cell: who rides in which proposal, who waits for whom, and what a refusal promises."""

import asyncio
from collections.abc import Iterable, Sequence
from random import Random

import pytest

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Answer, Header, Outcome, Row, Rules, Tap, Verb
from plaudit.domain.errors import Corrupt, OutcomeUnknown, Overloaded, PlauditError, Unavailable
from plaudit.domain.lanes import lane_of, seal
from plaudit.domain.operations import KEPT, remember
from plaudit.ports.cells import CellKey, CellState, Proposal
from plaudit.ports.ledger import Target
from plaudit.services import commit_cells
from plaudit.services.commit import Committed
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.pace import Backoff, Limits
from plaudit.services.propose import MAX_BYTES, Moved, Open, Proposer, Sealed
from plaudit.telemetry import Metrics
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.support.clock import START_US, ManualClock

KEY = CellKey("a")


class GatedCells:
    """The simulated store without faults, one proposal at a time as the test lets them, and what was asked of it."""

    def __init__(self) -> None:
        self.store = SimulatedStore()
        self._inner = SimulatedCells(self.store, Random(0), Faults(delay_s=0))
        self.reads = 0
        self.proposals: list[tuple[CellKey, Proposal]] = []
        self.errors: list[PlauditError | Exception] = []  # for the next calls, whatever they are
        self.unknown: list[bool] = []  # for the next proposals: nobody is told; whether they are stored
        self._gate = asyncio.Semaphore(0)
        self.open()

    def shut(self) -> None:
        """From now on proposals wait for `let`."""
        self._gate = asyncio.Semaphore(0)

    def open(self) -> None:
        """Let everything through."""
        self.let(1_000_000)

    def let(self, proposals: int = 1) -> None:
        """Let so many proposals through."""
        for _ in range(min(proposals, 10_000)):
            self._gate.release()

    async def read(self, key: CellKey, users: Iterable[str]) -> CellState:
        self.reads += 1
        self._may_fail()
        return await self._inner.read(key, users)

    async def settle(self, key: CellKey, users: Iterable[str]) -> CellState:
        self._may_fail()
        return await self._inner.settle(key, users)

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        self.proposals.append((key, proposal))
        await self._gate.acquire()
        self._may_fail()
        if self.unknown:
            if self.unknown.pop(0):
                await self._inner.propose(key, proposal)
            raise OutcomeUnknown("no reply")
        return await self._inner.propose(key, proposal)

    def _may_fail(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


class Bench:
    """A committer on a gated store and a clock of the test's own."""

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008 - a tuple
        self.cells = GatedCells()
        self.clock = ManualClock()
        self.metrics = Metrics()
        self.committer = self.another(limits)
        self._keys = 0

    def another(self, limits: Limits = Limits()) -> CellCommitter:  # noqa: B008 - a tuple
        """Another process on the same store."""
        near = NearCache(self, Catalogue(), entries=100, public=True)
        proposer = Proposer(self.cells, Known(), self.clock, Rules(Catalogue()))
        backoff = Backoff(0.0001, 0.001)
        return CellCommitter(proposer, near, self.clock, self.metrics, Random(0), None, limits, backoff)

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        return {}

    def tap(self, target: str, user: str, reaction: int = 1) -> asyncio.Future[Committed]:
        """Queue one tap."""
        self._keys += 1
        op = self._keys.to_bytes(8, "big")
        return self.committer.submit(target, Tap(user, Verb.SET, reaction, op))

    async def proposals(self, count: int) -> list[list[str]]:
        """The users of each proposal, once there were so many."""
        async with asyncio.timeout(5):
            while len(self.cells.proposals) < count:
                await asyncio.sleep(0)
        return [list(proposal.rows) for _, proposal in self.cells.proposals]


async def test_a_lone_tap_goes_at_once_and_what_comes_meanwhile_rides_together() -> None:
    bench = Bench()
    bench.cells.shut()
    first = bench.tap("a", "ann")
    assert await bench.proposals(1) == [["ann"]]
    others = [bench.tap("a", "bob"), bench.tap("b", "cid"), bench.tap("a", "dan")]
    assert await bench.proposals(2) == [["ann"], ["cid"]], "another cell does not wait"
    bench.cells.open()
    answers = [answer.answer for answer in await asyncio.gather(first, *others)]
    assert answers == [Answer(Outcome.CREATED, 0, 1)] * 4
    assert (await bench.proposals(3))[2] == ["bob", "dan"]
    await bench.committer.drain()
    assert (bench.committer.waiting, bench.committer.open, bench.metrics.commits) == (0, 0, 3)


async def test_a_chain_of_own_commits_needs_no_further_read() -> None:
    bench = Bench()
    for n in range(1, 6):
        assert (await bench.tap("a", "ann", n % 2)).shown.seq == n
    assert bench.cells.reads == 1


async def test_a_commit_takes_128_users_and_4_taps_of_each_in_order() -> None:
    bench = Bench()
    bench.cells.shut()
    futures = [bench.tap("a", "busy", n % 2 + 1) for n in range(6)] + [
        bench.tap("a", f"u{n}") for n in range(200)
    ]
    bench.cells.open()
    answers = await asyncio.gather(*futures)
    assert [len(users) for users in await bench.proposals(2)] == [128, 74]
    assert [a.answer.previous for a in answers[:6] if isinstance(a.answer, Answer)] == [0, 1, 2, 1, 2, 1]


async def test_a_proposal_weighs_no_more_than_the_replicas_like() -> None:
    bench = Bench()
    futures = [bench.tap("a", f"{n:0128d}") for n in range(128)]
    await asyncio.gather(*futures)
    sizes = [sum(map(len, users)) for users in await bench.proposals(2)]
    assert len(sizes) > 1
    assert max(sizes) <= MAX_BYTES
    assert bench.cells.store.states(KEY)[-1].header.total == 128


async def test_a_full_queue_refuses_and_stores_nothing() -> None:
    bench = Bench(Limits(max_waiting=5, max_waiting_per_target=3))
    bench.cells.shut()
    bench.tap("a", "first")
    await bench.proposals(1)
    for n in range(3):
        bench.tap("a", f"u{n}")
    with pytest.raises(Overloaded):
        bench.tap("a", "one too many on this target")
    bench.tap("b", "x"), bench.tap("c", "x")
    with pytest.raises(Overloaded):
        bench.tap("d", "one too many in all")
    bench.cells.open()
    await bench.committer.drain()
    assert set(bench.cells.store.states(KEY)[-1].rows) == {"first", "u0", "u1", "u2"}


async def test_a_tap_past_its_deadline_is_refused_and_never_proposed() -> None:
    bench = Bench()
    bench.cells.shut()
    first = bench.tap("a", "first")
    await bench.proposals(1)
    late = bench.tap("a", "late")
    bench.clock.advance(2.5)
    with pytest.raises(Overloaded) as refusal:
        await asyncio.wait_for(late, 5)
    assert refusal.value.code == "deadline"
    bench.cells.open()
    await first
    await bench.committer.drain()
    assert await bench.proposals(1) == [["first"]]


async def test_a_tap_that_is_overdue_when_its_turn_comes_is_not_proposed() -> None:
    bench = Bench()
    bench.cells.shut()
    first = bench.tap("a", "first")
    await bench.proposals(1)
    late = bench.tap("a", "late")
    bench.clock.advance(2.5)
    bench.cells.open()  # before anybody looks for what is overdue
    with pytest.raises(Overloaded):
        await late
    await first


async def test_no_more_cells_than_there_is_room_for_and_each_in_its_turn() -> None:
    bench = Bench(Limits(max_under_way=2))
    bench.cells.shut()
    futures = [bench.tap(target, "ann") for target in "abcd"]
    await bench.proposals(2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert [key.target for key, _ in bench.cells.proposals] == ["a", "b"]
    bench.cells.open()
    await asyncio.gather(*futures)
    assert [key.target for key, _ in bench.cells.proposals] == ["a", "b", "c", "d"]


async def test_who_loses_reads_and_folds_again() -> None:
    bench = Bench()
    await bench.tap("a", "ann")
    other = bench.another()
    assert (await other.submit("a", Tap("bob", Verb.SET, 2, b"other..1"))).shown.seq == 2
    reads = bench.cells.reads
    assert (await bench.tap("a", "ann", 0)).shown.seq == 3
    assert (bench.metrics.commits_refused, bench.cells.reads) == (1, reads + 1)
    assert bench.cells.store.states(KEY)[-1].header.counts[:2] == (0, 1)


async def test_what_was_lost_goes_again_before_what_came_meanwhile() -> None:
    bench = Bench()
    bench.cells.shut()
    taps = [bench.tap("a", "ann", 1)]
    await bench.proposals(1)
    taps.append(bench.tap("a", "ann", 2))
    assert bench.cells.store.decide(KEY, Proposal(0, Header(1, "post"), {}), 0), "somebody else is first"
    bench.cells.open()
    answers = [answered.answer for answered in await asyncio.gather(*taps)]
    assert [answer.previous for answer in answers if isinstance(answer, Answer)] == [0, 1]


async def test_nothing_to_do_is_never_answered_from_what_is_believed() -> None:
    bench = Bench()
    await bench.tap("a", "ann", 1)
    await bench.another().submit("a", Tap("ann", Verb.SET, 2, b"other..1"))
    answer = (await bench.tap("a", "ann", 1)).answer
    assert answer == Answer(Outcome.SWITCHED, 2, 1), "this process believed that it is 1 already"


@pytest.mark.parametrize("stored", [True, False])
async def test_an_unknown_outcome_is_settled_and_answered_as_if_nothing_had_been(stored: bool) -> None:
    bench = Bench()
    bench.cells.unknown = [stored]
    assert (await bench.tap("a", "ann")).answer == Answer(Outcome.CREATED, 0, 1)
    assert bench.cells.store.states(KEY)[-1].header.seq == 1
    assert bench.committer.open == 0


async def test_an_outcome_stays_owned_when_its_client_was_told_that_nobody_knows() -> None:
    bench = Bench(Limits(answer_within_s=0.01))
    bench.cells.unknown = [False] * 20
    told = bench.tap("a", "ann")
    with pytest.raises(OutcomeUnknown):
        await told
    await bench.committer.drain()
    assert bench.cells.store.states(KEY)[-1].header.seq == 1, "the same was proposed until it was known"
    assert all(proposal == bench.cells.proposals[0] for proposal in bench.cells.proposals)


async def test_what_the_rows_have_forgotten_stays_unknown() -> None:
    bench = Bench()
    bench.cells.unknown = [False]
    ops = b""
    for n in range(KEPT):
        ops = remember(ops, b"theirs.%d" % n, START_US // 1_000_000, 0x11, 0x10)
    row = Row(1, START_US, START_US, ops)
    future = bench.tap("a", "ann")
    await bench.proposals(1)
    bench.cells.store.decide(KEY, Proposal(0, Header(1, "post", (1,), 1, START_US), {"ann": row}), 0)
    with pytest.raises(OutcomeUnknown):
        await future
    await bench.committer.drain()


async def test_a_store_that_is_away_for_a_moment_costs_a_moment() -> None:
    bench = Bench()
    bench.cells.errors = [Unavailable("no quorum")] * 3
    assert (await bench.tap("a", "ann")).answer == Answer(Outcome.CREATED, 0, 1)


async def test_a_store_that_stays_away_is_unavailable_at_the_deadline() -> None:
    bench = Bench()
    bench.cells.errors = [Unavailable("no quorum")] * 1_000_000
    future = bench.tap("a", "ann")
    while not bench.cells.reads:
        await asyncio.sleep(0)
    bench.clock.advance(3)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(future, 5)
    await bench.committer.drain()
    assert bench.cells.proposals == []


@pytest.mark.parametrize("error", [Corrupt("not a header"), RuntimeError("a bug")])
async def test_a_cell_that_fails_takes_no_other_with_it(error: Exception) -> None:
    bench = Bench()
    bench.cells.errors = [error]
    broken, sound = bench.tap("a", "ann"), bench.tap("b", "ann")
    with pytest.raises(Corrupt if isinstance(error, Corrupt) else OutcomeUnknown):
        await broken
    assert (await sound).answer == Answer(Outcome.CREATED, 0, 1)
    assert (await bench.tap("a", "ann")).answer == Answer(Outcome.CREATED, 0, 1)


async def test_who_went_away_before_their_turn_is_not_proposed() -> None:
    bench = Bench()
    bench.cells.shut()
    first, gone, there = bench.tap("a", "first"), bench.tap("a", "gone"), bench.tap("a", "there")
    gone.cancel()
    bench.cells.open()
    await asyncio.gather(first, there)
    assert await bench.proposals(1) == [["first", "there"]]


async def test_closing_tells_each_what_is_known() -> None:
    bench = Bench()
    bench.cells.shut()
    under_way = bench.tap("a", "ann")
    await bench.proposals(1)
    queued, just_taken = bench.tap("a", "bob"), bench.tap("b", "cid")
    await bench.committer.close()
    for future, error in ((under_way, OutcomeUnknown), (queued, Overloaded), (just_taken, Overloaded)):
        with pytest.raises(error):
            await future
    with pytest.raises(Overloaded):
        bench.tap("a", "too late")


async def test_draining_gives_up_on_a_store_that_is_silent() -> None:
    bench = Bench()
    bench.cells.unknown = [False] * 1_000_000
    future = bench.tap("a", "ann")
    await bench.committer.drain(within_s=0.05)
    with pytest.raises(OutcomeUnknown):
        await future
    assert bench.committer.open == 0


async def test_a_lane_that_hangs_holds_up_the_others_of_its_target_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commit_cells, "HELD_S", 0.01)
    bench = Bench()
    users = {lane_of(f"u{n}", 8): f"u{n}" for n in range(100)}
    await bench.tap("a", "root")
    state = await bench.cells.read(KEY, ())
    assert state.header is not None
    sealed = Proposal(state.seq, seal(state.header, 8), {})
    assert await bench.cells.propose(KEY, sealed)
    await bench.tap("a", users[1])  # so the process knows of the lanes
    done = len(bench.cells.proposals)
    bench.cells.shut()
    first, second = bench.tap("a", users[2]), bench.tap("a", users[3])
    await bench.proposals(done + 2)
    assert not first.done()
    bench.cells.let(2)
    await asyncio.gather(first, second)
    await bench.committer.drain()


async def test_what_waits_for_a_root_is_not_overtaken_in_a_lane() -> None:
    """A root is split while an outcome of it is unknown: only who takes its queue over sends taps to the lanes."""
    bench = Bench()
    await bench.tap("a", "ann")
    proposer = Proposer(bench.cells, Known(), bench.clock, Rules(Catalogue()))
    bench.cells.unknown = [False]
    open_ = await proposer.attempt(KEY, [Tap("bob", Verb.SET, 1, b"12345678")])
    assert isinstance(open_, Open)
    state = await bench.cells.read(KEY, ())
    assert state.header is not None
    assert await bench.cells.propose(KEY, Proposal(state.seq, seal(state.header, 8), {}))
    assert isinstance(await proposer.settle(KEY, open_), Moved)
    assert "a" not in proposer.lanes
    assert isinstance(await proposer.attempt(KEY, [Tap("bob", Verb.SET, 1, b"12345678")]), Sealed)
    assert proposer.lanes["a"] == 8
