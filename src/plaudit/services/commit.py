"""Group commit by natural batching: while one commit is under way, further taps queue, and the next one takes them.

No timers: an idle service commits a lone tap at once, a busy one hundreds together. Guarantees: taps on one target are
committed in the order they came (a user's fifth in a batch waits for the next one); a target with a long queue gets one
share of each commit and no more, and has at most as many taps waiting as there is room left for others; a tap refused
with `Overloaded` was never handed to the ledger, so it is not stored; one that could not be stored before its deadline
is refused when it comes; the queue is bounded. Lives on the event loop; knows no storage.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from plaudit.domain.cell import Answer, Refused, Tap
from plaudit.domain.errors import Corrupt, OutcomeUnknown, Overloaded, PlauditError
from plaudit.ports.clock import Clock
from plaudit.ports.ledger import CellResult, CellTaps, Ledger
from plaudit.services.near import NearCache, Shown
from plaudit.services.share import share
from plaudit.services.turns import Line, Turns, refuse_late
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.commit")

EXPIRE_EVERY_S = 0.25


class Committed(NamedTuple):
    """What became of a tap, the target as it is now, and which of its cells took the tap."""

    answer: Answer | Refused
    shown: Shown
    bucket: int = 0


class Waiting(NamedTuple):
    """A tap in the queue. `deadline` is monotonic seconds."""

    tap: Tap
    future: asyncio.Future[Committed]
    deadline: float


class Queue(msgspec.Struct):
    """What waits for one target."""

    taps: deque[Waiting]
    turns: Turns


Batch = list[tuple[str, list[Waiting]]]


class Committer:
    """The queue in front of the ledger. All times in seconds, all sizes in taps."""

    def __init__(
        self,
        ledger: Ledger,
        near: NearCache,
        clock: Clock,
        metrics: Metrics,
        *,
        max_waiting: int = 20_000,
        max_waiting_per_target: int = 4_000,
        max_batch: int = 512,
        deadline_s: float = 2.0,
        answer_within_s: float = 10.0,
    ) -> None:
        self._ledger = ledger
        self._near = near
        self._clock = clock
        self._metrics = metrics
        self._max_waiting = max_waiting
        self._max_waiting_per_target = max_waiting_per_target
        self._max_batch = max_batch
        self._deadline_s = deadline_s
        self._answer_within_s = answer_within_s
        self._queues: dict[str, Queue] = {}  # in the order in which targets get their turn
        self._line = Line(max_batch)
        self.waiting = 0
        self._running: asyncio.Task[None] | None = None
        self._scheduled = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._expiry: asyncio.TimerHandle | None = None

    def submit(self, target: str, tap: Tap) -> asyncio.Future[Committed]:
        """Queue a tap; the future has its answer, `Overloaded`, `Unavailable`, `Corrupt` or `OutcomeUnknown`.

        Raises `Overloaded` if the queue is full, or too long for the tap to be stored in time.
        """
        queue = self._queues.get(target)
        queued, room = len(queue.taps) if queue else 0, self._max_waiting - self.waiting
        if room <= 0 or queued >= min(room, self._max_waiting_per_target):
            raise Overloaded("Too many taps are waiting to be stored; try again in a moment.")
        now_s = self._clock.monotonic_s()
        wait_s = queue.turns.wait_s(queued, now_s) if queue else self._line.wait_s(len(self._queues))
        refuse_late(wait_s, self._deadline_s)
        if queue is None:
            queue = self._queues[target] = Queue(deque(), Turns())
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Committed] = loop.create_future()
        queue.taps.append(Waiting(tap, future, now_s + self._deadline_s))
        self.waiting += 1
        if not self._scheduled and self._running is None:
            # At the end of this turn of the loop, so that whatever arrives in the same turn rides along.
            self._scheduled = True
            self._idle.clear()
            loop.call_soon(self._start)
        if self._expiry is None:
            self._expiry = loop.call_later(EXPIRE_EVERY_S, self._expire)
        return future

    async def drain(self) -> None:
        """Wait until everything queued has been committed and answered."""
        await self._idle.wait()

    def _start(self) -> None:
        """Hand the next batch over, if there is one."""
        self._scheduled = False
        batch = self._take()
        if batch:
            self._running = asyncio.get_running_loop().create_task(self._commit(batch))
        else:
            self._running = None
            self._idle.set()

    def _take(self) -> Batch:
        """The next batch: of each target in turn at most one share, until the batch is full."""
        batch: Batch = []
        room, now_s = self._max_batch, self._clock.monotonic_s()
        for target in list(self._queues):
            if room <= 0:
                break
            queue = self._queues.pop(target)
            taken = share(queue.taps, room)
            if queue.taps:
                self._queues[target] = queue  # to the end of the line
                queue.turns.took(now_s)
                queue.turns.gave([waiting.tap for waiting in taken], len(taken))
            self._line.moved(now_s)
            room -= len(taken)
            batch.append((target, taken))
        if not self._queues:
            self._line.ended()
        self.waiting -= self._max_batch - room
        return batch

    async def _commit(self, batch: Batch) -> None:
        overdue = asyncio.get_running_loop().call_later(self._answer_within_s, self._give_up, batch)
        try:
            results = await self._commit_cells(batch)
        finally:
            overdue.cancel()
            self._start()  # first give the ledger its next batch, then answer this one
        for (target, taken), result in zip(batch, results, strict=True):
            if isinstance(result, PlauditError):
                self._refuse(target, taken, result)
                continue
            shown = self._near.publish(target, result.target)
            for waiting, answer in zip(taken, result.answers, strict=True):
                if not waiting.future.done():
                    waiting.future.set_result(Committed(answer, shown))

    async def _commit_cells(self, batch: Batch) -> Sequence[CellResult | PlauditError]:
        """One result for each cell, or what kept it from being stored."""
        work = [CellTaps(target, [waiting.tap for waiting in taken]) for target, taken in batch]
        try:
            results = await self._ledger.commit(work)
        except Corrupt as error:
            if len(batch) == 1:
                log.error("taps on %s cannot be stored: %s", batch[0][0], error)
                return [error]
            # One cell that cannot be read must not take the others with it; nothing of the batch was stored.
            middle = len(batch) // 2
            return [
                *await self._commit_cells(batch[:middle]),
                *await self._commit_cells(batch[middle:]),
            ]
        except PlauditError as error:
            return [error] * len(batch)
        except Exception as error:
            log.exception("a commit failed in a way nobody foresaw")
            return [OutcomeUnknown(f"the commit failed: {error!r}")] * len(batch)
        self._metrics.committed(len(work), sum(len(cell.taps) for cell in work))
        return results

    def _refuse(self, target: str, taken: list[Waiting], error: PlauditError) -> None:
        if isinstance(error, OutcomeUnknown):
            self._near.forget(target)
        for waiting in taken:
            _fail(waiting, error)

    def _give_up(self, batch: Batch) -> None:
        """The disk does not answer: the taps may still be stored, but nobody is kept waiting for it."""
        for target, taken in batch:
            self._refuse(target, taken, OutcomeUnknown("The store did not confirm in time."))

    def _expire(self) -> None:
        """Refuse what has waited past its deadline without being handed over; it is not stored."""
        self._expiry = None
        now = self._clock.monotonic_s()
        late = Overloaded("The tap could not be stored in time.", code="deadline")
        for target, queue in list(self._queues.items()):
            while queue.taps and queue.taps[0].deadline <= now:
                _fail(queue.taps.popleft(), late)
                self.waiting -= 1
            if not queue.taps:
                del self._queues[target]
        if self._queues:
            self._expiry = asyncio.get_running_loop().call_later(EXPIRE_EVERY_S, self._expire)


def _fail(waiting: Waiting, error: PlauditError) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(error)
