"""The auditor: follows the event log and compares what changed with its rows, all day long.

It looks at everything while it can keep up and at a sample when it cannot. It reports and never repairs: a ledger that
disagrees with itself is for a person. It is also what lets old events go.
"""

import asyncio
import logging
from typing import Self

from plaudit.domain.errors import Corrupt, PlauditError
from plaudit.domain.events import Committed, decode
from plaudit.ports.audit import Audit
from plaudit.ports.log import EventLog
from plaudit.services.background import ended
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.audit")

CONSUMER = "audit"
EVENTS_PER_LOOK = 100
MAX_BEHIND = 1_000
MAX_ROWS = 5_000
TRIM_AT_ONCE = 5_000


class Auditor:
    """Runs in the background every `every_s` seconds. Use as an async context manager."""

    def __init__(self, audit: Audit, events: EventLog, metrics: Metrics, *, every_s: float = 1.0) -> None:
        self._audit = audit
        self._events = events
        self._metrics = metrics
        self._every_s = every_s
        self._behind = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._metrics.gauge("plaudit_events_behind", lambda: self._behind)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await ended(self._task)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except PlauditError as error:
                log.warning("the auditor could not look and will try again: %s", error)

    def _decode(self, body: bytes) -> Committed | None:
        """The event; one that cannot be read is counted and passed over, or nothing after it would ever be seen."""
        try:
            return decode(body)
        except Corrupt as error:
            self._metrics.unreadable += 1
            log.error("an event cannot be read: %s", error)
            return None

    async def look(self) -> None:
        """Look at the next events once, then let go of what has been looked at."""
        events = await self._events.read(CONSUMER, EVENTS_PER_LOOK)
        if not events:
            self._behind = 0
            return
        targets = list({event.target for _, body in events if (event := self._decode(body))})
        compared, drifted = await self._audit.drift(targets, MAX_ROWS)
        self._metrics.audited += compared
        self._metrics.drift += len(drifted)
        for drift in drifted:
            log.error("DRIFT: %s", drift)
        await self._events.acknowledge(CONSUMER, events[-1][0])
        self._behind = await self._events.behind(CONSUMER)
        if self._behind > MAX_BEHIND:  # too busy to look at everything
            await self._events.acknowledge(CONSUMER, await self._events.end())
        while await self._events.trim(TRIM_AT_ONCE):
            pass
