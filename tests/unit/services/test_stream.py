"""Listeners get a snapshot and then the newest state of what changed, in their turn, and nothing is queued for them."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.domain.catalogue import Catalogue, Registration
from plaudit.domain.cell import Header
from plaudit.domain.errors import Overloaded, Unavailable
from plaudit.ports.ledger import Target
from plaudit.services.near import NearCache
from plaudit.services.stream import GAP_S, HEARTBEAT, HEARTBEAT_S, OPENING, ROUND_S, TICK_S, Listener, Streams
from plaudit.telemetry import Metrics
from tests.support.clock import ManualClock
from tests.support.wait import until


def state(seq: int, registration: Registration | None = None) -> Target:
    return Target(Header(seq=seq, type="post", counts=(seq,), rows=seq), registration)


class Store:
    """What a read finds."""

    def __init__(self) -> None:
        self.found: dict[str, Target] = {}
        self.down = False

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        if self.down:
            raise Unavailable("down")
        return {id_: self.found[id_] for id_ in ids if id_ in self.found}


class Ear:
    """A client: `told` is what it has read, whenever it is not deaf."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.told: list[bytes] = []
        self.hearing = asyncio.Event()
        self.hearing.set()
        self.task = asyncio.create_task(self._hear())

    async def _hear(self) -> None:
        while (chunk := await self.listener.next()) is not None:
            self.told.append(chunk)
            await self.hearing.wait()

    @property
    def versions(self) -> list[dict[str, int]]:
        """What each event said, heartbeats left out."""
        return [versions(chunk) for chunk in self.told if chunk != HEARTBEAT]


def versions(chunk: bytes) -> dict[str, int]:
    event = chunk.removeprefix(OPENING)
    assert event.startswith(b"event: counts\ndata: ")
    assert event.endswith(b"\n\n")
    document: dict[str, Any] = msgspec.json.decode(event.splitlines()[1][6:])
    assert document["degraded"] is False
    return {id_: counts["version"] for id_, counts in document["counts"].items()}


class Bench:
    """Streams whose poller is the test."""

    def __init__(self, *, max_streams: int = 10_000, entries: int = 100) -> None:
        self.clock = ManualClock()
        self.store = Store()
        self.metrics = Metrics()
        self.near = NearCache(self.store, Catalogue(), entries=entries, public=True)
        self.streams = Streams(self.near, self.clock, self.metrics, max_streams=max_streams)
        self._seq = 0

    async def listen(self, *ids: str, holder: str | None = None, most: int = 0) -> Ear:
        ear = Ear(self.streams.open(await self.near.load(ids), holder, most))
        await settle()
        return ear

    def change(self, id_: str) -> int:
        """A commit; returns its version."""
        self._seq += 1
        self.near.publish(id_, state(self._seq))
        return self._seq

    async def tick(self, seconds: float = TICK_S) -> list[str]:
        """Let that much time pass, and look."""
        self.clock.advance(seconds)
        missing = self.streams.poll()
        await settle()
        return missing

    async def round(self, seconds: float = 1.0) -> None:
        """Tick for that long."""
        for _ in range(round(seconds / TICK_S)):
            await self.tick()


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def test_first_a_snapshot_then_what_changed() -> None:
    bench = Bench()
    bench.near.publish("a", state(7))
    ear = await bench.listen("a", "b")
    assert ear.told[0].startswith(b"retry: 3000\n\nevent: counts\n")
    bench._seq = 7
    bench.change("b")
    bench.change("elsewhere")
    await bench.tick(GAP_S)
    bench.change("a")
    bench.change("b")
    await bench.tick(GAP_S)
    assert ear.versions == [{"a": 7, "b": 0}, {"b": 8}, {"a": 10, "b": 11}]


async def test_the_same_state_is_told_once() -> None:
    bench = Bench()
    ear = await bench.listen("a")
    bench.change("a")
    await bench.tick(GAP_S)
    bench.near.publish("a", state(1))
    bench.near.publish("a", state(0))
    await bench.round()
    assert ear.versions == [{"a": 0}, {"a": 1}]


async def test_what_is_newer_than_announced_is_not_told_twice() -> None:
    bench = Bench()
    ear = await bench.listen("a")
    bench.change("a")
    await bench.tick()  # announced, and its turn is later
    bench.change("a")
    await bench.round()
    assert ear.versions == [{"a": 0}, {"a": 2}]


async def test_at_most_four_a_second_and_the_last_state_arrives() -> None:
    bench = Bench()
    ear = await bench.listen("a")
    for _ in range(300):
        bench.change("a")
        await bench.tick()
    assert 11 <= len(ear.told) - 1 <= 12
    await bench.round(GAP_S)
    assert ear.versions[-1] == {"a": 300}


async def test_an_event_about_one_target_is_written_once_for_all() -> None:
    bench = Bench()
    ears = [await bench.listen("a") for _ in range(20)]
    other = await bench.listen("a", "b")
    bench.change("a")
    await bench.round()
    assert len({id(ear.told[-1]) for ear in [*ears, other]}) == 1


async def test_a_slow_reader_gets_the_newest_state_and_nothing_is_queued() -> None:
    bench = Bench()
    deaf, other = await bench.listen("a", "b"), await bench.listen("a")
    deaf.hearing.clear()
    bench.change("a")
    await bench.tick(GAP_S)  # this one it takes, and then no more
    for _ in range(50):
        bench.change("a")
        bench.change("b")
        await bench.tick(GAP_S)
    assert len(other.told) == 52
    assert len(deaf.listener.pending) == 2
    assert len(bench.streams._turns) <= 2
    assert bench.metrics.stream_slow == 1, "it is not in line again before it has taken the last one"
    deaf.hearing.set()
    await settle()
    assert deaf.versions == [{"a": 0, "b": 0}, {"a": 1}, {"a": 100, "b": 101}]


async def test_a_crowd_is_told_within_a_second_and_a_few_at_a_time() -> None:
    bench, crowd = Bench(), 5000
    shown = await bench.near.load(["a"])
    ears = [Ear(bench.streams.open(shown, None, 0)) for _ in range(crowd)]
    await settle()
    await bench.tick(5)
    for _ in range(3):
        changed = bench.change("a")
        most, before = 0, bench.metrics.stream_events
        for _ in range(round(1 / TICK_S)):
            now = bench.metrics.stream_events
            await bench.tick()
            most = max(most, bench.metrics.stream_events - now)
        assert all(ear.versions[-1] == {"a": changed} for ear in ears)
        assert bench.metrics.stream_events - before == crowd
        assert most <= crowd * TICK_S / ROUND_S + 2
    for ear in ears:
        ear.task.cancel()


async def test_few_need_not_wait_for_a_whole_round() -> None:
    bench = Bench()
    ears = [await bench.listen("a") for _ in range(100)]
    await bench.tick(5)
    bench.change("a")
    await bench.round(0.05)
    assert all(ear.versions[-1] == {"a": 1} for ear in ears)


async def test_silence_is_broken_by_a_heartbeat() -> None:
    bench = Bench()
    ear, deaf = await bench.listen("a"), await bench.listen("b")
    deaf.hearing.clear()
    bench.change("b")
    await bench.tick(GAP_S)
    for _ in range(3):
        await bench.tick(HEARTBEAT_S)
    assert ear.told[1:] == [HEARTBEAT] * 3
    bench.change("a")
    await bench.tick()
    assert len(ear.told) == 4, "not so soon after a heartbeat"
    await bench.tick(GAP_S)
    assert ear.versions == [{"a": 0}, {"a": 2}]
    deaf.hearing.set()
    await settle()
    assert deaf.told[2:] == [HEARTBEAT], "one, however many it has missed"


async def test_nobody_listens_nothing_is_noted() -> None:
    bench = Bench()
    bench.change("a")
    assert bench.near.take_changed() == set()
    ear = await bench.listen("a")
    assert bench.near.watched == {"a"}
    bench.change("b")
    assert bench.near.take_changed() == set()
    ear.listener.close()
    ear.listener.close()
    await settle()
    assert ear.task.done()
    assert (bench.near.watched, bench.streams._channels, len(bench.streams)) == (set(), {}, 0)
    bench.change("a")
    assert bench.near.take_changed() == set()


async def test_limits() -> None:
    bench = Bench(max_streams=4)
    ears = [await bench.listen("a", holder="ann", most=2) for _ in range(2)]
    with pytest.raises(Overloaded, match="at most 2"):
        await bench.listen("a", holder="ann", most=2)
    ears += [await bench.listen("a", holder=name, most=most) for name, most in (("bob", 2), ("cat", 0))]
    waits = set()
    for _ in range(10):
        with pytest.raises(Overloaded) as refused:
            await bench.listen("a")
        assert refused.value.code == "overloaded"
        waits.add(refused.value.retry_after_s)
    assert len(waits) > 5, "those who are refused together do not come back together"
    ears[0].listener.close()
    await bench.listen("a", holder="ann", most=2)
    bench.streams.stop()
    await settle()
    assert (len(bench.streams), bench.streams._holders) == (0, {})
    assert all(ear.task.done() for ear in ears)
    with pytest.raises(Overloaded) as stopping:
        await bench.listen("a")
    assert stopping.value.code == "unavailable"


async def test_made_up_targets_are_bounded() -> None:
    bench = Bench(max_streams=25, entries=10_000)
    ears = [await bench.listen(*(f"made-up-{n}-{i}" for i in range(100))) for n in range(2)]
    with pytest.raises(Overloaded, match="different targets"):
        await bench.listen("one more")
    assert len(bench.near.watched) == 200, "nothing of what was refused stays"
    ears.append(await bench.listen(*(f"made-up-0-{i}" for i in range(100))))
    ears[1].listener.close()
    await bench.listen("one more")
    bench.streams.stop()
    await settle()


async def test_a_target_whose_access_changes_ends_its_streams() -> None:
    bench = Bench()
    ears = [await bench.listen("a"), await bench.listen("b", "a"), await bench.listen("b")]
    bench.near.publish("a", state(3, Registration(type="message")))
    await bench.tick(GAP_S)
    assert [ear.task.done() for ear in ears] == [True, True, False]
    assert all(ear.versions[-1].get("a", 0) == 0 for ear in ears[:2])


async def test_a_state_that_nobody_knows_is_read_again() -> None:
    bench = Bench()
    async with bench.streams:  # its own poller this time
        ear = await bench.listen("a")
        bench.store.down = True
        bench.near.forget("a")
        bench.clock.advance(GAP_S)
        await until(lambda: bench.near.changed == set(), "the poller looks")
        bench.store.found["a"] = state(5)
        bench.store.down = False
        await until(lambda: len(ear.told) == 2, "it is read and told")
        assert ear.versions == [{"a": 0}, {"a": 5}]
    assert ear.task.done()


async def test_a_target_pushed_out_of_the_cache_is_told_as_it_was_noted() -> None:
    bench = Bench(entries=2)
    ear = await bench.listen("a")
    bench.change("a")
    await bench.tick()
    for other in "bcd":
        bench.near.publish(other, state(1))
    assert bench.near.get("a") is None
    await bench.round()
    assert ear.versions == [{"a": 0}, {"a": 1}]
    bench.change("a")
    await bench.round()
    assert ear.versions[-1] == {"a": 2}


STEP = st.one_of(
    st.tuples(st.just("change"), st.sampled_from("abc")),
    st.tuples(st.just("forget"), st.sampled_from("abc")),
    st.tuples(st.just("tick"), st.sampled_from((0.01, 0.05, 0.25, 3.0))),
    st.tuples(st.just("deaf"), st.integers(0, 2)),
    st.tuples(st.just("hear"), st.integers(0, 2)),
    st.tuples(st.just("leave"), st.integers(0, 2)),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(STEP, max_size=60))
async def test_whatever_happens_versions_go_up_and_the_last_one_arrives(
    steps: list[tuple[str, Any]],
) -> None:
    bench = Bench()
    ears = [await bench.listen("a", "b", "c"), await bench.listen("a"), await bench.listen("b", "c")]
    last = dict.fromkeys("abc", 0)

    async def tick(seconds: float) -> None:
        for id_ in await bench.tick(seconds):
            await bench.near.load([id_])

    for what, which in steps:
        if what == "change":
            last[which] = bench.change(which)
            bench.store.found[which] = state(last[which])
        elif what == "forget":
            bench.near.forget(which)
        elif what == "tick":
            await tick(which)
        elif what == "leave":
            ears[which].listener.close()
        else:
            (ears[which].hearing.clear if what == "deaf" else ears[which].hearing.set)()
    for ear in ears:
        ear.hearing.set()
    for _ in range(5):
        await tick(GAP_S)
    for ear in ears:
        seen: dict[str, int] = {}
        for event in ear.versions:
            assert all(version > seen.get(id_, -1) for id_, version in event.items())
            seen |= event
        if not ear.listener.closed:
            assert seen == {id_: last[id_] for id_ in seen}
        ear.listener.close()
    await settle()
    assert (bench.near.watched, len(bench.streams)) == (set(), 0)
