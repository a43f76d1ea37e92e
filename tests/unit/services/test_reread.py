"""Reread: what is watched is read again and again, in bounded rounds."""

import logging

import pytest

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.errors import Unavailable
from plaudit.services.aging import AgingNearCache
from plaudit.services.reread import Reread
from tests.support.clock import ManualClock
from tests.support.redis import state
from tests.support.totals import SlowLedger
from tests.support.wait import until


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = SlowLedger(a=state(1, 1), b=state(1, 1))
        self.near = AgingNearCache(
            self.store, Catalogue(), entries=1000, public=True, max_age_s=0.1, clock=self.clock
        )


async def test_a_round_reads_what_is_watched_in_one_read_and_notes_what_changed() -> None:
    world = World()
    await world.near.load(["a", "b", "c"])
    world.near.watched |= {"a", "b"}
    world.store.now["b"] = state(2, 2)
    world.clock.advance(0.25)
    await Reread(world.near).round()
    assert [sorted(ids) for ids in world.store.reads[1:]] == [["a", "b"]]
    changed = world.near.take_changed()
    assert "b" in changed
    assert [shown.seq for id_ in sorted(changed) if (shown := world.near.get(id_))] == [1, 2]


async def test_what_somebody_else_has_just_read_is_not_read_again() -> None:
    world = World()
    world.near.watched.add("a")
    await world.near.load(["a"])
    await Reread(world.near).round()
    assert len(world.store.reads) == 1


async def test_nothing_watched_reads_nothing() -> None:
    world = World()
    await Reread(world.near).round()
    assert world.store.reads == []


async def test_where_too_many_are_watched_they_have_their_turns() -> None:
    world = World()
    all_ = {f"t{n}" for n in range(250)}
    world.near.watched |= all_
    reread = Reread(world.near, per_round=120)
    seen: list[str] = []
    for n, size in enumerate([120, 120, 10]):
        world.clock.advance(0.25)
        world.store.reads.clear()
        await reread.round()
        read = [id_ for ids in world.store.reads for id_ in ids]
        assert len(read) == size, f"round {n}"
        assert max(len(ids) for ids in world.store.reads) <= 100
        seen += read
    assert sorted(seen) == sorted(all_)


async def test_it_goes_on_after_a_failure_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.near.watched.add("a")
    world.store.error = Unavailable("no quorum")
    with caplog.at_level(logging.WARNING, "plaudit.reread"):
        async with Reread(world.near, every_s=0.001):
            await until(lambda: len(world.store.reads) > 3, "it goes on")
            world.store.error = None
            await until(lambda: world.near.take_changed() == {"a"}, "it reads again")
            world.store.now["a"] = state(2, 2)
            world.clock.advance(1)
            await until(lambda: world.near.take_changed() == {"a"}, "and again")
    assert len(caplog.records) == 1
