"""Notifiers over real Redis and Cassandra: they die anywhere, Redis forgets, many share the work. All are told once."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from plaudit.adapters.redis.batches import watch_key
from plaudit.domain.errors import Unavailable
from plaudit.domain.events import Committed
from plaudit.domain.windows import collapse_id
from plaudit.telemetry import Metrics
from tests.engines.cassandra import Cassandra
from tests.engines.redis import Redis
from tests.support.clock import ManualClock
from tests.support.installation import job
from tests.support.notifier_cluster import LATER_S, Died, Shared, drain, shared, told
from tests.support.notifying import own
from tests.support.redis import master_of
from tests.support.taps import LIKE, LOVE, set_to

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def all_(
    cassandra: Cassandra, redis: Redis, tmp_path: Path, clock: ManualClock, anyio_backend: str
) -> AsyncIterator[Shared]:
    async with shared(cassandra, redis, tmp_path, clock) as opened:
        yield opened


async def test_a_window_becomes_one_message_whoever_closes_it(all_: Shared, clock: ManualClock) -> None:
    await own(all_.stores, "t")
    opened = clock.now_us()
    await all_.stores.tap("t", set_to("ann", LIKE), set_to("bob", LIKE))
    await all_.notifier().handle(await all_.new_events())
    clock.advance(10)
    await all_.stores.tap("t", set_to("cid", LOVE), set_to("ann", 0))
    await all_.notifier().handle(await all_.new_events())
    clock.advance(19)
    await drain(all_.notifier())
    assert await all_.inbox("owner") == []
    clock.advance(2)
    await drain(all_.notifier())
    [found] = await all_.inbox("owner")
    assert (found.id, found.split) == (collapse_id("t", "owner", opened), {LIKE: 1, LOVE: 1})
    assert (found.sample, found.title) == ((("cid", LOVE), ("bob", LIKE)), "Title of t")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_notifier_that_dies_at_any_step_leaves_its_windows_to_another(
    all_: Shared, clock: ManualClock, after: bool
) -> None:
    step = 0
    while True:
        step += 1
        target, owner = f"t{step}", f"owner{step}"
        await own(all_.stores, target, owner=owner)
        await all_.stores.tap(target, set_to("ann", LIKE), set_to("bob", LOVE))
        one, other = all_.notifier(dies_at=step, after=after), all_.notifier()
        events, died = await all_.new_events(), False
        try:
            await one.handle(events)
            clock.advance(LATER_S)
            await drain(one)
        except Died:
            died = True
        await other.handle(events)  # what was not marked as done comes again
        for _ in range(3):
            clock.advance(LATER_S)
            await drain(other)
        [found] = await all_.inbox(owner)
        assert (found.total, found.split) == (2, {LIKE: 1, LOVE: 1}), step
        if not died:
            break
    assert step >= 7
    assert (await all_.notices.deliveries.waiting())["webhook"] == step


async def test_taps_that_come_after_a_notifier_died_are_a_message_of_their_own(
    all_: Shared, clock: ManualClock
) -> None:
    """It had told the owner and not yet said so in Redis."""
    await own(all_.stores, "t")
    await all_.stores.tap("t", set_to("ann", LIKE))
    one = all_.notifier(dies_at=7)  # loads, told, save; claim, told, inbox: save
    await one.handle(await all_.new_events())
    clock.advance(LATER_S)
    with pytest.raises(Died):
        await drain(one)
    assert told(await all_.inbox("owner")) == 1
    await all_.stores.tap("t", set_to("bob", LIKE))
    other = all_.notifier()
    await other.handle(await all_.new_events())
    for _ in range(9):
        clock.advance(LATER_S)
        await drain(other)
        assert told(await all_.inbox("owner")) == 1, "the next window has five minutes"
    clock.advance(LATER_S)
    await drain(other)
    found = await all_.inbox("owner")
    assert [message.sample for message in found] == [(("bob", LIKE),), (("ann", LIKE),)]


async def test_a_window_that_is_closed_while_its_target_is_deleted_leaves_nothing(
    all_: Shared, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who closes it saw the target before; so the job takes back what was told once more, when nobody can any more."""
    await own(all_.stores, "t")
    await all_.stores.tap("t", set_to("ann", LIKE))
    notifier, put = all_.notifier(), all_.notices.inbox.put
    await notifier.handle(await all_.new_events())
    clock.advance(LATER_S)
    at_it, go_on = asyncio.Event(), asyncio.Event()

    async def held_up(*values: Any) -> None:
        at_it.set()
        await go_on.wait()
        await put(*values)

    with monkeypatch.context() as patch:
        patch.setattr(all_.notices.inbox, "put", held_up)
        closing = asyncio.create_task(drain(notifier))
        await at_it.wait()
        await all_.stores.removals.begin_purge("t", job("delete_target", "t"))
        assert await all_.notices.take_back("t", last=False) == 0
        assert await all_.stores.removals.purge_some("t", 10) == 1
        go_on.set()
        await closing
    assert [message.target for message in await all_.inbox("owner")] == ["t"]
    assert await all_.notices.take_back("t", last=True) == 1
    assert await all_.inbox("owner") == []
    clock.advance(130)
    assert await all_.notices.deliveries.claim("webhook", clock.now_us(), 30, 9) == []
    assert await all_.notices.deliveries.waiting() == {"dead": 0}

    await own(all_.stores, "t")
    await all_.stores.tap("t", set_to("ann", LIKE))
    await notifier.handle(await all_.new_events())
    clock.advance(LATER_S)
    await drain(notifier)
    assert [message.sample for message in await all_.inbox("owner")] == [(("ann", LIKE),)]


@pytest.mark.parametrize("seed", range(3))
async def test_redis_forgets_open_windows_and_nobody_is_told_twice_or_forgotten(
    all_: Shared, clock: ManualClock, seed: int
) -> None:
    chance = random.Random(seed)
    names = [f"t{n}" for n in range(8)]
    for name in names:
        await own(all_.stores, name, owner=f"owner of {name}")
    reactors: dict[str, set[str]] = {name: set() for name in names}
    notifier = all_.notifier()
    for turn in range(12):
        for name in chance.sample(names, 4):
            user = f"u{chance.randrange(12)}"
            await all_.stores.tap(name, set_to(user, LIKE))
            reactors[name].add(user)
        await notifier.handle(await all_.new_events())
        clock.advance(chance.choice([3.5, 9, 20]))
        await drain(notifier)
        if turn in {4, 8}:
            all_.forget()
            notifier = chance.choice([notifier, all_.notifier()])
            # The consumer goes back; partitions do not keep their places among each other.
            batches = [[e for e in all_.events if e.target == name] for name in names]
            chance.shuffle(batches)
            for batch in batches:
                await notifier.handle(batch[: len(batch) // 2])
                await notifier.handle(batch)
    for _ in range(10):
        clock.advance(400)
        await drain(notifier)
    for name in names:
        assert told(await all_.inbox(f"owner of {name}")) == len(reactors[name]), name


async def test_a_master_of_redis_dies_within_a_window(all_: Shared, clock: ManualClock) -> None:
    names = [f"t{n}" for n in range(30)]
    await own(all_.stores, *names)
    for name in names:
        await all_.stores.tap(name, set_to("ann", LIKE))
    notifier = all_.notifier()
    await notifier.handle(await all_.new_events())
    node = all_.redis.nodes[master_of(all_.redis, watch_key("t0"))]
    node.kill()
    try:
        for name in names:
            await all_.stores.tap(name, set_to("bob", LIKE))
        await all_.new_events()

        async def handled() -> None:
            """As the consumer does: the same until it works, and then what was done just before once more."""
            while True:
                try:
                    await notifier.handle(all_.events)
                    return
                except Unavailable:
                    await asyncio.sleep(0.1)

        await asyncio.wait_for(handled(), 60)
        clock.advance(LATER_S)
        await drain(notifier)
    finally:
        all_.redis.start()
    found = await all_.inbox("owner")
    assert sorted(message.target for message in found) == sorted(names)
    assert {message.total for message in found} == {2}


async def test_two_notifiers_share_a_thousand_windows(all_: Shared, clock: ManualClock) -> None:
    names = [f"t{n}" for n in range(1000)]
    await own(all_.stores, *names)
    for name in names:
        await all_.stores.tap(name, set_to("ann", LIKE))
    ones, others = Metrics(), Metrics()
    one, other = all_.notifier(metrics=ones), all_.notifier(metrics=others)
    events = await all_.new_events()
    await asyncio.gather(one.handle(events[:1100]), other.handle(events[900:]))
    clock.advance(LATER_S)
    await asyncio.gather(drain(one), drain(other))
    assert ones.notifications["told"] + others.notifications["told"] == 1000
    assert min(ones.notifications["told"], others.notifications["told"]) >= 200
    assert (await all_.notices.deliveries.waiting())["webhook"] == 1000
    assert len(await all_.inbox("owner")) == 500, "the newest"


@pytest.mark.parametrize("seed", range(3))
async def test_events_overtake_one_another_and_nobody_is_missed_or_told_twice(
    all_: Shared, clock: ManualClock, seed: int
) -> None:
    """Of one target and many, to two notifiers, and all of it again."""
    chance = random.Random(seed)
    names = [f"t{n}" for n in range(8)]
    for name in names:
        await own(all_.stores, name, owner=f"owner of {name}")
    ones, others = all_.notifier(), all_.notifier()
    held: list[Committed] = []
    for turn in range(12):
        for n in range(20):
            await all_.stores.tap(chance.choice(names), set_to(f"u{turn}-{n}", LIKE))
        held += await all_.new_events()
        chance.shuffle(held)
        come, held = held[:20], held[20:]
        for start in range(0, len(come), 7):
            await chance.choice([ones, others]).handle(come[start : start + 7])
        clock.advance(chance.choice([0.5, 9, 31]))
        await drain(chance.choice([ones, others]))
    await ones.handle(held)
    await others.handle(all_.events)
    for _ in range(10):
        clock.advance(400)
        await drain(ones)
        await others.handle(all_.events[-40:])
    assert sum([told(await all_.inbox(f"owner of {name}")) for name in names]) == 12 * 20


async def test_windows_are_not_closed_while_old_events_come_again(all_: Shared, clock: ManualClock) -> None:
    await own(all_.stores, "a", "b")
    await all_.stores.tap("a", set_to("ann", LIKE))
    clock.advance(5)
    await all_.stores.tap("a", set_to("ann", 0))
    events = await all_.new_events()
    clock.advance(3600)
    notifier = all_.notifier()
    await notifier.handle(events[:-1])
    assert not await notifier.close(), "ann's tap is as far as it has read"
    await notifier.handle(events)
    clock.advance(4)
    await drain(notifier)
    assert await all_.inbox("owner") == []


async def test_a_crowd_that_fights_for_one_watch_tries_again(all_: Shared, clock: ManualClock) -> None:
    await own(all_.stores, "t")
    notifiers = [all_.notifier() for _ in range(4)]
    for n in range(40):
        await all_.stores.tap("t", set_to(f"u{n}", LIKE))
    events = await all_.new_events()

    async def handle(n: int) -> None:
        for event in events:
            try:
                await notifiers[n].handle([event])
            except Unavailable:
                await notifiers[n].handle([event])

    await asyncio.gather(*map(handle, range(4)))
    clock.advance(LATER_S)
    await drain(notifiers[0])
    assert [message.total for message in await all_.inbox("owner")] == [40]
