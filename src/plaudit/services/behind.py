"""Behind: how far consumers of the log are behind, asked beside their work. Who is stuck cannot say so."""

import asyncio
import logging
import math

from plaudit.ports.log import EventLog
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.behind")

EVERY_S = 5.0  # any consumer that works has long acknowledged what was there so long ago


class Behind:
    """Keeps a gauge: how many events that were in the log some seconds ago a consumer has not acknowledged; infinite
    where nobody knows. `consumer` is None for whoever is furthest behind."""

    def __init__(self, events: EventLog, consumer: str | None, metrics: Metrics, gauge: str) -> None:
        self._events = events
        self._consumer = consumer
        self._end = 0
        self._behind = 0.0
        metrics.gauge(gauge, lambda: self._behind)

    async def run(self) -> None:
        """Ask again and again, until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(EVERY_S)

    async def ask(self) -> None:
        """What was there when this was asked before, and has not been acknowledged since."""
        try:
            self._behind = await self._events.behind(self._consumer, self._end)
            self._end = await self._events.end()
        except Exception as error:
            self._behind = math.inf
            log.warning("how far the consumers are behind cannot be asked: %s", error)
