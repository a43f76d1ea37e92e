"""Refill: the totals, then the ledger, never more; and what happens while one of them is away."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from plaudit.domain.errors import Corrupt, Overloaded, Unavailable
from plaudit.ports.ledger import Target
from plaudit.services.probed import FAILURES
from plaudit.services.refill import Gate, Refill
from plaudit.telemetry import Metrics
from tests.simulation import loop
from tests.support.redis import state
from tests.support.totals import MemoryTotals, SlowLedger
from tests.support.wait import until


class World:
    def __init__(self) -> None:
        self.totals = MemoryTotals()
        self.ledger = SlowLedger(a=state(1), b=state(2), c=state(3))
        self.metrics = Metrics()
        gate = Gate(reads=2, targets=5)
        self.refill = Refill(self.totals, self.ledger, self.metrics, gate, probe_every_s=0.002)


@pytest.fixture
async def world(anyio_backend: str) -> AsyncIterator[World]:
    world = World()
    async with world.refill:
        yield world


async def test_what_is_kept_costs_no_read_of_the_ledger(world: World) -> None:
    world.totals.kept = {"a": state(9), "nobody": Target()}
    assert await world.refill.targets(["a", "nobody"]) == {"a": state(9)}
    assert world.totals.reads == [["a", "nobody"]]
    assert world.ledger.reads == []
    assert not world.refill.degraded


async def test_what_is_not_kept_is_read_once_and_kept_then(world: World) -> None:
    world.totals.kept = {"b": state(7)}
    assert await world.refill.targets(["a", "b", "nobody"]) == {"a": state(1), "b": state(7)}
    assert world.ledger.reads == [["a", "nobody"]]
    await until(lambda: len(world.totals.kept) == 3, "it is kept")
    assert world.totals.kept == {"a": state(1), "b": state(7), "nobody": Target()}
    assert await world.refill.targets(["a", "nobody"]) == {"a": state(1)}
    assert len(world.ledger.reads) == 1
    assert (world.metrics.refills, world.metrics.degraded_reads) == (2, 0)


async def test_many_who_ask_at_once_cost_one_read_of_each_target(world: World) -> None:
    world.ledger.gate.clear()
    asking = [asyncio.create_task(world.refill.targets(["a", "b"])) for _ in range(20)]
    await until(lambda: bool(world.ledger.reads), "the read begins")
    asking.append(asyncio.create_task(world.refill.targets(["b", "c"])))
    await until(lambda: len(world.ledger.reads) == 2, "the other one begins")
    world.ledger.gate.set()
    answers = await asyncio.gather(*asking)
    assert answers == [{"a": state(1), "b": state(2)}] * 20 + [{"b": state(2), "c": state(3)}]
    assert world.ledger.reads == [["a", "b"], ["c"]]


async def test_who_goes_away_fails_nobody_else(world: World) -> None:
    world.ledger.gate.clear()
    first = asyncio.create_task(world.refill.targets(["a", "b"]))
    await until(lambda: bool(world.ledger.reads), "the read begins")
    others = [asyncio.create_task(world.refill.targets(["a", "b"])) for _ in range(5)]
    await until(lambda: len(world.totals.reads) == 6, "the others wait")
    first.cancel()
    await until(lambda: len(world.ledger.reads) == 2, "one of them reads for all")
    world.ledger.gate.set()
    assert await asyncio.gather(*others) == [{"a": state(1), "b": state(2)}] * 5
    assert world.ledger.reads == [["a", "b"], ["a", "b"]]


async def test_who_goes_away_while_they_wait_for_another_fails_nobody(world: World) -> None:
    world.ledger.gate.clear()
    first = asyncio.create_task(world.refill.targets(["a"]))
    await until(lambda: bool(world.ledger.reads), "the read begins")
    gone, there = [asyncio.create_task(world.refill.targets(["a"])) for _ in range(2)]
    await until(lambda: len(world.totals.reads) == 3, "the others wait")
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    world.ledger.gate.set()
    assert await first == await there == {"a": state(1)}
    assert world.ledger.reads == [["a"]]


async def test_what_is_on_its_way_to_be_kept_is_not_read_again_but_while_that_may_take_long(
    world: World,
) -> None:
    put, kept = asyncio.Event(), world.totals.put

    async def slow(states: Mapping[str, Target]) -> None:
        await put.wait()
        await kept(states)

    world.totals.put = slow  # type: ignore[method-assign] # for this test alone
    assert await world.refill.targets(["a"]) == {"a": state(1)}
    world.ledger.now["a"] = state(2)
    assert await world.refill.targets(["a"]) == {"a": state(1)}
    assert len(world.ledger.reads) == 1
    world.totals.error = Unavailable("frozen")
    assert await world.refill.targets(["a"]) == {"a": state(2)}
    world.totals.error = None
    put.set()


async def test_an_answer_from_before_what_was_kept_since_costs_no_second_read(world: World) -> None:
    """Answers of the totals come over connections of their own, in no order with what was put."""
    answers, get = asyncio.Event(), world.totals.get

    async def late(ids: Sequence[str]) -> dict[str, Target]:
        found = await get(ids)
        await answers.wait()
        return found

    world.totals.get = late  # type: ignore[method-assign] # for this question alone
    early = asyncio.create_task(world.refill.targets(["a", "b"]))
    await until(lambda: bool(world.totals.reads), "it asks")
    await asyncio.sleep(0)
    world.totals.get = get  # type: ignore[method-assign] # and for all others again
    for id_, seq in ("a", 1), ("b", 2):
        assert await world.refill.targets([id_]) == {id_: state(seq)}
        await until(lambda: world.refill._keeper is None, "it is kept")
    answers.set()
    assert await early == {"a": state(1), "b": state(2)}
    assert world.ledger.reads == [["a"], ["b"]]


async def test_a_ledger_that_fails_fails_all_who_wait_and_nobody_after(world: World) -> None:
    world.ledger.gate.clear()
    world.ledger.error = Unavailable("no quorum")
    asking = [asyncio.create_task(world.refill.targets(["a"])) for _ in range(5)]
    await until(lambda: len(world.totals.reads) == 5, "all have asked")
    world.ledger.gate.set()
    failures = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(failure, Unavailable) for failure in failures)
    assert len(world.ledger.reads) == 1
    world.ledger.error = None
    assert await world.refill.targets(["a"]) == {"a": state(1)}


async def test_a_damaged_target_fails_only_those_who_ask_for_it(world: World) -> None:
    world.ledger.gate.clear()
    world.ledger.damaged = {"b"}
    asked = (["a", "b"], ["a"], ["b"])
    asking = [asyncio.create_task(world.refill.targets(ids)) for ids in asked]
    await until(lambda: len(world.totals.reads) == len(asked), "all have asked")
    world.ledger.gate.set()
    both, good, bad = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(both, Corrupt)
    assert isinstance(bad, Corrupt)
    assert good == {"a": state(1)}


async def test_the_ledger_is_behind_a_gate(world: World) -> None:
    world.ledger.gate.clear()
    asking = [asyncio.create_task(world.refill.targets([id_])) for id_ in "abcde"]
    await until(lambda: len(world.totals.reads) == 5, "all have asked")
    with pytest.raises(Overloaded):
        await world.refill.targets(["f"])
    joined = asyncio.create_task(world.refill.targets(["a"]))
    await until(lambda: len(world.totals.reads) == 7, "who asks for what is read anyway")
    world.ledger.gate.set()
    await asyncio.gather(*asking, joined)
    assert world.ledger.most_at_once == 2
    assert await world.refill.targets(["f"]) == {}


def test_while_the_totals_are_away_the_ledger_answers_and_it_says_so() -> None:
    async def main(world: World) -> None:
        async with world.refill:
            world.totals.error = Unavailable("timed out")
            for _ in range(FAILURES):
                assert await world.refill.targets(["a"]) == {"a": state(1)}
                assert world.refill.degraded
            assert world.refill.away
            assert b"plaudit_counters_away 1.0" in world.metrics.render()
            waiting = [asyncio.create_task(world.refill.targets(["a"])) for _ in range(10)]
            await asyncio.gather(*waiting)
            assert len(world.totals.reads) == FAILURES, "and no probe yet: no time has passed"
            assert world.metrics.degraded_reads == FAILURES + 10
            assert world.totals.kept == {}

            world.totals.error = None
            await until(lambda: not world.refill.degraded, "a probe finds them back")
            assert not world.refill.away
            world.totals.kept["a"] = state(5)
            assert await world.refill.targets(["a"]) == {"a": state(5)}

    loop.run(main(World()))


async def test_nobody_waits_for_totals_that_are_away(world: World) -> None:
    world.totals.error = Unavailable("timed out")
    for _ in range(FAILURES):
        await world.refill.targets(["a"])
    asked_by_reads = [ids for ids in world.totals.reads if ids == ["b"]]
    await world.refill.targets(["b"])
    assert [ids for ids in world.totals.reads if ids == ["b"]] == asked_by_reads == []


async def test_one_failure_among_answers_leaves_the_totals_in_use(world: World) -> None:
    world.totals.kept = {"a": state(4)}
    for _ in range(2 * FAILURES):
        world.totals.error = Unavailable("one master of many is away")
        assert await world.refill.targets(["a"]) == {"a": state(1)}
        world.totals.error = None
        assert await world.refill.targets(["a"]) == {"a": state(4)}
        assert not world.refill.degraded
    assert not world.refill.away


async def test_what_cannot_be_kept_is_answered_all_the_same(world: World) -> None:
    class Full(MemoryTotals):
        async def put(self, states: object) -> None:
            raise Unavailable("out of memory")

    async with Refill(Full(), world.ledger, world.metrics) as refill:
        assert await refill.targets(["a"]) == {"a": state(1)}
        assert await refill.targets(["a"]) == {"a": state(1)}
        assert not refill.degraded


async def test_nothing_is_told_to_totals_that_do_not_answer(world: World) -> None:
    class Silent(MemoryTotals):
        async def put(self, states: Mapping[str, Target]) -> None:
            told.extend(states)

    told: list[str] = []
    totals = Silent()
    totals.error = Unavailable("timed out")
    async with Refill(totals, world.ledger, world.metrics) as refill:
        assert await refill.targets(["a"]) == {"a": state(1)}
        totals.error = None
        assert await refill.targets(["b"]) == {"b": state(2)}
        await until(lambda: "b" in told, "they answer again")
    assert told == ["b"]
