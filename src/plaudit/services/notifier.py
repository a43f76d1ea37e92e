"""Notifier: `Tell` where many processes share the work. A handler of events, whoever brings them, and a loop that
closes windows, anybody's.

A window of one process's target may be closed by another one, which does not know how far the events of that target
were read. So windows are closed a little late, and not while what was handled last is older than that: after a restart,
and when a store has forgotten something, old events come again and open old windows anew.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Self

from plaudit.domain.errors import PlauditError, Unavailable
from plaudit.domain.events import Committed
from plaudit.ports.clock import Clock
from plaudit.services.background import ended
from plaudit.services.tell import Tell

log = logging.getLogger("plaudit.notify")

SECOND = 1_000_000
TRIES = 20
RETRY_S = 1.0
TIDY_EVERY_S = 60.0
GRACE_S = 2.0
SILENT_S = 3.0  # without events so long none come again
ROUND_S = 10.0  # then there is time for other things, though there is more to close
SIDE_BY_SIDE = 2  # each has some hundred windows in memory
BEHIND_US = 10 * SECOND  # who says how far the log was read may be so late with it


class Notifier:
    """See the module. Use as an async context manager, or call `close` yourself."""

    def __init__(self, tell: Tell, clock: Clock, *, every_s: float = 0.5, grace_s: float = GRACE_S) -> None:
        self._tell = tell
        self._clock = clock
        self._every_s = every_s
        self._grace_us = round(grace_s * SECOND)
        self._in_hand, self._handled_at_s = False, float("-inf")
        self._newest = 0
        self._reached: int | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop between two steps; others go on."""
        await ended(self._task)

    async def handle(self, events: Sequence[Committed]) -> None:
        """Take events into watches; durable on return. Raises `Unavailable` and `OutcomeUnknown`: the same again."""
        newest = max((move.at for event in events for move in event.transitions), default=None)
        if newest is not None:
            self._newest = newest
            self._in_hand = True
        try:
            for _ in range(TRIES):
                if not await self._tell.take(events):
                    return
        finally:
            if self._in_hand:
                self._in_hand, self._handled_at_s = False, self._clock.monotonic_s()
        raise Unavailable(f"others changed the same watches {TRIES} times in a row")

    async def reached(self, partitions: Mapping[int, int]) -> None:
        """Everything that was in these partitions of the log, which are ours, at these times (microseconds UTC) has
        been handled. Who reads the log says so every few seconds; where the log is away, windows wait for it."""
        self._reached = min(partitions.values(), default=None)

    async def close(self) -> bool:
        """Make messages of windows that have ended; whether there may be more."""
        return await self._tell.close(self._until())

    def _until(self) -> int:
        now = self._clock.now_us()
        until = now - self._grace_us
        if self._in_hand or self._clock.monotonic_s() - self._handled_at_s <= SILENT_S:
            until = min(until, self._newest)
        if self._reached is not None and self._reached < now - BEHIND_US:
            until = min(until, self._reached)
        return until

    async def _close_all(self) -> None:
        """Close windows as long as there are any, or for a round, some beside others: while one waits for a store,
        another goes on."""
        ends_s = self._clock.monotonic_s() + ROUND_S

        async def some() -> None:
            while self._clock.monotonic_s() < ends_s and await self.close():
                pass

        for failed in await asyncio.gather(*(some() for _ in range(SIDE_BY_SIDE)), return_exceptions=True):
            if failed is not None:
                raise failed

    async def _run(self) -> None:
        tidy_s = 0.0
        while True:
            try:
                more = await self.close()
                if more:
                    await self._close_all()
                if self._clock.monotonic_s() >= tidy_s:
                    if await self._tell.tidy():
                        more = True
                    else:
                        tidy_s = self._clock.monotonic_s() + TIDY_EVERY_S
                await asyncio.sleep(0 if more else self._every_s)
            except PlauditError as error:
                log.warning("windows wait and will be closed: %s", error)
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("windows wait and will be closed")
                await asyncio.sleep(RETRY_S)
