"""Who was erased, known without asking: nobody is missed, nobody is mistaken, and what is too old is not believed."""

from collections.abc import AsyncIterator, Collection
from random import Random

import pytest

from plaudit.domain.errors import Unavailable
from plaudit.services import erased
from plaudit.services.erased import Erased, Hashes
from tests.support.clock import ManualClock


class Noted:
    """Marks in memory, by when they were made. Says how often it was asked; `away`: it cannot be asked."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.marks: dict[str, int] = {}
        self.away = False
        self.walks = 0
        self.questions = 0

    async def mark(self, user: str, erased_at: int | None = None) -> None:
        self.marks[user] = self._clock.now_us()

    async def marked_at(self, user: str) -> int | None:
        self._check()
        self.questions += 1
        return self.marks.get(user)

    async def walk_marks(self) -> AsyncIterator[dict[str, int]]:
        self._check()
        self.walks += 1
        marks = list(self.marks.items())
        for start in range(0, len(marks), 7):
            yield dict(marks[start : start + 7])

    async def since(self, at: int) -> list[str]:
        self._check()
        return [user for user, marked_at in self.marks.items() if marked_at >= at]

    def _check(self) -> None:
        if self.away:
            raise Unavailable("away")


async def among(known: Erased, users: list[str]) -> Collection[str]:
    """Those of the users who were erased, as whoever folds taps asks."""
    return await known.verified(suspects) if (suspects := known.suspects(users)) else ()


@pytest.mark.parametrize("count", [0, 1, 3, 5_000, 70_000])
def test_hashes_have_everybody_who_was_put_in_and_nobody_else(count: int) -> None:
    users = [f"user{n}" for n in range(count)]
    half = count // 2
    hashes = Hashes(users[:half])
    assert hashes.add([*users[half:], *users[half:], *users[:3]]) == users[half:]
    assert len(hashes) == count
    assert hashes.among(users) == users
    assert hashes.among(f"other{n}" for n in range(20_000)) == []


def test_hashes_grow_one_by_one() -> None:
    hashes, random = Hashes(), Random(1)
    users = [str(random.getrandbits(64)) for _ in range(10_000)]
    for n, user in enumerate(users):
        assert hashes.add([user]) == [user]
        assert hashes.among([user, users[n // 2]]) == [user, users[n // 2]]
    assert len(hashes) == len(users)


async def test_marks_of_before_and_after_the_start_are_known() -> None:
    clock = ManualClock()
    marks, noticed = Noted(clock), list[str]()
    for n in range(20):
        await marks.mark(f"old{n}")
    known = Erased(marks, clock, noticed.append)
    await known.refresh()
    assert await among(known, ["old3", "ann", "old7"]) == {"old3", "old7"}
    clock.advance(2)
    await marks.mark("ann")
    assert await among(known, ["ann"]) == (), "not yet"
    await known.refresh()
    assert await among(known, ["ann", "bob"]) == {"ann"}
    assert (noticed[-1], marks.walks) == ("ann", 1)


async def test_who_is_not_suspected_costs_no_question() -> None:
    clock = ManualClock()
    marks = Noted(clock)
    await marks.mark("eve")
    known = Erased(marks, clock)
    await known.refresh()
    for n in range(1000):
        assert await among(known, [f"u{n}"]) == ()
    assert marks.questions == 0


async def test_a_suspicion_that_is_wrong_bars_nobody() -> None:
    """As if two users had one hash: the set says yes, the store says no."""
    clock = ManualClock()
    marks = Noted(clock)
    await marks.mark("ann")
    known = Erased(marks, clock)
    await known.refresh()
    del marks.marks["ann"]
    assert await among(known, ["ann"]) == set()


async def test_a_set_that_is_too_old_answers_nothing_and_a_young_one_does() -> None:
    clock = ManualClock()
    marks = Noted(clock)
    known = Erased(marks, clock)
    await known.refresh()
    marks.away = True
    clock.advance(erased.STALE_AFTER_S - 1)
    with pytest.raises(Unavailable):
        await known.refresh()
    assert await among(known, ["ann"]) == ()
    clock.advance(2)
    with pytest.raises(Unavailable):
        await among(known, ["ann"])
    marks.away = False
    await known.refresh()
    assert await among(known, ["ann"]) == ()


async def test_a_mark_that_was_begun_before_the_last_look_and_came_after_it_is_found() -> None:
    clock = ManualClock()
    marks = Noted(clock)
    known = Erased(marks, clock)
    await known.refresh()
    begun = clock.now_us()
    clock.advance(4)
    await known.refresh()
    marks.marks["ann"] = begun
    clock.advance(2)
    await known.refresh()
    assert await among(known, ["ann"]) == {"ann"}


async def test_after_a_long_outage_everything_is_loaded_again() -> None:
    clock = ManualClock()
    marks = Noted(clock)
    known = Erased(marks, clock)
    await known.refresh()
    clock.advance(erased.RELOAD_AFTER_S * 50)
    await marks.mark("ann")
    clock.advance(erased.RELOAD_AFTER_S * 50)
    await known.refresh()
    assert (await among(known, ["ann"]), marks.walks) == ({"ann"}, 2)
