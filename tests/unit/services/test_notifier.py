"""Up to when a notifier closes windows: not before it has read what may belong in them."""

from typing import cast

import pytest

from plaudit.domain.cell import Transition
from plaudit.domain.events import Committed
from plaudit.services.notifier import Notifier
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
