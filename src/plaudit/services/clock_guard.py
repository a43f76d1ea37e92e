"""Is our clock the store's? A process whose clock is more than a second off stops committing and says so.

`seq` decides who wins, never a clock; but reactions are shown with their times, and derived lists carry them. The
error of a measurement is half the time it took, and counts in the process's favour.
"""

import asyncio
import logging
from typing import Self

from plaudit.domain.errors import Unavailable
from plaudit.ports.clock import Clock, StoreClock
from plaudit.services.background import ended

log = logging.getLogger("plaudit.clock_guard")

TOLERATED_S = 1.0
EVERY_S = 10.0


class ClockGuard:
    """Compares the clocks now and every few seconds; use as an async context manager. Until it could: trusted."""

    def __init__(self, store: StoreClock, clock: Clock, every_s: float = EVERY_S) -> None:
        self._store = store
        self._clock = clock
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None
        self.ahead_s = 0.0
        self._trusted = True

    async def __aenter__(self) -> Self:
        """Raises `Unavailable` if the store does not say what time it is."""
        await self.compare()
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        await ended(self._task)

    def trusted(self) -> bool:
        """Whether this process may commit."""
        return self._trusted

    async def compare(self) -> None:
        """Measure once. Raises `Unavailable`: what was known before stays."""
        began_s, before = self._clock.monotonic_s(), self._clock.now_us()
        theirs = await self._store.now_us()
        took_s = self._clock.monotonic_s() - began_s
        self.ahead_s = (before - theirs) / 1_000_000 + took_s / 2
        trusted = abs(self.ahead_s) - took_s / 2 <= TOLERATED_S
        if trusted != self._trusted:
            self._trusted = trusted
            if trusted:
                log.warning("the clock is right again; commits go on")
            else:
                log.error(
                    "the clock is %.1f s ahead of the store's: no commits until it is right", self.ahead_s
                )

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.compare()
            except Unavailable as error:
                log.warning("the clocks could not be compared: %s", error)
