"""Behind: how far work is behind, asked beside it: who is stuck cannot say so."""

import asyncio
import logging
import math
from typing import Self

from plaudit.ports.batches import Due
from plaudit.ports.clock import Clock
from plaudit.ports.log import EventLog
from plaudit.services.background import ended
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.behind")

EVERY_S = 5.0  # any consumer that works has long acknowledged what was there so long ago
SECOND = 1_000_000


class _Asked:
    """Keeps a gauge; infinite where nobody knows. Use as an async context manager, or call `run` or `ask` yourself."""

    def __init__(self, metrics: Metrics, gauge: str) -> None:
        self._gauge = gauge
        self._last = 0.0
        self._task: asyncio.Task[None] | None = None
        metrics.gauge(gauge, lambda: self._last)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await ended(self._task)

    async def run(self) -> None:
        """Ask again and again, until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(EVERY_S)

    async def ask(self) -> None:
        """One look."""
        try:
            self._last = await self._look()
        except Exception as error:
            self._last = math.inf
            log.warning("%s cannot be asked: %s", self._gauge, error)

    async def _look(self) -> float:
        raise NotImplementedError


class Behind(_Asked):
    """How many events that were in the log when this was asked before a consumer has not acknowledged since. `consumer`
    is None for whoever is furthest behind."""

    def __init__(self, events: EventLog, consumer: str | None, metrics: Metrics, gauge: str) -> None:
        super().__init__(metrics, gauge)
        self._events = events
        self._consumer = consumer
        self._end = 0

    async def _look(self) -> float:
        behind = await self._events.behind(self._consumer, self._end)
        self._end = await self._events.end()
        return behind


class Late(_Asked):
    """How long ago, in seconds, the oldest window ended that is neither told nor put aside: a notifier that fails at
    every window has long taken in the events."""

    def __init__(self, due: Due, clock: Clock, metrics: Metrics) -> None:
        super().__init__(metrics, "plaudit_windows_late_seconds")
        self._due = due
        self._clock = clock

    async def _look(self) -> float:
        due = await self._due.next_due()
        return 0.0 if due is None else max(0.0, (self._clock.now_us() - due) / SECOND)
