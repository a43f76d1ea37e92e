"""The near cache never shows less than what this process has answered."""

import asyncio
import random
from collections.abc import Sequence

import msgspec
import pytest

from plaudit.domain.catalogue import Catalogue, Registration
from plaudit.domain.cell import Header
from plaudit.domain.errors import Corrupt, Unavailable
from plaudit.ports.ledger import Target
from plaudit.services.near import NearCache


def state(seq: int, likes: int = 0) -> Target:
    return Target(Header(seq=seq, type="post", counts=(likes,), rows=likes))


class SlowStore:
    """A store whose reads see the state of when they began and end when the test says so."""

    def __init__(self, **targets: Target) -> None:
        self.targets_now = targets
        self.reads: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.damaged: set[str] = set()

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        self.reads.append(list(ids))
        seen = {id_: self.targets_now[id_] for id_ in ids if id_ in self.targets_now}
        await self.gate.wait()
        if self.damaged & {*ids}:
            raise Corrupt("a header")
        if self.error is not None:
            raise self.error
        return seen


def cache(store: SlowStore, entries: int = 100, *, public: bool = True) -> NearCache:
    return NearCache(store, Catalogue(), entries=entries, public=public)


async def test_what_is_missing_is_read_once_and_then_known() -> None:
    store = SlowStore(a=state(3, 2))
    near = cache(store)
    shown = await near.load(["a", "nobody"])
    assert [one.seq for one in shown.values()] == [3, 0]
    assert list(await near.load(["nobody", "a"])) == ["nobody", "a"], "in the order asked for"
    assert store.reads == [["a", "nobody"]]
    assert msgspec.json.decode(shown["a"].counts)["reactions"]["like"] == 2
    assert shown["a"].member == b'"a":' + shown["a"].counts


async def test_many_who_ask_at_once_cost_one_read() -> None:
    store = SlowStore(a=state(1), b=state(1))
    near = cache(store)
    store.gate.clear()
    asking = [asyncio.create_task(near.load(["a", "b"])) for _ in range(50)]
    await asyncio.sleep(0)
    store.gate.set()
    await asyncio.gather(*asking)
    assert store.reads == [["a", "b"]]


async def test_who_goes_away_while_they_wait_for_another_fails_nobody() -> None:
    store = SlowStore(a=state(1))
    near = cache(store)
    store.gate.clear()
    first, gone, there = [asyncio.create_task(near.load(["a"])) for _ in range(3)]
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    store.gate.set()
    assert [shown["a"].seq for shown in await asyncio.gather(first, there)] == [1, 1]
    assert len(store.reads) == 1


async def test_a_commit_during_a_read_wins_over_what_is_read() -> None:
    store = SlowStore(a=state(1))
    near = cache(store)
    store.gate.clear()
    asking = asyncio.create_task(near.load(["a"]))
    await asyncio.sleep(0)
    near.publish("a", state(2, 1))
    store.gate.set()
    assert (await asking)["a"].seq == 2
    shown = near.get("a")
    assert shown is not None
    assert shown.seq == 2


async def test_of_two_commits_the_newer_one_stays() -> None:
    near = cache(SlowStore())
    near.publish("a", state(5))
    assert near.publish("a", state(4)).seq == 5


async def test_a_failed_read_fails_who_asked_and_nobody_after() -> None:
    store = SlowStore(a=state(1))
    near = cache(store)
    store.error = Unavailable("no disk")
    with pytest.raises(Unavailable):
        await near.load(["a"])
    store.error = None
    assert (await near.load(["a"]))["a"].seq == 1


async def test_a_failed_read_is_not_repeated_by_each_of_those_who_waited_for_it() -> None:
    store = SlowStore(a=state(1), b=state(1))
    near = cache(store)
    store.gate.clear()
    store.error = Unavailable("no disk")
    asking = [asyncio.create_task(near.load(["a", "b"])) for _ in range(5)]
    await asyncio.sleep(0)
    store.gate.set()
    failures = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(failure) for failure in failures] == [Unavailable] * 5
    assert store.reads == [["a", "b"]]


async def test_it_is_bounded_and_the_oldest_leaves() -> None:
    near = cache(SlowStore(), entries=10)
    for n in range(30):
        near.publish(f"t{n}", state(1))
    assert len(near) == 10
    assert near.get("t0") is None
    assert near.get("t29") is not None


async def test_only_targets_that_anybody_may_see_are_public() -> None:
    secret = Target(Header(seq=1, type="message"), Registration(type="message"))
    near = cache(SlowStore())
    assert near.publish("open", state(1)).public
    assert not near.publish("message", secret).public
    assert not cache(SlowStore(), public=False).publish("open", state(1)).public


async def test_a_type_that_needs_a_grant_stays_guarded_without_a_registration() -> None:
    deleted = Target(Header(seq=2, type="message", deleted=2))
    shown = cache(SlowStore()).publish("message", deleted)
    assert (shown.guarded, shown.public) == (True, False), "reads and taps decide by one rule"


async def test_what_nobody_knows_the_outcome_of_is_read_again() -> None:
    store = SlowStore(a=state(2, 1))
    near = cache(store)
    near.publish("a", state(1))
    near.forget("a")
    assert (await near.load(["a"]))["a"].seq == 2


async def test_a_reader_never_goes_back_whatever_the_order_of_reads_and_commits() -> None:
    chance = random.Random(1)
    store = SlowStore(a=state(1))
    near = cache(store, entries=2)
    seq, last = 1, 0
    asking: set[asyncio.Task[int]] = set()

    async def ask() -> int:
        return (await near.load(["a"]))["a"].seq

    for _ in range(2000):
        match chance.randrange(5):
            case 0:
                seq += 1
                store.targets_now["a"] = state(seq)  # the commit is in the store before it is published
                near.publish("a", state(seq))
                last = seq
            case 1:
                near.publish(f"other{chance.randrange(9)}", state(1))  # pushes `a` out
            case 2:
                store.gate.set() if chance.random() < 0.5 else store.gate.clear()
            case 3:
                asking.add(asyncio.create_task(ask()))
            case _:
                await asyncio.sleep(0)
        if (shown := near.get("a")) is not None:
            assert shown.seq >= last, "older than a commit that was answered"
    store.gate.set()
    assert max(await asyncio.gather(*asking)) <= seq
    assert await ask() == seq


async def damaged_of(near: NearCache, *ids: str) -> list[str]:
    with pytest.raises(Corrupt) as failed:
        await near.load(ids)
    return list(failed.value.targets)


async def test_damaged_targets_are_named_and_the_others_are_known_then() -> None:
    names = [f"t{n}" for n in range(20)]
    store = SlowStore(**{name: state(1) for name in names})
    store.damaged = {"t3", "t17"}
    near = cache(store)
    assert await damaged_of(near, *names) == ["t3", "t17"]
    store.reads.clear()
    assert len(await near.load([name for name in names if name not in store.damaged])) == 18
    assert store.reads == []
    assert await damaged_of(near, *names) == ["t3", "t17"]
    assert {name for read in store.reads for name in read} == store.damaged


async def test_a_damaged_target_fails_only_those_who_ask_for_it() -> None:
    store = SlowStore(a=state(1), b=state(1), bad=state(1))
    store.damaged = {"bad", "worse"}
    near = cache(store)
    store.gate.clear()
    first = asyncio.create_task(damaged_of(near, "a", "bad", "worse"))
    await asyncio.sleep(0)
    others = [asyncio.create_task(near.load(ids)) for ids in (["a"], ["b", "a"])]
    also = asyncio.create_task(damaged_of(near, "b", "bad"))
    await asyncio.sleep(0)
    store.gate.set()
    assert await first == ["bad", "worse"]
    assert [[*found] for found in await asyncio.gather(*others)] == [["a"], ["b", "a"]]
    assert await also == ["bad"], "nobody is told of what others asked for"
    assert store.reads.count(["a"]) + store.reads.count(["b"]) <= 2, "each once"
