"""Up to when a notifier closes windows: not before it has read what may belong in them."""

import asyncio
from typing import cast

import pytest

from plaudit.domain.cell import Transition
from plaudit.domain.errors import Unavailable
from plaudit.domain.events import Committed
from plaudit.services import notifier as notifier_module
from plaudit.services.notifier import ROUND_S, SIDE_BY_SIDE, Notifier
from plaudit.services.tell import Tell
from tests.support.clock import ManualClock

SECOND = 1_000_000


class Asked:
    """Takes everything, and notes up to when windows are closed, before or after now."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.until: list[float] = []

    async def take(self, events: object) -> bool:
        return False

    async def close(self, until: int) -> bool:
        self.until.append((until - self.clock.now_us()) / SECOND)
        return False


def event(at: int) -> Committed:
    move = Transition("ann", 0, 1, at, at)
    return Committed("t", 0, "post", 1, "tap", 1, (1,), 1, at, (), (move,))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_windows_close_a_little_late_and_not_before_events_that_come_again(clock: ManualClock) -> None:
    asked = Asked(clock)
    notifier = Notifier(cast("Tell", asked), clock, grace_s=2)
    await notifier.close()
    await notifier.handle([event(clock.now_us() - 60 * SECOND), event(clock.now_us() - 50 * SECOND)])
    await notifier.close()
    await notifier.handle([event(clock.now_us() - SECOND)])
    await notifier.close()
    await notifier.handle([event(clock.now_us() - 60 * SECOND)])
    clock.advance(3.1)
    await notifier.close()
    assert asked.until == [-2, -50, -2, -2]


async def test_windows_wait_for_events_that_take_long(clock: ManualClock) -> None:
    asked = Asked(clock)
    notifier = Notifier(cast("Tell", asked), clock, grace_s=2)

    async def take(_: object) -> bool:
        clock.advance(4)
        await notifier.close()
        return False

    asked.take = take  # type: ignore[assignment, method-assign] # for this test alone
    await notifier.handle([event(clock.now_us() - 50 * SECOND)])
    await notifier.close()
    clock.advance(3.1)
    await notifier.close()
    assert asked.until == [-54, -54, -2]


async def test_windows_wait_while_the_log_is_away(clock: ManualClock) -> None:
    asked = Asked(clock)
    notifier = Notifier(cast("Tell", asked), clock, grace_s=2)
    await notifier.reached({0: clock.now_us() - 9 * SECOND, 3: clock.now_us()})
    await notifier.close()
    clock.advance(30)
    await notifier.close()
    await notifier.reached({0: clock.now_us(), 3: clock.now_us() - 12 * SECOND})
    await notifier.close()
    await notifier.reached({})
    await notifier.close()
    assert asked.until == [-2, -39, -12, -2]


class Many:
    """So many hundreds of windows have ended. Each takes until as many are being closed side by side."""

    def __init__(self, hundreds: int) -> None:
        self.left = hundreds
        self.inside = self.most = 0
        self.both = asyncio.Event()
        self.done = asyncio.Event()

    async def close(self, until: int) -> bool:
        if not self.left:
            self.done.set()
            return False
        self.left -= 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside == SIDE_BY_SIDE:
            self.both.set()
        if self.left < 8:
            await self.both.wait()
        self.inside -= 1
        if self.left == 4:
            raise Unavailable("once")
        return True

    async def tidy(self) -> bool:
        """Nothing to forget."""
        return False


class Endless:
    """Windows end all the time, each a second after the one before; a lot of watches may be forgotten. The first of the
    two beside each other fails."""

    def __init__(self, clock: ManualClock, lots: int) -> None:
        self.clock = clock
        self.closed, self.lots = 0, lots
        self.forgotten_after: list[int] = []
        self.all_forgotten = asyncio.Event()

    async def close(self, until: int) -> bool:
        self.closed += 1
        self.clock.advance(1)
        if self.closed == 2:
            raise Unavailable("once")
        await asyncio.sleep(0)
        return True

    async def tidy(self) -> bool:
        self.forgotten_after.append(self.closed)
        self.lots -= 1
        if not self.lots:
            self.all_forgotten.set()
        return self.lots > 0


async def test_watches_are_forgotten_and_failures_told_of_while_windows_keep_ending(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notifier_module, "RETRY_S", 0)
    endless = Endless(clock, lots=3)
    async with asyncio.timeout(5), Notifier(cast("Tell", endless), clock, every_s=3600):
        await endless.all_forgotten.wait()
    assert "windows wait and will be closed: once" in caplog.text
    first, second, third = endless.forgotten_after
    assert first < second < third <= 4 * (ROUND_S + SIDE_BY_SIDE), "between them windows are closed"


async def test_while_one_hundred_waits_for_a_store_another_goes_on(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notifier_module, "RETRY_S", 0)
    many = Many(9)
    async with asyncio.timeout(10), Notifier(cast("Tell", many), clock, every_s=0):
        await many.done.wait()
    assert (many.left, many.most) == (0, SIDE_BY_SIDE)
    assert "windows wait and will be closed: once" in caplog.text
