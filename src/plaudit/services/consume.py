"""Consume: the one loop that brings the log to a handler, whatever the handler makes of it.

Read a batch, decode, hand it over, mark. At least once and each partition in order: nothing is marked before it is
handled, and nothing is skipped but what is put aside by name. What goes wrong is decided by `POLICY`:

| error | what becomes of the events |
|---|---|
| `Unavailable`, `OutcomeUnknown`, `Overloaded`, no answer within 60 s (10 s once we are to stop) | the same again, with growing pauses, for as long as it takes; the group keeps us meanwhile |
| an event that cannot be decoded | quarantine |
| anything else a handler raises | the same a few times; then the one that does it is searched for by halves: quarantine |
| too many in quarantine | stop: then it is more likely us than the events |
| a partition that went to somebody else | dropped; it comes to its new owner |
"""  # noqa: E501 # a table

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, Self

from plaudit.domain.errors import Corrupt, OutcomeUnknown, Overloaded, PlauditError, Unavailable
from plaudit.domain.events import Committed, decode
from plaudit.ports.clock import Clock
from plaudit.ports.consumer import Consumer, Handler, Quarantine, Record
from plaudit.services.background import ended
from plaudit.services.epoch import Epoch, Watched
from plaudit.services.progress import Progress
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.consume")

WAIT_S = 0.25  # for events
HANDLE_WITHIN_S = 60.0  # far less than the group lets us be silent
STOP_WITHIN_S = 10.0  # what is in hand then is not marked and comes again to whoever takes over
PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
TRIES = 3
WATCH_EVERY_S = 1.0
ENDS_EVERY_S = 5.0

Action = Literal["wait", "search"]
Item = tuple[Record, Committed]
Reached = Callable[[Mapping[int, int]], Awaitable[None]]

# What a handler's exceptions mean. The first line that fits counts.
POLICY: tuple[tuple[type[Exception], Action], ...] = (
    (Unavailable, "wait"),
    (OutcomeUnknown, "wait"),
    (Overloaded, "wait"),
    (TimeoutError, "wait"),
    (Exception, "search"),
)


class Limit(NamedTuple):
    """How many events may be put aside: one after the other without a single good one, and within a minute."""

    in_a_row: int = 10
    a_minute: int = 100


LIMIT = Limit()


class _Stopped(Exception):
    """We are to stop, and what is in hand cannot be finished."""


class Consume:
    """See the module. Use as an async context manager and await `run` inside; the consumer is opened and closed by
    whoever made it, and closed after this.

    `behind_s`: for handlers whose store may forget its last moments: the group is told positions so far behind the
    work, and whenever the handler's store was away, or `epoch` (asked every second) answers something else than before,
    the work goes back to where it was so long before the trouble. `reached` is told every second up to which time
    (microseconds UTC) everything in each of our partitions is handled, also where no event came.
    """

    def __init__(
        self,
        consumer: Consumer,
        handler: Handler,
        clock: Clock,
        metrics: Metrics,
        *,
        role: str,
        quarantine: Quarantine,
        behind_s: float = 0.0,
        epoch: Epoch | None = None,
        reached: Reached | None = None,
        limit: Limit = LIMIT,
        at_once: int = 500,
    ) -> None:
        self._consumer = consumer
        self._handler = handler
        self._clock = clock
        self._metrics = metrics
        self._role = role
        self._quarantine = quarantine
        self._behind_s = behind_s
        self._reached = reached
        self._watched = Watched(epoch) if epoch is not None else None
        self._limit = limit
        self._at_once = at_once
        self._progress: dict[int, Progress] = {}
        self._ends: dict[int, int] = {}
        self._trouble_s: float | None = None
        self._failing: str | None = "not started"
        self._aside: deque[float] = deque(maxlen=limit.a_minute)
        self._in_a_row = 0
        self._stopping = False
        self._stop_by_s = float("inf")  # the event loop's time
        self._timer: asyncio.Timeout | None = None
        self.ended = False  # `run` has returned, or raised
        self._running = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None
        metrics.begins(role)

    async def __aenter__(self) -> Self:
        self._metrics.labelled("plaudit_consumer_lag_events", self._lag_events)
        self._metrics.labelled("plaudit_consumer_lag_seconds", self._lag_seconds)
        self._watch = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, and wait for the batch in hand, but not for ever: see `stop`."""
        self.stop()
        async with self._running:
            pass
        await ended(self._watch)

    def stop(self) -> None:
        """Have `run` return once the batch in hand is handled or has failed; after 10 s it is given up unmarked."""
        if self._stopping:
            return
        self._stopping = True
        self._stop_by_s = asyncio.get_running_loop().time() + STOP_WITHIN_S
        if self._timer is not None and not self._timer.expired():
            self._timer.reschedule(min(self._timer.when() or self._stop_by_s, self._stop_by_s))

    @property
    def partitions(self) -> int:
        """How many partitions are ours."""
        return len(self._consumer.assignment or {})

    def unready(self) -> str | None:
        """Why this worker is no good at the moment, or None."""
        if self._consumer.assignment is None:
            return f"{self._role}: not in the group yet"
        return None if self._failing is None else f"{self._role}: {self._failing}"

    async def run(self) -> None:
        """Consume until `stop`. Raises `Corrupt`: too many events put aside; `Conflict`: the log is closed to us."""
        async with self._running:
            self._failing = None
            try:
                while not self._stopping:
                    await self._turn()
            except _Stopped:
                pass
            finally:
                self.ended = True
                self._mark()

    async def _turn(self) -> None:
        if self._trouble_s is not None and (self._watched is None or self._watched.clear):
            await self._go_back()
        try:
            records = await self._consumer.poll(self._at_once, WAIT_S)
        except Unavailable as error:
            log.warning("%s: the log is away: %s", self._role, error)
            self._failing = str(error)
            await asyncio.sleep(WAIT_S)
            return
        self._failing = None
        self._follow()
        if records:
            await self._take(records)
        self._mark()

    async def _take(self, records: Sequence[Record]) -> None:
        items: list[Item] = []
        for record in records:
            self._progress[record.partition].read(record)
        for record in records:
            try:
                items.append((record, decode(record.body)))
            except Corrupt as error:
                await self._deliver(items, TRIES)
                items = []
                await self._put_aside(record, error)
        await self._deliver(items, TRIES)
        for record in self._ours(records):
            self._progress[record.partition].handled(record)

    async def _deliver(self, items: list[Item], tries: int) -> None:
        """Have these handled, in order. Drops those whose partition has gone."""
        pauses = 0
        while items := [item for item in items if self._is_ours(item[0])]:
            began_s = self._clock.monotonic_s()
            try:
                await self._within(HANDLE_WITHIN_S, self._handler.handle([event for _, event in items]))
            except Exception as error:
                if asyncio.get_running_loop().time() >= self._stop_by_s:
                    raise _Stopped from error
                if decide(error) == "search":
                    tries -= 1
                    log.warning("%s: %s events failed", self._role, len(items), exc_info=error)
                    if tries <= 0:
                        await self._search(items, error)
                        return
                else:
                    self._begin_trouble(began_s)
                    log.warning("%s: events wait: %s", self._role, str(error) or type(error).__name__)
                self._failing = f"{type(error).__name__}: {error}"
            else:
                self._failing = None
                self._in_a_row = 0
                self._metrics.consumed(self._role, len(items))
                return
            self._metrics.retried(self._role)
            await self._pause(pauses)
            pauses += 1

    async def _within(self, longest_s: float, what: Awaitable[None]) -> None:
        """Await it so long, and no longer than we may once we are to stop. Raises `TimeoutError`."""
        until_s = min(asyncio.get_running_loop().time() + longest_s, self._stop_by_s)
        try:
            async with asyncio.timeout_at(until_s) as self._timer:
                await what
        finally:
            self._timer = None

    async def _search(self, items: list[Item], error: Exception) -> None:
        """One of these is not to be handled: find it, and have the others handled."""
        if len(items) == 1:
            await self._put_aside(items[0][0], error)
            return
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            await self._deliver(half, TRIES if len(half) == 1 else 1)

    async def _put_aside(self, record: Record, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        place = f"partition {record.partition}, offset {record.offset}"
        now_s = self._clock.monotonic_s()
        full = len(self._aside) == self._limit.a_minute and self._aside[0] > now_s - 60
        if full or self._in_a_row >= self._limit.in_a_row:
            raise Corrupt(f"{self._role}: too many events fail, so it may be us; the last: {place}: {reason}")
        self._aside.append(now_s)
        self._in_a_row += 1
        log.error("%s: quarantined %s: %s", self._role, place, reason)
        pauses = 0
        while self._is_ours(record):
            try:
                await self._within(HANDLE_WITHIN_S, self._quarantine.put(record, self._role, reason))
            except (Unavailable, OutcomeUnknown, TimeoutError) as away:
                log.warning("%s: the quarantine is away: %s", self._role, away)
                self._failing = f"{type(away).__name__}: {away}"
                await self._pause(pauses)
                pauses += 1
            else:
                self._failing = None
                self._metrics.quarantined(self._role)
                return

    async def _pause(self, before: int) -> None:
        """Wait longer each time, at random, and stay in the group. Raises `_Stopped`."""
        pause_s = min(LONGEST_PAUSE_S, PAUSE_S * 2 ** min(before, 10)) * random.uniform(0.5, 1)  # noqa: S311 # no secret
        until_s = self._clock.monotonic_s() + pause_s
        while (left_s := until_s - self._clock.monotonic_s()) > 0:
            if self._stopping:
                raise _Stopped
            try:
                await self._consumer.poll(0, min(left_s, WAIT_S))
            except Unavailable:
                await asyncio.sleep(min(left_s, WAIT_S))
            self._follow()
            self._mark()

    def _follow(self) -> None:
        """Keep a progress for each partition that is ours, a new one for each turn."""
        claims = self._consumer.assignment or {}
        for partition in self._progress.keys() - claims.keys():
            del self._progress[partition]
        for partition, claim in claims.items():
            known = self._progress.get(partition)
            if known is None or known.claim.turn != claim.turn:
                self._progress[partition] = Progress(claim, self._behind_s)

    def _is_ours(self, record: Record) -> bool:
        known = self._progress.get(record.partition)
        return known is not None and known.claim.turn == record.turn

    def _ours(self, records: Iterable[Record]) -> list[Record]:
        return [record for record in records if self._is_ours(record)]

    def _mark(self) -> None:
        now_s = self._clock.monotonic_s()
        marks = {at: progress.mark(now_s, self._trouble_s) for at, progress in self._progress.items()}
        self._consumer.mark({at: mark for at, mark in marks.items() if mark is not None})

    def _begin_trouble(self, at_s: float) -> None:
        """What was handled shortly before may be lost. The first moment counts until we have gone back."""
        if self._behind_s:
            self._trouble_s = at_s if self._trouble_s is None else min(at_s, self._trouble_s)

    async def _go_back(self) -> None:
        trouble_s = self._trouble_s
        if trouble_s is None:
            return
        backs = {at: progress.back(trouble_s) for at, progress in self._progress.items()}
        positions = {
            at: back for at, back in backs.items() if back is not None and back != self._progress[at].done
        }
        if positions:
            try:
                # In trouble until we are back: `reached` must not be told meanwhile of what is about to be undone. New
                # trouble in this time is of nothing newer, for nothing is handled now.
                await self._consumer.seek(positions)
            except Unavailable as error:
                log.warning("%s: going back waits: %s", self._role, error)
                return
        self._trouble_s = None
        for at, position in positions.items():
            self._progress[at].rewind(position)
        if positions:
            self._metrics.went_back(self._role)
            log.warning("%s: its store was away, so the last %s s are done again", self._role, self._behind_s)

    async def _look(self) -> None:
        """Beside the loop: the epoch, and how far the log is."""
        ends_at_s = 0.0
        while True:
            now_s = self._clock.monotonic_s()
            if self._watched is not None and (at_s := await self._watched.changed(now_s)) is not None:
                self._begin_trouble(at_s)
            if now_s >= ends_at_s or self._progress.keys() - self._ends.keys():
                ends_at_s = now_s + ENDS_EVERY_S
                with contextlib.suppress(PlauditError):
                    now_us = self._clock.now_us()
                    self._ends = dict(await self._consumer.ends())
                    # One that came meanwhile, or whose broker did not answer, has no end here: nothing is known of it.
                    for partition in self._progress.keys() & self._ends.keys():
                        self._progress[partition].ends(self._ends[partition], now_us)
            await self._say_reached()
            await asyncio.sleep(WATCH_EVERY_S)

    async def _say_reached(self) -> None:
        # In trouble the last of what was handled may be forgotten: nothing is said until we have gone back.
        if self._reached is None or self._trouble_s is not None:
            return
        found = {at: us for at, progress in self._progress.items() if (us := progress.reached_us) is not None}
        try:
            await self._reached(found)
        except PlauditError as error:
            log.warning("%s: nobody could be told how far the work is: %s", self._role, error)

    def _lag_events(self) -> dict[tuple[str, ...], float]:
        return {
            # Where nothing was read yet and the group has no mark, there is nothing to compare with.
            (self._role, str(at)): 0 if progress.done is None else max(0, self._ends[at] - progress.done)
            for at, progress in self._progress.items()
            if at in self._ends
        }

    def _lag_seconds(self) -> dict[tuple[str, ...], float]:
        return {
            (self._role, str(at)): progress.lag_s(self._ends[at], self._clock.now_us())
            for at, progress in self._progress.items()
            if at in self._ends
        }


def decide(error: Exception) -> Action:
    """What becomes of events that a handler refused with this."""
    return next(action for kind, action in POLICY if isinstance(error, kind))
