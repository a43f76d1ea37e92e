"""Watches in Redis: where their keys are, what they take, and what happens to one that cannot be read."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from plaudit.adapters.redis import RedisBatches, Session
from plaudit.adapters.redis import batches as module
from plaudit.adapters.redis.batches import SHARDS, shard_of, watch_key
from plaudit.domain.watch import UNSEEN, Seen, Watch, Window, unpack
from plaudit.ports.batches import Change, Stored
from tests.engines.redis import Redis
from tests.support.clock import ManualClock
from tests.support.redis import emptied, master_of, open_session

pytestmark = pytest.mark.usefixtures("patient_redis")

KIB = 1024


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def session(redis: Redis, anyio_backend: str) -> AsyncIterator[Session]:
    async with open_session(emptied(redis)) as opened:
        yield opened


def crowd(size: int) -> Watch:
    """What is remembered of a target with so many reactors in its window, and as many told of before."""
    seen = {f"user-{n:08}": Seen(0, 1, n) for n in range(size)}
    return Watch({}, Window(1, 2, 0, 1, seen, size > 1), 1, 7, {f"told-{n:08}": n for n in range(size)})


async def test_every_key_of_a_shard_is_in_one_slot_and_stays(
    redis: Redis, session: Session, clock: ManualClock
) -> None:
    batches = RedisBatches(session, clock)
    names = [f"post:{n}" for n in range(500)]
    await batches.save([Change(name, 0, UNSEEN, n if n % 2 else None, n) for n, name in enumerate(names)])
    await batches.claim(1000, 30, 100)
    assert {shard_of(name) for name in names} == set(range(SHARDS))
    for name in names[:20]:
        shard = shard_of(name)
        node = master_of(redis, watch_key(name))
        keys = [watch_key(name), f"notification_due:{{w{shard}}}", f"notification_forget:{{w{shard}}}"]
        assert [redis.ask(node, "EXISTS", key).strip() for key in keys] == ["1"] * 3
        assert [redis.ask(node, "TTL", key).strip() for key in keys] == ["-1"] * 3


@pytest.mark.parametrize(("reactors", "kib"), [(1, 0.4), (1000, 64)])
async def test_a_watch_is_small_whatever_the_crowd(
    redis: Redis, session: Session, clock: ManualClock, reactors: int, kib: float
) -> None:
    await RedisBatches(session, clock).save([Change("post:1", 0, crowd(reactors), 2, 0)])
    key = watch_key("post:1")
    used = int(redis.ask(master_of(redis, key), "MEMORY", "USAGE", key))
    assert used < kib * KIB


async def test_a_watch_that_cannot_be_read_begins_anew_under_its_version(
    redis: Redis, session: Session, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    batches, key = RedisBatches(session, clock), watch_key("bad")
    await batches.save([Change("bad", 0, crowd(1), 2, 0)])
    redis.ask(master_of(redis, key), "SETRANGE", key, "8", "broken")
    assert await batches.claim(2, 30, 10) == [("bad", Stored(UNSEEN, 1))]
    assert "the watch of bad begins anew" in caplog.text
    assert await batches.save([Change("bad", 1, UNSEEN, None, 0)]) == []


async def test_what_a_lost_answer_had_saved_is_moved_on(session: Session, clock: ManualClock) -> None:
    """The same save again, as after an answer that never came: refused, and what is there is what was saved."""
    batches, change = RedisBatches(session, clock), Change("a", 0, crowd(2), 2, 0)
    assert await batches.save([change]) == []
    assert await batches.save([change]) == ["a"]
    assert await batches.load(["a"]) == {"a": Stored(crowd(2), 1)}


async def test_who_was_not_the_quickest_gets_others(session: Session, clock: ManualClock) -> None:
    batches = [RedisBatches(session, clock) for _ in range(3)]
    await batches[0].save([Change(f"t{n}", 0, UNSEEN, n, 0) for n in range(400)])
    claims = await asyncio.gather(*(each.claim(1000, 30, 50) for each in batches))
    assert all(claims)
    names = [target for claimed in claims for target, _ in claimed]
    assert len(names) == len(set(names))


async def test_what_is_remembered_of_a_crowd_is_what_is_stored_whoever_stored_it(
    session: Session, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no more of it than may be: the other watches are unpacked."""
    unpacked = list[bytes]()

    def counted(body: bytes) -> Watch:
        unpacked.append(body)
        return unpack(body)

    monkeypatch.setattr(module, "unpack", counted)
    ours, others = RedisBatches(session, clock), RedisBatches(session, clock)
    await ours.save([Change("crowd", 0, crowd(500), 2, 0)])
    assert await ours.load(["crowd"]) == {"crowd": Stored(crowd(500), 1)}
    assert not unpacked
    await others.save([Change("crowd", 1, crowd(501), 2, 0)])
    assert await ours.save([Change("crowd", 1, crowd(502), 2, 0)]) == ["crowd"]
    assert await ours.load(["crowd"]) == {"crowd": Stored(crowd(501), 2)}
    assert len(unpacked) == 1
    names = [f"crowd{n}" for n in range(10)]
    monkeypatch.setattr(module, "REMEMBERED_BYTES", 3.5 * len(unpacked[0]))
    await ours.save([Change(name, 0, crowd(500), 2, 0) for name in names])
    await ours.save([Change(name, 1, crowd(500), 2, 0) for name in reversed(names)])
    assert await ours.load(names) == dict.fromkeys(names, Stored(crowd(500), 2))
    assert len(unpacked) == 1 + 10 - 3
