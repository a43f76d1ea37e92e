"""The demo's crowd: bounded, on the way of every tap, and honest about what it did."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Catalogue
from plaudit.services import viral
from plaudit.services.commit import Committer
from plaudit.services.near import NearCache
from plaudit.services.react import React
from plaudit.services.viral import CROWD, PREFIX, Viral
from plaudit.telemetry import Metrics
from tests.support.stores import Stores, sqlite_stores
from tests.support.wait import until

TAPS = 120


def crowd(stores: Stores, taps: int = TAPS) -> tuple[Viral, React]:
    catalogue, clock = Catalogue(), SystemClock()
    near = NearCache(stores.counters, catalogue, entries=1000, public=True)
    react = React(Committer(stores.ledger, near, clock, Metrics()), catalogue)
    return Viral(react, stores.intake, clock, catalogue.given("post"), taps=taps, lasts_s=0.3), react


async def test_a_run_taps_as_often_as_planned_and_says_what_it_cost(tmp_path: Path) -> None:
    async with sqlite_stores(tmp_path, SystemClock()) as stores:
        run, _ = crowd(stores)
        assert run.look().slices == []
        assert run.start("demo:t")
        assert not run.start("demo:u"), "one at a time"
        await until(lambda: not run.look().running, "it ends")
        look = run.look()
        assert (look.target, look.taps, look.planned) == ("demo:t", TAPS, TAPS)
        assert sum(slice_.taps for slice_ in look.slices) == TAPS
        assert sum(await stores.counts("demo:t")) == TAPS
        header = (await stores.target("demo:t")).header
        assert header is not None
        assert max(slice_.version for slice_ in look.slices) == header.seq
        assert all(slice_.p99_ms >= slice_.p50_ms > 0 for slice_ in look.slices if slice_.taps)
        names = await stores.directory.profiles([user for user, _ in header.recent])
        assert [profile.name is not None for profile in names.values()] == [True] * 3


async def test_another_run_is_of_other_users_until_all_had_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viral, "CROWD", 150)
    async with sqlite_stores(tmp_path, SystemClock()) as stores:
        run, _ = crowd(stores)
        for total in (120, 150):
            run.start("demo:t")
            await until(lambda: not run.look().running, "it ends")
            assert sum(await stores.counts("demo:t")) == total


async def test_what_is_refused_is_not_counted(tmp_path: Path) -> None:
    async with sqlite_stores(tmp_path, SystemClock()) as stores:
        run, react = crowd(stores)
        await react.stop()
        run.start("demo:t")
        await until(lambda: not run.look().running, "it ends")
        look = run.look()
        assert (look.taps, sum(slice_.refused for slice_ in look.slices)) == (0, TAPS)
        assert await stores.counts("demo:t") == ()


async def test_it_stops_when_told_to(tmp_path: Path) -> None:
    async with sqlite_stores(tmp_path, SystemClock()) as stores:
        run, _ = crowd(stores, taps=4000)
        await run.stop()
        run.start("demo:t")
        await until(lambda: run.look().taps > 0, "it taps")
        async with asyncio.timeout(5):
            await run.stop()
        assert not run.look().running
        assert run.look().taps < 4000


def test_a_run_begins_with_few_and_ends_with_all() -> None:
    shares = [viral._due(at / 100) for at in range(101)]
    assert (shares[0], shares[100], viral._due(7.0)) == pytest.approx((0, 1, 1))
    assert all(one < other for one, other in pairwise(shares))
    assert shares[25] < 0.12
    assert shares[75] > 0.88


def test_a_name_is_always_the_same_and_there_are_many() -> None:
    names = {viral._name(f"{PREFIX}{number:05d}") for number in range(CROWD)}
    assert len(names) > 80
    assert viral._name(f"{PREFIX}00007") == viral._name(f"{PREFIX}00007")
