"""Notify: brings the log of a single process to `Tell`, and closes the windows that have ended.

Nobody's tap waits for this: it reads what taps wrote, in turns short enough that the event loop does not notice, and
stores what it learns in small transactions. It follows and closes in one task, so it never races itself; after a crash
it simply goes on.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Self

from plaudit.domain.errors import Corrupt, PlauditError
from plaudit.domain.events import Committed, decode
from plaudit.ports.clock import Clock
from plaudit.ports.log import EventLog
from plaudit.services.aside import Aside
from plaudit.services.background import ended
from plaudit.services.behind import Behind
from plaudit.services.tell import Tell, Turn
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.notify")

CONSUMER = "notify"
EVENTS_AT_ONCE = 2_000
RETRY_S = 1.0
TIDY_EVERY_S = 60.0


class Notify:
    """The notifier of the embedded profile. Use as an async context manager, or call `follow` and `close` yourself."""

    def __init__(
        self, events: EventLog, tell: Tell, clock: Clock, metrics: Metrics, *, every_s: float = 0.5
    ) -> None:
        self._events = events
        self._tell = tell
        self._clock = clock
        self._metrics = metrics
        self._every_s = every_s
        self._behind = Behind(events, CONSUMER, metrics, "plaudit_notifier_behind")
        self._aside = Aside[str]("notify", lambda target: f"events of {target}", metrics)
        self._read_up_to = 0
        self._tidy_s = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._events.acknowledge(CONSUMER, 0)  # from now on the log keeps what we have not seen
        self._tasks = [asyncio.create_task(run) for run in (self._run(), self._behind.run())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop between two steps; the next start goes on."""
        for task in self._tasks:
            await ended(task)

    async def _run(self) -> None:
        while True:
            more = failed = False
            for step in (self.follow, self.close, self._tidy):  # none of them waits for one that fails
                try:
                    more |= await step()
                except PlauditError as error:
                    failed = True
                    log.warning("notifications wait and will go on: %s", error)
                except Exception:
                    failed = True
                    log.exception("notifications wait and will go on")
            await asyncio.sleep(RETRY_S if failed else 0 if more else self._every_s)

    async def _tidy(self) -> bool:
        now_s = self._clock.monotonic_s()
        if now_s < self._tidy_s:
            return False
        self._tidy_s = now_s + TIDY_EVERY_S
        if more := await self._tell.tidy():
            self._tidy_s = now_s
        return more

    async def follow(self) -> bool:
        """Take the next events into watches; whether there are more."""
        asked = self._clock.now_us()
        found = await self._events.read(CONSUMER, EVENTS_AT_ONCE)
        if not found:
            self._read_up_to = asked
            return False
        turn, by_target, unreadable, newest = Turn(), dict[str, list[Committed]](), list[Corrupt](), 0
        for _, body in found:
            try:
                event = decode(body)
                by_target.setdefault(event.target, []).append(event)
                newest = max([newest, *(transition.at for transition in event.transitions)])
            except Corrupt as error:  # passed over, or nothing after it would ever be seen
                unreadable.append(error)
            await turn.over()
        lost = False

        async def take(targets: Sequence[str]) -> None:
            nonlocal lost
            lost |= await self._tell.take(event for target in targets for event in by_target[target])

        if by_target:
            await self._aside.sift(list(by_target), take)
        if lost:
            return True  # somebody else was faster: read the same again
        await self._events.acknowledge(CONSUMER, found[-1][0])
        self._metrics.unreadable_events += len(unreadable)  # now that they do not come again
        for why in unreadable:
            log.error("an event cannot be read: %s", why)
        more = len(found) == EVENTS_AT_ONCE
        self._read_up_to = max(self._read_up_to, min(newest, asked)) if more else asked
        return more

    async def close(self) -> bool:
        """Make messages of windows that have ended by what was read; whether there may be more."""
        return await self._tell.close(min(self._read_up_to, self._clock.now_us()))
