"""The auditor: follows the event log and compares what changed with its rows, all day long.

It looks at everything while it can keep up and at a sample when it cannot. Targets with many rows are compared one
after the other, for a twentieth of the time at most, so that counting them is not felt. It reports and never repairs: a
ledger that disagrees with itself is for a person. It is also what lets old events go.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Self

from plaudit.domain.errors import Corrupt, PlauditError
from plaudit.domain.events import decode
from plaudit.ports.audit import Audit, Drift
from plaudit.ports.log import EventLog
from plaudit.services.aside import Aside
from plaudit.services.background import ended
from plaudit.services.behind import Behind
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.audit")

CONSUMER = "audit"
EVENTS_PER_LOOK = 100
MAX_BEHIND = 1_000
MAX_ROWS = 5_000  # that are counted in passing
LARGE_WAITING = 1_000
COUNT_WITHIN_S = 10.0
SHARE_OF_COUNTING = 0.05
TRIM_AT_ONCE = 5_000


class Auditor:
    """Runs in the background every `every_s` seconds. Use as an async context manager."""

    def __init__(self, audit: Audit, events: EventLog, metrics: Metrics, *, every_s: float = 1.0) -> None:
        self._audit = audit
        self._events = events
        self._metrics = metrics
        self._every_s = every_s
        self._aside = Aside[str]("audit", lambda target: f"target {target}", metrics)
        self._kept = Behind(events, None, metrics, "plaudit_events_behind")
        self._large: dict[str, None] = {}  # the oldest first
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._events.acknowledge(CONSUMER, 0)  # from now on the log keeps what we have not seen
        runs = (self._run(self.look), self._run(self.look_at_large), self._kept.run())
        self._tasks = [asyncio.create_task(run) for run in runs]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            await ended(task)

    async def _run(self, look: Callable[[], Awaitable[float]]) -> None:
        pause_s = 0.0
        while True:
            await asyncio.sleep(max(pause_s, self._every_s))
            try:
                pause_s = await look()
            except PlauditError as error:
                log.warning("the auditor could not look and will try again: %s", error)
            except Exception:  # it also lets old events go, which must not end
                log.exception("the auditor failed in a way nobody foresaw and will try again")

    async def look(self) -> float:
        """Look at the next events once, then let go of what has been looked at. Returns how long to rest (seconds)."""
        events = await self._events.read(CONSUMER, EVENTS_PER_LOOK)
        if not events:
            return 0.0
        try:
            if targets := list(_targets(body for _, body in events)):
                await self._aside.sift(targets, self._compare)
            await self._events.acknowledge(CONSUMER, events[-1][0])
        except Exception:
            await self._let_go()
            raise
        await self._let_go()
        return 0.0

    async def _compare(self, targets: Sequence[str]) -> None:
        found = await self._audit.drift(targets, MAX_ROWS)
        self._count(found.compared, found.drifted)
        for target in found.large:
            if len(self._large) < LARGE_WAITING:  # else it comes again with its next event
                self._large.setdefault(target)

    async def _let_go(self) -> None:
        """Of what everybody has seen; and who cannot look at everything, for whatever reason, has some kept at most."""
        end = await self._events.end()
        if await self._events.behind(CONSUMER, end) > MAX_BEHIND:
            await self._events.acknowledge(CONSUMER, end)
        while await self._events.trim(TRIM_AT_ONCE):
            pass

    async def look_at_large(self) -> float:
        """Compare the large target that waits for longest, if there is one. Returns how long to rest (seconds)."""
        target = next(iter(self._large), None)
        if target is None:
            return 0.0
        del self._large[target]
        began_s = asyncio.get_running_loop().time()
        try:
            drift = await self._audit.drift_of_large(target, COUNT_WITHIN_S)
            self._count(1, [drift] if drift is not None else [])
        except PlauditError as error:
            log.warning("a large target was not compared: %s", error)
        took_s = asyncio.get_running_loop().time() - began_s
        return took_s / SHARE_OF_COUNTING

    def _count(self, compared: int, drifted: Sequence[Drift]) -> None:
        self._metrics.audited += compared
        self._metrics.drift += len(drifted)
        for drift in drifted:
            log.error("DRIFT: %s", drift)


def _targets(bodies: Iterable[bytes]) -> set[str]:
    """The targets of events. Those that cannot be read are passed over; the notifier, which sees all, counts them."""
    found = set()
    for body in bodies:
        with suppress(Corrupt):
            found.add(decode(body).target)
    return found
