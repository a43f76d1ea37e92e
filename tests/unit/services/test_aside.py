"""What fails alone is put aside, and nothing else."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from plaudit.domain.errors import Corrupt, Overloaded, Unavailable
from plaudit.services import aside as service
from plaudit.services.aside import Aside
from plaudit.services.consume import LIMIT
from plaudit.services.tell import LEASE_S
from plaudit.telemetry import Metrics
from tests.support.scraped import value


@pytest.fixture(autouse=True)
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it paused, which takes no time."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(pause_s: float) -> None:
        pauses.append(pause_s)
        await sleep(0)

    monkeypatch.setattr("plaudit.services.aside.asyncio.sleep", noted)
    return pauses


class Work:
    """Numbers, some of which cannot be handled."""

    def __init__(self, fails: Callable[[int], bool], error: type[Exception] = Corrupt) -> None:
        self.fails = fails
        self.error = error
        self.done: list[int] = []
        self.calls = 0
        self.metrics = Metrics()
        self.aside = Aside[int]("audit", lambda n: f"number {n}", self.metrics)

    async def handle(self, items: Sequence[int]) -> None:
        self.calls += 1
        if any(map(self.fails, items)):
            raise self.error("not this one")
        self.done += items

    async def sift(self, items: Sequence[int]) -> list[int]:
        return sorted(await self.aside.sift(items, self.handle))

    @property
    def quarantined(self) -> float:
        return value(self.metrics, "plaudit_events_quarantined_total", role="audit")


async def test_where_all_works_nothing_is_searched_for() -> None:
    work = Work(lambda _: False)
    assert await work.sift(range(1000)) == []
    assert (work.calls, work.quarantined) == (1, 0), "the series is there before anything is counted"


@pytest.mark.parametrize("error", [Corrupt, RuntimeError])
async def test_what_fails_alone_is_named_counted_and_put_aside(
    error: type[Exception], caplog: pytest.LogCaptureFixture, paused: list[float]
) -> None:
    work = Work(lambda n: n in (3, 700), error)
    assert await work.sift(range(1000)) == [3, 700]
    assert sorted(work.done) == [n for n in range(1000) if n not in (3, 700)]
    assert work.calls < 60
    assert work.quarantined == 2
    expected = [service.PAUSE_S] * 2 if error is RuntimeError else []  # before each further try, once for all
    assert paused == expected, "a damaged place stays so"
    assert f"audit: quarantined number 700: {error.__name__}: not this one" in caplog.text


async def test_who_works_at_the_third_try_is_not_put_aside() -> None:
    left = [2]

    def fails(_: int) -> bool:
        left[0] -= 1
        return left[0] >= 0

    assert await Work(fails).sift([1]) == []


@pytest.mark.parametrize("error", [Unavailable, Overloaded, TimeoutError])
async def test_what_is_away_is_waited_for(error: type[Exception]) -> None:
    work = Work(lambda n: n == 3, error)
    with pytest.raises(error):
        await work.sift(range(10))
    assert work.quarantined == 0


@pytest.mark.parametrize("error", [Corrupt, RuntimeError])
async def test_where_nothing_works_for_long_it_is_more_likely_us(error: type[Exception]) -> None:
    broken = Work(lambda _: True, error)
    for many in (100, 10_000):
        with pytest.raises(error):
            await Work(lambda _: True, error).sift(range(many))
    for n in range(LIMIT.in_a_row):
        assert await broken.sift([n]) == [n]
    for _ in range(3):
        with pytest.raises(error):
            await broken.sift([100])
    assert broken.quarantined == LIMIT.in_a_row, "as many as in the cluster"
    broken.fails = lambda n: n == 100
    assert await broken.sift([100, 101]) == [100], "and once something works it goes on"


async def test_all_of_a_damaged_page_are_put_aside_if_others_work() -> None:
    work = Work(lambda n: n < 90)
    assert await work.sift(range(100)) == list(range(90))


async def test_what_works_is_found_behind_any_number_that_fail() -> None:
    work = Work(lambda n: n < 400)
    assert await work.sift(range(500)) == list(range(400))
    assert sorted(work.done) == list(range(400, 500))


async def test_a_search_among_very_many_ends_where_nothing_works() -> None:
    broken = Work(lambda _: True)
    with pytest.raises(Corrupt):
        await broken.sift(range(10_000))
    assert broken.calls < 5 * service.SEARCHED


async def test_a_search_that_takes_too_long_ends_before_leases_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert service.WITHIN_S + 2 * service.PAUSE_S < LEASE_S
    monkeypatch.setattr(service, "WITHIN_S", 0.0)
    work = Work(lambda n: n == 3)
    with pytest.raises(Unavailable):
        await work.sift(range(10))
    assert (work.calls, work.quarantined) == (1, 0)


async def test_many_are_put_aside_as_long_as_anything_works() -> None:
    work = Work(lambda n: n > 0)
    assert await work.sift(range(1000)) == list(range(1, 1000))
