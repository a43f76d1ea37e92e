"""The queue in front of the ledger: who rides in which commit, and what a refusal promises."""

import asyncio
from collections.abc import Sequence

import pytest

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Answer, Header, Outcome, Refused, Tap, Verb
from plaudit.domain.errors import Corrupt, OutcomeUnknown, Overloaded, Unavailable
from plaudit.ports.ledger import CellResult, CellTaps, Target
from plaudit.services.commit import Committed, Committer
from plaudit.services.near import NearCache
from plaudit.telemetry import Metrics
from tests.support.clock import ManualClock


class GatedLedger:
    """A ledger that commits when the test says so, and remembers what it was handed."""

    def __init__(self) -> None:
        self.calls: list[list[CellTaps]] = []
        self.error: Exception | None = None
        self.corrupt: set[str] = set()
        self._gate = asyncio.Semaphore(0)
        self._seq = 0

    def let(self, calls: int = 1) -> None:
        """Let so many calls through."""
        for _ in range(calls):
            self._gate.release()

    async def commit(self, work: Sequence[CellTaps]) -> list[CellResult]:
        self.calls.append(list(work))
        await self._gate.acquire()
        if self.error is not None:
            raise self.error
        if any(cell.target in self.corrupt for cell in work):
            raise Corrupt("a target cannot be read")
        self._seq += 1
        header = Header(seq=self._seq, type="post", counts=(1,), rows=1)
        answers: list[Answer | Refused] = [Answer(Outcome.CREATED, 0, 1)]
        return [CellResult(Target(header), answers * len(cell.taps)) for cell in work]

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        return {}


class Bench:
    """A committer on a gated ledger and a clock of the test's own."""

    def __init__(
        self,
        *,
        max_waiting: int = 2000,
        per_target: int = 1000,
        max_batch: int = 512,
        answer_within_s: float = 10.0,
    ) -> None:
        self.ledger = GatedLedger()
        self.clock = ManualClock()
        self.near = NearCache(self.ledger, Catalogue(), entries=100, public=True)
        self.committer = Committer(
            self.ledger,
            self.near,
            self.clock,
            Metrics(),
            max_waiting=max_waiting,
            max_waiting_per_target=per_target,
            max_batch=max_batch,
            answer_within_s=answer_within_s,
        )
        self._keys = 0

    def tap(self, target: str, user: str) -> asyncio.Future[Committed]:
        """Queue one tap."""
        self._keys += 1
        return self.committer.submit(target, Tap(user, Verb.TOGGLE, 1, self._keys.to_bytes(8, "big")))

    async def calls(self, count: int) -> list[list[CellTaps]]:
        """What the ledger was handed, once it was called so often."""
        async with asyncio.timeout(5):
            while len(self.ledger.calls) < count:
                await asyncio.sleep(0)
        return self.ledger.calls


def shape(call: list[CellTaps]) -> dict[str, list[str]]:
    """The users of each target in one call."""
    return {cell.target: [tap.user for tap in cell.taps] for cell in call}


async def test_a_lone_tap_is_committed_at_once_and_what_comes_meanwhile_rides_together() -> None:
    bench = Bench()
    first = bench.tap("a", "alice")
    assert [shape(call) for call in await bench.calls(1)] == [{"a": ["alice"]}]
    others = [bench.tap("a", "bob"), bench.tap("b", "carol"), bench.tap("a", "dave")]
    bench.ledger.let(2)
    await asyncio.gather(first, *others)
    assert shape(bench.ledger.calls[1]) == {"a": ["bob", "dave"], "b": ["carol"]}
    await bench.committer.drain()
    assert bench.committer.waiting == 0


async def test_one_cell_that_cannot_be_read_does_not_take_the_others_with_it() -> None:
    bench = Bench()
    bench.ledger.corrupt = {"bad"}
    futures = [bench.tap(target, "alice") for target in ("good", "bad", "fine")]
    bench.ledger.let(10)
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert [isinstance(answer, Corrupt) for answer in answers] == [False, True, False]
    await bench.committer.drain()


async def test_a_cell_that_cannot_be_read_is_found_in_few_commits() -> None:
    bench = Bench()
    bench.ledger.corrupt = {"t77"}
    futures = [bench.tap(f"t{n}", "alice") for n in range(256)]
    bench.ledger.let(100)
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert [n for n, answer in enumerate(answers) if isinstance(answer, Corrupt)] == [77]
    assert len(bench.ledger.calls) == 1 + 2 * 8


async def test_taps_of_one_turn_of_the_loop_ride_together() -> None:
    bench = Bench()
    for n in range(10):
        bench.tap("a", f"user{n}")
    bench.ledger.let()
    await bench.committer.drain()
    assert [len(call[0].taps) for call in bench.ledger.calls] == [10]


async def test_a_commit_takes_128_users_and_4_taps_of_each_in_order() -> None:
    bench = Bench()
    futures = [bench.tap("a", "busy") for _ in range(6)] + [bench.tap("a", f"user{n}") for n in range(200)]
    bench.ledger.let(10)
    await asyncio.gather(*futures)
    sizes = [(len({tap.user for tap in call[0].taps}), len(call[0].taps)) for call in bench.ledger.calls]
    assert sizes == [(128, 131), (74, 75)]
    ops = [tap.op for call in bench.ledger.calls for tap in call[0].taps if tap.user == "busy"]
    assert ops == sorted(ops), "a user's taps are committed in the order they came"


async def test_a_viral_target_gets_one_share_of_a_batch_and_no_more() -> None:
    bench = Bench(max_batch=130)
    bench.tap("viral", "first")
    await bench.calls(1)
    viral = [bench.tap("viral", f"user{n}") for n in range(600)]
    quiet = [bench.tap(f"quiet{n}", "alice") for n in range(5)]
    bench.ledger.let(4)
    await asyncio.gather(*quiet)
    calls = bench.ledger.calls
    assert {cell.target for call in calls[1:4] for cell in call} == {
        "viral",
        *(f"quiet{n}" for n in range(5)),
    }
    assert max(len(cell.taps) for call in calls for cell in call) <= 128
    bench.ledger.let(20)
    await asyncio.gather(*viral)


async def test_a_full_queue_refuses_and_stores_nothing() -> None:
    bench = Bench(max_waiting=5, per_target=3)
    bench.tap("a", "first")
    await bench.calls(1)
    for n in range(3):
        bench.tap("a", f"user{n}")
    with pytest.raises(Overloaded):
        bench.tap("a", "one too many on this target")
    bench.tap("b", "x"), bench.tap("c", "x")
    with pytest.raises(Overloaded):
        bench.tap("d", "one too many in all")
    bench.ledger.let(2)
    await bench.committer.drain()
    assert shape(bench.ledger.calls[1]) == {"a": ["user0", "user1", "user2"], "b": ["x"], "c": ["x"]}


async def test_a_tap_past_its_deadline_is_refused_and_never_handed_over() -> None:
    bench = Bench()
    first = bench.tap("a", "first")
    await bench.calls(1)
    late = bench.tap("a", "late")
    bench.clock.advance(2.5)
    with pytest.raises(Overloaded) as refusal:
        await asyncio.wait_for(late, 5)
    assert refusal.value.code == "deadline"
    in_time = bench.tap("a", "in time")
    bench.ledger.let(2)
    await asyncio.gather(first, in_time)
    assert [tap.user for call in bench.ledger.calls for cell in call for tap in cell.taps] == [
        "first",
        "in time",
    ]


async def test_a_tap_that_would_be_late_is_refused_at_once_and_others_are_not() -> None:
    bench = Bench(max_waiting=10_000, per_target=10_000)
    futures = [bench.tap("a", f"user{n}") for n in range(128 * 10)]
    for turn in range(1, 5):
        await bench.calls(turn)
        bench.clock.advance(0.4)
        bench.ledger.let()
    await bench.calls(5)
    # Five shares are left, the last of them for 2 s from now, and a newcomer would have the turn after it.
    with pytest.raises(Overloaded) as refusal:
        bench.tap("a", "late")
    assert (refusal.value.code, refusal.value.retry_after_s) == ("deadline", 3)
    other = bench.tap("b", "quiet")
    bench.ledger.let(20)
    await asyncio.gather(other, *futures[: 128 * 5])
    await asyncio.gather(*futures)
    assert (await bench.tap("a", "later")).shown.seq


async def test_a_target_leaves_room_for_others() -> None:
    bench = Bench(max_waiting=100, per_target=100)
    bench.tap("a", "first")
    await bench.calls(1)
    viral = [bench.tap("a", f"user{n}") for n in range(50)]
    with pytest.raises(Overloaded):
        bench.tap("a", "one too many")
    others = [bench.tap(f"b{n}", "quiet") for n in range(50)]
    bench.ledger.let(10)
    await asyncio.gather(*viral, *others)


@pytest.mark.parametrize("answer_within_s", [10.0, 0.01], ids=["failed", "silent"])
async def test_a_target_of_whose_taps_nobody_knows_is_looked_up(answer_within_s: float) -> None:
    bench = Bench(answer_within_s=answer_within_s)
    bench.near.publish("a", Target(Header(seq=7)))
    bench.near.publish("b", Target(Header(seq=7)))
    future = bench.tap("a", "alice")
    if answer_within_s > 1:
        bench.ledger.error = OutcomeUnknown("fsync")
        bench.ledger.let()
    with pytest.raises(OutcomeUnknown):
        await future
    assert (bench.near.get("a"), bench.near.get("b") is not None) == (None, True)
    bench.ledger.let()
    await bench.committer.drain()


@pytest.mark.parametrize("error", [Unavailable("no disk"), OutcomeUnknown("fsync"), RuntimeError("a bug")])
async def test_a_failed_commit_fails_its_taps_and_the_next_one_goes_on(error: Exception) -> None:
    bench = Bench()
    bench.ledger.error = error
    first = bench.tap("a", "first")
    await bench.calls(1)
    second = bench.tap("a", "second")
    bench.ledger.let()
    with pytest.raises(type(error) if not isinstance(error, RuntimeError) else OutcomeUnknown):
        await first
    bench.ledger.error = None
    bench.ledger.let()
    assert (await second).answer == Answer(Outcome.CREATED, 0, 1)


async def test_a_disk_that_does_not_answer_leaves_the_outcome_unknown_and_nobody_waiting() -> None:
    bench = Bench(answer_within_s=0.05)
    with pytest.raises(OutcomeUnknown):
        await asyncio.wait_for(bench.tap("a", "first"), 5)
    bench.ledger.let()
    await bench.committer.drain()


async def test_a_client_that_went_away_changes_nothing_for_the_others() -> None:
    bench = Bench()
    gone, there = bench.tap("a", "gone"), bench.tap("a", "there")
    gone.cancel()
    bench.ledger.let()
    assert (await there).shown.seq == 1
    assert shape(bench.ledger.calls[0]) == {"a": ["gone", "there"]}, (
        "it may be on its way to the disk already"
    )
