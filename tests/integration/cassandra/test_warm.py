"""Warming an emptied Redis: what is kept afterwards is what the ledger says now, whatever the flushed totals said."""

from collections.abc import AsyncIterator, Mapping, Sequence
from random import Random

import msgspec
import pytest

from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Registration
from plaudit.domain.errors import Unavailable
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.ledger import Target
from plaudit.services.alter import Alter
from plaudit.services.split import Split
from plaudit.services.warm import Warm
from tests.engines.cassandra import Cassandra
from tests.engines.redis import Redis
from tests.support.redis import emptied
from tests.support.taps import LIKE, LOVE
from tests.support.town import Town, open_town

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("patient_redis")]

HOUR_US = 3_600_000_000


@pytest.fixture
async def town(cassandra: Cassandra, redis: Redis, anyio_backend: str) -> AsyncIterator[Town]:
    async with open_town(cassandra, emptied(redis)) as opened:
        yield opened


def warm(town: Town, *, since: int | None = None, per_s: float = 1e6) -> Warm:
    return Warm(town.counts, town.totals, town.lists, town.sweep, SystemClock(), since=since, per_s=per_s)


async def ledger(town: Town, names: Sequence[str]) -> dict[str, Target]:
    """What readers are to see: all of it but `last_at`, which only a commit needs."""
    found = await town.lists.targets(names)
    return {
        name: Target(msgspec.structs.replace(state.header, last_at=0), state.registration)
        for name, state in found.items()
        if state.header is not None
    }


async def test_an_emptied_redis_has_what_the_ledger_says(town: Town, redis: Redis) -> None:
    names = await town.inhabited(5)
    late = names[0]
    town.deaf = True
    await town.tap(late, eve=LIKE)  # neither the flushed total nor Redis has heard of it
    emptied(redis)
    bringing, looks = warm(town), list[tuple[int, int]]()
    await bringing.run(lambda *look: looks.append(look))
    kept = await town.totals.get(names)
    assert kept == await ledger(town, names)
    assert kept[late].header != (await town.counts.get([late]))[late].header
    assert (bringing.looked_at, bringing.brought, bringing.there) == (5, 5, 0)
    assert looks[-1][0] == looks[-1][1]
    again = warm(town)
    await again.run()
    assert (again.looked_at, again.brought, again.there) == (5, 0, 5)


async def test_what_is_shown_and_not_flushed_comes_too(town: Town, redis: Redis) -> None:
    """A registration: without it a closed target would look open, and a private one public."""
    [name] = await town.inhabited(1)
    state = await town.cells.settle(CellKey(name), [])
    assert state.header is not None
    told = Registration(type="message", owner="ann", title="t", closed=True, allowed=None)
    header = msgspec.structs.replace(state.header, seq=state.seq + 1, last_at=state.header.last_at + 1)
    assert await town.cells.propose(CellKey(name), Proposal(state.seq, header, {}, registration=told))
    emptied(redis)
    await warm(town).run()
    [kept] = (await town.totals.get([name])).values()
    assert kept.registration == told
    assert kept.header is not None
    assert kept.header.recent


async def test_nothing_newer_is_overwritten(town: Town, redis: Redis) -> None:
    """An event of a commit that was made after the header was read reaches Redis first."""
    [name] = await town.inhabited(1)
    emptied(redis)

    class Slow:
        async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
            found = await town.lists.targets(ids)
            await town.tap(name, zoe=LOVE)
            await town.settled()
            return found

    bringing = Warm(town.counts, town.totals, Slow(), town.sweep, SystemClock(), since=None)
    await bringing.run()
    assert bringing.brought == 1
    assert await town.totals.get([name]) == await ledger(town, [name])


async def test_a_split_target_comes_whole(town: Town, redis: Redis) -> None:
    [name] = await town.inhabited(1)
    split = Split(Alter(town.cells, town.publisher(), SystemClock(), Random(0)), lanes=2)
    await split.split(name)
    await split.drain()
    await town.tap(name, zoe=LOVE, yan=LIKE)
    await town.settled()
    emptied(redis)
    bringing = warm(town)
    await bringing.run()
    assert bringing.brought == 1
    assert await town.totals.get([name]) == await ledger(town, [name])
    await town.tap(name, xia=LIKE)  # the cells came too: one more event makes a whole total, and no gap
    await town.settled()
    assert await town.totals.get([name]) == await ledger(town, [name])


async def test_a_redis_that_forgot_its_last_moments_gets_them(town: Town, redis: Redis) -> None:
    [name] = await town.inhabited(1)
    before = await town.totals.get([name])
    await town.tap(name, zoe=LOVE)
    await town.settled()
    emptied(redis)
    await town.totals.put(before)  # as after a failover to a replica that was behind
    bringing = warm(town)
    await bringing.run()
    assert (bringing.brought, bringing.there) == (1, 0)
    assert await town.totals.get([name]) == await ledger(town, [name])


async def test_targets_that_nobody_touched_lately_are_left_out(town: Town, redis: Redis) -> None:
    old, new, unknown = await town.inhabited(3)
    now = SystemClock().now_us()
    for name, at in ((old, now - 48 * HOUR_US), (unknown, 0)):
        header = (await ledger(town, [name]))[name].header
        assert header is not None
        # As a flusher of before wrote it, a version later.
        moved = msgspec.structs.replace(header, seq=header.seq + 1, last_at=at)
        await town.counts.put({name: Target(moved)})
    emptied(redis)
    bringing = warm(town, since=now - 24 * HOUR_US)
    await bringing.run()
    assert (bringing.looked_at, bringing.brought) == (3, 1)
    assert set(await town.totals.get([old, new, unknown])) == {new}
    everything = warm(town)
    await everything.run()
    assert set(await town.totals.get([old, new, unknown])) == {old, new, unknown}


async def test_one_that_was_interrupted_goes_on(town: Town, redis: Redis) -> None:
    names = await town.inhabited(20)
    emptied(redis)

    class Failing:
        left = 8

        async def get(self, ids: Sequence[str]) -> dict[str, Target]:
            return await town.totals.get(ids)

        async def put(self, states: Mapping[str, Target]) -> None:
            self.left -= 1
            if self.left < 0:
                raise Unavailable("away")
            await town.totals.put(states)

    broken = warm(town)
    broken._totals = Failing()  # type: ignore[assignment] # of the port only what it uses
    with pytest.raises(Unavailable):
        await broken.run()
    assert 0 < len(await town.totals.get(names)) < 20
    second = warm(town)
    await second.run()
    assert 0 < second.looked_at < 20
    assert await town.totals.get(names) == await ledger(town, names)
    emptied(redis)
    third = warm(town)
    await third.run()
    assert third.brought == 20, "the next one begins anew"
