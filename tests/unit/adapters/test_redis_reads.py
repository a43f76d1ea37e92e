"""Reads that travel together."""

import asyncio

import pytest

from plaudit.adapters.redis.reads import AT_ONCE, Reads, Values
from plaudit.domain.errors import Unavailable

MOST = 6


class Store:
    """Answers when it is let go on."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.go = asyncio.Event()
        self.fail = False

    async def read(self, keys: list[str]) -> Values:
        self.asked.append(keys)
        await self.go.wait()
        if self.fail:
            raise Unavailable("away")
        return [key.encode() if key != "missing" else None for key in keys]


async def settle() -> None:
    """Let everything go as far as it gets."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_asked_in_one_turn_travels_together_and_everybody_gets_their_own() -> None:
    store = Store()
    reads = Reads(store.read, MOST)
    one, other = reads.get(["a", "missing"]), reads.get(["b", "a"])
    store.go.set()
    assert await one == [b"a", None]
    assert await other == [b"b", b"a"]
    assert store.asked == [["a", "missing", "b", "a"]]


async def test_what_comes_while_enough_are_under_way_rides_with_the_next() -> None:
    store = Store()
    reads = Reads(store.read, MOST)
    first = []
    for n in range(AT_ONCE):
        first.append(reads.get([f"first{n}"]))
        await settle()
    later = [reads.get([f"later{n}"]) for n in range(MOST + 1)]
    await settle()
    assert len(store.asked) == AT_ONCE
    store.go.set()
    assert await asyncio.gather(*first, *later)
    assert [len(keys) for keys in store.asked] == [*[1] * AT_ONCE, MOST, 1]


async def test_one_caller_may_ask_for_more_than_travels_together() -> None:
    store = Store()
    store.go.set()
    reads = Reads(store.read, MOST)
    many = [str(n) for n in range(2 * MOST)]
    assert await reads.get(many) == [key.encode() for key in many]


async def test_a_failure_is_told_to_all_who_rode_along_and_to_nobody_else() -> None:
    store = Store()
    reads = Reads(store.read, MOST)
    one, other = reads.get(["a"]), reads.get(["b"])
    store.fail = True
    store.go.set()
    for answer in (one, other):
        with pytest.raises(Unavailable):
            await answer
    store.fail = False
    assert await reads.get(["c"]) == [b"c"]


async def test_whoever_goes_away_takes_nothing_from_the_others() -> None:
    store = Store()
    reads = Reads(store.read, MOST)
    gone, stays = reads.get(["a"]), reads.get(["b"])
    await settle()
    gone.cancel()
    store.go.set()
    assert await stays == [b"b"]


async def test_whoever_went_away_before_their_turn_is_not_asked_for() -> None:
    store = Store()
    reads = Reads(store.read, MOST)
    for n in range(AT_ONCE):
        reads.get([f"first{n}"])
        await settle()
    gone = [reads.get(["gone"]) for _ in range(100)]
    stays = reads.get(["stays"])
    for answer in gone:
        answer.cancel()
    store.go.set()
    assert await stays == [b"stays"]
    assert store.asked[AT_ONCE:] == [["stays"]]


async def test_no_more_wait_than_there_is_room_for() -> None:
    store = Store()
    reads = Reads(store.read, MOST, most_waiting=4)
    under_way = []
    for n in range(AT_ONCE):
        under_way.append(reads.get([f"first{n}"]))
        await settle()
    waiting = [reads.get(["a", "b"]), reads.get(["c", "d", "e"])]
    with pytest.raises(Unavailable):
        reads.get(["f"])
    store.go.set()
    assert await asyncio.gather(*under_way, *waiting)
    assert await reads.get(["f"]) == [b"f"], "there is room again"
