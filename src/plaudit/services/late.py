"""Late: how late owners are told, asked beside the work. A notifier that fails at every window cannot say so, and has
long taken in the events (`services/behind.py`)."""

import asyncio
import logging
import math
from typing import Self

from plaudit.ports.batches import Due
from plaudit.ports.clock import Clock
from plaudit.services.background import ended
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.late")

EVERY_S = 5.0
SECOND = 1_000_000


class Late:
    """Keeps a gauge: how long ago the oldest window ended that is neither told nor put aside; infinite where nobody
    knows. Use as an async context manager, or call `ask` yourself."""

    def __init__(self, due: Due, clock: Clock, metrics: Metrics) -> None:
        self._due = due
        self._clock = clock
        self._late_s = 0.0
        self._task: asyncio.Task[None] | None = None
        metrics.gauge("plaudit_windows_late_seconds", lambda: self._late_s)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await ended(self._task)

    async def _run(self) -> None:
        while True:
            await self.ask()
            await asyncio.sleep(EVERY_S)

    async def ask(self) -> None:
        """One look at the window that ends first."""
        try:
            due = await self._due.next_due()
            self._late_s = 0.0 if due is None else max(0.0, (self._clock.now_us() - due) / SECOND)
        except Exception as error:
            self._late_s = math.inf
            log.warning("how late windows are cannot be asked: %s", error)
