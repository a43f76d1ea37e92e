"""The near cache of one process among many: never older than it may be, and never back behind what was answered."""

import asyncio
from collections.abc import Sequence

import pytest

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.errors import Overloaded, Unavailable
from plaudit.ports.ledger import Target
from plaudit.services.aging import LATE_S, SAID_FOR_S, AgingNearCache
from tests.support.clock import ManualClock
from tests.support.redis import state
from tests.support.totals import SlowLedger
from tests.support.wait import until


class World:
    def __init__(self, entries: int = 100) -> None:
        self.clock = ManualClock()
        self.store = SlowLedger(a=state(1, 1), b=state(1, 1))
        self.near = AgingNearCache(
            self.store, Catalogue(), entries=entries, public=True, max_age_s=0.1, clock=self.clock
        )

    async def seq(self, target: str = "a") -> int:
        return (await self.near.load([target]))[target].seq


async def test_what_is_older_than_it_may_be_is_read_again() -> None:
    world = World()
    assert await world.seq() == 1
    world.store.now["a"] = state(2, 2)
    world.clock.advance(0.1)
    assert await world.seq() == 1
    assert world.near.get("a") is not None
    world.clock.advance(0.001)
    assert world.near.get("a") is None
    assert await world.seq() == 2
    assert len(world.store.reads) == 2


async def test_what_has_not_changed_is_not_made_anew() -> None:
    world = World()
    first = (await world.near.load(["a"]))["a"]
    world.clock.advance(1)
    again = (await world.near.load(["a"]))["a"]
    assert again is first
    assert world.near.get("a") is first


async def test_an_older_state_that_is_read_never_replaces_what_was_answered() -> None:
    world = World()
    await world.seq()
    world.near.publish("a", state(7, 7))
    for _ in range(5):
        world.clock.advance(1)
        assert await world.seq() == 7, "the store trails this process's own commit"
    world.store.now["a"] = state(8, 8)
    world.clock.advance(1)
    assert await world.seq() == 8


async def test_also_not_a_store_that_knows_nothing_of_it() -> None:
    world = World()
    world.near.publish("new", state(1, 1))
    world.clock.advance(1)
    assert await world.seq("new") == 1


async def test_also_not_after_a_commit_nobody_knows_the_outcome_of() -> None:
    world = World()
    world.near.publish("a", state(7, 7))
    world.near.watched.add("a")
    world.near.forget("a")
    assert world.near.get("a") is None
    assert world.near.take_changed() == {"a"}
    assert await world.seq() == 7
    assert len(world.store.reads) == 1


async def test_of_a_commit_and_a_read_at_the_same_time_the_newer_one_is_shown() -> None:
    world = World()
    world.store.now["a"] = state(9, 9)
    for committed, shown in ((5, 9), (12, 12)):
        world.clock.advance(1)
        world.store.gate.clear()
        asking = asyncio.create_task(world.seq())
        await asyncio.sleep(0)
        world.near.publish("a", state(committed, committed))
        world.store.gate.set()
        assert await asking == shown
        assert await world.seq() == shown


async def test_many_who_ask_for_what_is_old_cost_one_read() -> None:
    world = World()
    await world.near.load(["a", "b"])
    world.clock.advance(1)
    world.store.gate.clear()
    asking = [asyncio.create_task(world.near.load(["a", "b"])) for _ in range(50)]
    await asyncio.sleep(0)
    world.store.gate.set()
    await asyncio.gather(*asking)
    assert world.store.reads == [["a", "b"]] * 2


async def test_what_others_read_meanwhile_is_not_read_again_because_ones_own_took_longer() -> None:
    world = World()
    world.store.gate.clear()
    other = asyncio.create_task(world.near.load(["a"]))
    await asyncio.sleep(0)
    slow, read = asyncio.Event(), world.store.targets

    async def slowly(ids: Sequence[str]) -> dict[str, Target]:
        found = await read(ids)
        await slow.wait()
        return found

    world.store.targets = slowly  # type: ignore[method-assign] # for this test alone
    asking = asyncio.create_task(world.near.load(["a", "b"]))
    await asyncio.sleep(0)
    world.store.gate.set()
    await other
    world.clock.advance(1)
    slow.set()
    assert {id_: shown.seq for id_, shown in (await asking).items()} == {"a": 1, "b": 1}
    assert world.store.reads == [["a"], ["b"]]


async def test_what_nobody_knows_any_more_is_read_again_by_who_waited_too() -> None:
    world = World()
    world.store.gate.clear()
    asking = [asyncio.create_task(world.near.load(["a"])) for _ in range(2)]
    await asyncio.sleep(0)
    world.near.forget("a")  # a commit of which nobody knows what became
    world.store.now["a"] = state(2, 2)
    world.store.gate.set()
    assert [shown["a"].seq for shown in await asyncio.gather(*asking)][1] == 2
    assert await world.seq() == 2


async def test_who_waited_for_a_read_that_failed_is_not_shown_what_is_old() -> None:
    world = World()
    await world.near.load(["a", "b"])
    world.clock.advance(1)
    world.store.gate.clear()
    world.store.error = Unavailable("no quorum")
    asking = [asyncio.create_task(world.near.load(["a", "b"])) for _ in range(3)]
    await asyncio.sleep(0)
    world.store.gate.set()
    failures = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(failure) for failure in failures] == [Unavailable] * 3


async def test_a_change_that_a_stream_looked_for_too_late_still_arrives() -> None:
    world = World()
    await world.near.load(["a"])
    world.near.watched.add("a")
    world.near.publish("a", state(2, 2))
    world.clock.advance(1)  # the loop was held up
    assert world.near.take_changed() == {"a"}
    assert world.near.get("a") is None, "so the stream has it read again"
    world.store.now["a"] = state(2, 2)
    await world.near.load(["a"])
    assert world.near.take_changed() == {"a"}
    assert world.near.get("a") is not None


async def test_it_is_bounded() -> None:
    world = World(entries=10)
    for n in range(30):
        world.near.publish(f"t{n}", state(1))
    assert len(world.near) == 10
    world.near.forget("gone")
    assert len(world.near) == 10


async def test_what_is_in_use_is_read_again_together_and_before_it_is_too_old() -> None:
    world = World()
    await world.near.load(["a", "b"])
    world.store.now["a"] = state(2, 2)
    world.clock.advance(0.04)
    assert world.near.get("a") is not None
    world.clock.advance(0.02)
    for _ in range(3):
        assert [world.near.get(id_) is not None for id_ in "ab"] == [True, True]
    async with asyncio.timeout(5):
        while (shown := world.near.get("a")) is None or shown.seq != 2:
            await asyncio.sleep(0)
    assert [set(read) for read in world.store.reads] == [{"a", "b"}, {"a", "b"}]
    world.clock.advance(0.05)
    assert world.near.get("a") is not None, "nobody had to wait"


async def test_all_or_none_are_here_and_what_ages_is_read_in_time() -> None:
    world = World()
    assert world.near.all(["a"]) is None
    shown = await world.near.load(["a", "b"])
    assert world.near.all(["b", "a"]) == [shown["b"], shown["a"]]
    assert world.near.all(["a", "other"]) is None
    world.clock.advance(0.06)
    assert world.near.all(["a", "b"]) is not None
    now_s = world.clock.monotonic_s()
    await until(lambda: all(one.seen_s == now_s for one in shown.values()), "both are read again")
    assert len(world.store.reads) == 2
    world.clock.advance(0.09)
    assert world.near.all(["a"]) is not None
    world.clock.advance(0.09)
    assert world.near.all(["a"]) is None
    world.near.forget("b")
    assert world.near.all(["b"]) is None


async def test_where_that_fails_whoever_asks_next_is_told() -> None:
    world = World()
    await world.seq()
    world.clock.advance(0.06)
    world.store.error = Unavailable("away")
    assert world.near.get("a") is not None
    async with asyncio.timeout(5):
        while len(world.store.reads) < 2:
            await asyncio.sleep(0)
    assert world.near.get("a") is not None, "it is still young enough"
    world.clock.advance(0.06)
    with pytest.raises(Unavailable):
        await world.seq()
    world.store.error = None
    assert await world.seq() == 1


async def test_while_the_store_is_busy_what_was_seen_lately_is_shown_and_read_beside() -> None:
    world, busy = World(), True
    near = AgingNearCache(
        world.store,
        Catalogue(),
        entries=100,
        public=True,
        max_age_s=0.1,
        clock=world.clock,
        busy=lambda: busy,
    )
    assert (await near.load(["a"]))["a"].seq == 1, "what was never seen is waited for"
    assert not near.degraded()
    world.store.now["a"] = state(2, 2)
    world.store.gate.clear()
    world.clock.advance(LATE_S - 0.01)
    assert (await near.load(["a"]))["a"].seq == 1
    assert near.degraded()
    await until(lambda: len(world.store.reads) == 2, "it is read beside")
    world.store.gate.set()
    await until(lambda: (shown := near.get("a")) is not None and shown.seq == 2, "and shown then")
    world.clock.advance(SAID_FOR_S + 0.01)
    assert not near.degraded()
    world.clock.advance(LATE_S + 0.01)
    world.store.now["a"] = state(3, 3)
    assert (await near.load(["a"]))["a"].seq == 3, "too old to be shown"


async def test_a_store_that_takes_no_more_is_not_asked_for_what_was_seen_lately() -> None:
    world = World()
    await world.near.load(["a"])
    world.store.error = Overloaded("too many wait")
    world.clock.advance(1)
    assert await world.seq() == 1
    assert world.near.degraded()
    with pytest.raises(Overloaded):
        await world.near.load(["a", "b"])
    world.clock.advance(LATE_S)
    with pytest.raises(Overloaded):
        await world.near.load(["a"])
