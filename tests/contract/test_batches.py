"""What `plaudit.ports.batches.Batches` promises."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from plaudit.adapters.redis import RedisBatches
from plaudit.adapters.sqlite import SqliteBatches
from plaudit.domain.watch import REACH, CellCounts, Watch, Window
from plaudit.ports.batches import Change, Stored
from tests.support.clock import ManualClock
from tests.support.notifying import own
from tests.support.redis import emptied, open_session
from tests.support.stores import Stores, sqlite_stores

pytestmark = pytest.mark.usefixtures("patient_redis")

HOUR = 3600 * 1_000_000


PROFILES = ("sqlite", "redis")


@pytest.fixture
async def stores(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock, anyio_backend: str
) -> AsyncIterator[Stores]:
    async with sqlite_stores(tmp_path, clock) as embedded:
        if request.param == "sqlite":
            yield embedded
            return
        async with open_session(emptied(request.getfixturevalue("redis"))) as session:
            yield replace(embedded, batches=RedisBatches(session, clock))


def watch(level: int = 0, due: int | None = None) -> Watch:
    window = None if due is None else Window(due - 1, due, 0, 1, {}, False)
    missing = (1 << REACH) - 1  # as much as there can be
    return Watch({3: CellCounts(1 << 53, (1,), (2,), missing, 0)}, window, level, 7, {"ann": 1})


def change(
    target: str, version: int = 0, *, level: int = 0, due: int | None = None, forget_at: int = 0
) -> Change:
    return Change(target, version, watch(level, due), due, forget_at)


async def due_targets(stores: Stores, until: int, limit: int = 100, lease_s: float = 30) -> list[str]:
    return [target for target, _ in await stores.batches.claim(until, lease_s, limit)]


async def next_due(stores: Stores) -> int | None:
    assert isinstance(stores.batches, SqliteBatches | RedisBatches)
    return await stores.batches.next_due()


async def test_what_is_saved_is_loaded(stores: Stores) -> None:
    await own(stores, "a", "b", "c")
    assert await stores.batches.save([change("a", level=1), change("b", due=9)]) == []
    assert await stores.batches.load(["c", "b", "a", "x"]) == {
        "a": Stored(watch(1), 1),
        "b": Stored(watch(0, 9), 1),
    }
    assert await stores.batches.load([]) == {}


async def test_a_save_wins_only_over_the_version_it_knows(stores: Stores) -> None:
    await own(stores, "a", "b")
    await stores.batches.save([change("a")])
    assert await stores.batches.save([change("a", 0, level=5), change("b", 0)]) == ["a"]
    assert await stores.batches.save([change("a", 2, level=5)]) == ["a"]
    assert await stores.batches.save([change("a", 1, level=2)]) == []
    assert (await stores.batches.load(["a", "b"]))["a"] == Stored(watch(2), 2)
    assert "b" in await stores.batches.load(["b"])


async def test_due_windows_come_oldest_first_and_to_one_holder(stores: Stores) -> None:
    await own(stores, "a", "b", "c", "d")
    await stores.batches.save([change("a", due=30), change("b", due=10), change("c", due=20), change("d")])
    assert await due_targets(stores, 9) == []
    assert await due_targets(stores, 20) == ["b", "c"]
    assert await due_targets(stores, 30) == ["a"]
    assert await due_targets(stores, 30) == []


async def test_the_window_that_ends_first_is_known_also_while_it_is_claimed(stores: Stores) -> None:
    assert await next_due(stores) is None
    await own(stores, "a", "b", "c")
    await stores.batches.save([change("a", due=30), change("b", due=10), change("c")])
    assert await next_due(stores) == 10
    assert await due_targets(stores, 10) == ["b"]
    assert await next_due(stores) == 10
    assert await stores.batches.save([change("b", 1)]) == []
    assert await next_due(stores) == 30


async def test_a_limit_is_kept_and_the_rest_comes_next(stores: Stores) -> None:
    names = [f"t{n}" for n in range(7)]
    await own(stores, *names)
    await stores.batches.save([change(name, due=n) for n, name in enumerate(names)])
    found = [await due_targets(stores, 100, limit=3) for _ in range(4)]
    assert found == [names[:3], names[3:6], names[6:], []]


async def test_a_lease_ends_with_time(stores: Stores, clock: ManualClock) -> None:
    await own(stores, "a")
    await stores.batches.save([change("a", due=1)])
    assert await due_targets(stores, 1, lease_s=30) == ["a"]
    clock.advance(29)
    assert await due_targets(stores, 1) == []
    clock.advance(2)
    assert await due_targets(stores, 1) == ["a"]


async def test_a_lease_ends_with_a_save_and_the_late_holder_loses(stores: Stores, clock: ManualClock) -> None:
    await own(stores, "a")
    await stores.batches.save([change("a", due=1)])
    [(_, mine)] = await stores.batches.claim(1, 5, 10)
    clock.advance(6)
    [(_, other)] = await stores.batches.claim(1, 5, 10)
    assert await stores.batches.save([change("a", other.version, due=2)]) == []
    assert await stores.batches.save([change("a", mine.version, due=3)]) == ["a"]
    assert await due_targets(stores, 2) == ["a"]


async def test_a_save_over_a_window_that_ends_as_before_leaves_its_claim(
    stores: Stores, clock: ManualClock
) -> None:
    """A tap that comes while a window is being told: nobody else tells it meanwhile."""
    await own(stores, "a")
    await stores.batches.save([change("a", due=9)])
    [(_, mine)] = await stores.batches.claim(9, 30, 10)
    assert await stores.batches.save([change("a", mine.version, level=1, due=9)]) == []
    assert await due_targets(stores, 9) == []
    assert await stores.batches.save([change("a", mine.version)]) == ["a"]
    assert await due_targets(stores, 9) == [], "what was not saved ends no claim"
    clock.advance(31)
    assert await due_targets(stores, 9) == ["a"]
    assert await stores.batches.save([change("a", 2, due=10)]) == []
    assert await due_targets(stores, 10) == ["a"], "another end, which nobody has claimed"


async def test_claims_of_many_at_once_share_what_is_due(stores: Stores) -> None:
    names = [f"t{n}" for n in range(300)]
    await own(stores, *names)
    assert await stores.batches.save([change(name, due=n) for n, name in enumerate(names)]) == []
    claims = await asyncio.gather(*(due_targets(stores, 1000, limit=40) for _ in range(20)))
    while more := await due_targets(stores, 1000):
        claims.append(more)
    assert sorted(target for claimed in claims for target in claimed) == sorted(names)


async def test_saves_at_once_over_one_version_are_won_by_one(stores: Stores) -> None:
    await own(stores, "a")
    lost = await asyncio.gather(*(stores.batches.save([change("a", level=n)]) for n in range(10)))
    assert sorted(map(len, lost)) == [0] + [1] * 9
    winner = lost.index([])
    assert await stores.batches.load(["a"]) == {"a": Stored(watch(winner), 1)}


async def test_windows_that_end_late_are_found_claimed_or_not(stores: Stores) -> None:
    await own(stores, *"abcd")
    await stores.batches.save([change("a", due=5), change("b", due=HOUR), change("c", due=7), change("d")])
    assert await due_targets(stores, 6) == ["a"]
    found = await stores.batches.ending_after(4, 10)
    assert dict(found) == await stores.batches.load(["a", "b", "c"])
    assert [target for target, _ in await stores.batches.ending_after(7, 10)] == ["b"]
    assert await stores.batches.ending_after(HOUR, 10) == []
    assert len(await stores.batches.ending_after(4, 2)) == 2


async def test_only_watches_without_a_window_are_forgotten(stores: Stores) -> None:
    await own(stores, "a", "b", "c")
    await stores.batches.save(
        [change("a", forget_at=5), change("b", forget_at=6), change("c", due=99, forget_at=1)]
    )
    assert await stores.batches.forget(4, 10) == 0
    assert await stores.batches.forget(5, 10) == 1
    assert await stores.batches.save([change("b", 1, due=98)]) == []
    assert await stores.batches.forget(HOUR, 10) == 0, "a window has opened since"
    assert list(await stores.batches.load(["a", "b", "c"])) == ["b", "c"]


async def test_a_watch_of_a_thousand_is_stored_whole(stores: Stores) -> None:
    await own(stores, "a")
    big = msgspec.structs.replace(watch(), told={f"user-{n}-ünïcode": n for n in range(1000)})
    await stores.batches.save([Change("a", 0, big, None, 1)])
    assert (await stores.batches.load(["a"]))["a"].watch == big
