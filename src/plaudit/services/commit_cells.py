"""Group commit where many processes write: a queue per cell, and one proposal at a time for each.

While one proposal of a cell is under way, further taps on it queue, and the next one takes them; no timers. Guarantees:

- one user's taps on a target are committed in the order in which this process got them;
- a tap refused with `Overloaded` or `Unavailable` is not stored and never will be;
- a tap whose outcome is unknown is owned until it is known, whether its client still waits or not, and nothing else of
  its cell is proposed meanwhile;
- a cell that is refused, unknown or long in the queue holds up no other target (lanes of its own: `abreast`), and no
  target keeps others from waiting: it has at most as many taps in the queue as there is room left (Choudhury and Hahne,
  "Dynamic queue length thresholds for shared-memory packet switches", 1998);
- a tap that could not be stored before its deadline is refused when it comes.

The place of `plaudit.services.commit` in the cluster profile: the same questions, the same answers. Lives on the event
loop; knows no storage.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random

from plaudit.domain.cell import Tap
from plaudit.domain.errors import OutcomeUnknown, Overloaded, PlauditError, Unavailable
from plaudit.domain.lanes import lane_of
from plaudit.ports.cells import CellKey
from plaudit.ports.clock import Clock
from plaudit.services.abreast import Abreast
from plaudit.services.answer import Answering
from plaudit.services.commit import Committed
from plaudit.services.near import NearCache
from plaudit.services.pace import Backoff, Limits, Rivals
from plaudit.services.propose import Lost, Moved, Open, Proposer, Sealed, Settled
from plaudit.services.publish import Publish
from plaudit.services.share import share
from plaudit.services.split import SplitHot
from plaudit.services.turns import Line, refuse_late
from plaudit.services.waiting import (
    Cell,
    Waiting,
    answer_all,
    fail,
    gone,
    queued_for,
    refuse_overdue,
    stopping,
)
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.commit_cells")

EXPIRE_EVERY_S = 0.25
HELD_S = 0.25  # so long at most a lane waits for another one of its target; commits take far less, where all is well

# What a commit made of a user's reaction on a target, and when: called at once, and returns at once.
Wrote = Callable[[str, str, int, int], None]


class CellCommitter:
    """See the module."""

    def __init__(
        self,
        proposer: Proposer,
        near: NearCache,
        clock: Clock,
        metrics: Metrics,
        random: Random,
        publish: Publish | None = None,
        limits: Limits = Limits(),  # noqa: B008 - a tuple
        backoff: Backoff = Backoff(),  # noqa: B008 - a tuple
        wrote: Wrote | None = None,
        hot: SplitHot | None = None,
    ) -> None:
        self._hot = hot
        self._proposer = proposer
        self._wrote = wrote
        self._near = near
        self._clock = clock
        self._metrics = metrics
        self._random = random
        self._answering = Answering(publish, proposer, limits, clock) if publish is not None else None
        self._limits = limits
        self._backoff = backoff
        self._rivals = Rivals()
        self._abreast = Abreast(proposer.lanes)
        self._held: dict[CellKey, asyncio.TimerHandle] = {}  # lanes under way that others may wait for
        self._cells: dict[CellKey, Cell] = {}
        # Cells with taps and nothing under way, in the order of their turns.
        self._ready: deque[CellKey] = deque()
        self._tasks: dict[asyncio.Task[None], list[Waiting]] = {}  # what each of them carries
        self._under_way, self.waiting = 0, 0
        self._line = Line(limits.max_under_way)
        self.open = 0  # cells with a proposal whose outcome is unknown
        self._scheduled = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._expiry: asyncio.TimerHandle | None = None
        self._closed = False

    def submit(self, target: str, tap: Tap) -> asyncio.Future[Committed]:
        """Queue a tap; the future has its answer, `Overloaded`, `Unavailable`, `Corrupt` or `OutcomeUnknown`.

        Raises `Overloaded` if the queue is full, or too long for the tap to be stored in time.
        """
        lanes = self._proposer.lanes.get(target)
        key = CellKey(target, lane_of(tap.user, lanes)) if lanes else CellKey(target)
        cell = self._cells.get(key)
        limits = self._limits
        if self._closed:
            raise stopping()
        queued = len(cell.queue) if cell is not None else 0
        room = limits.max_waiting - self.waiting
        if (
            room <= 0
            or self.open >= limits.max_open
            or queued >= limits.max_waiting_per_target
            or (room <= self.waiting and queued_for(self._cells, target, lanes) >= room)
        ):
            raise Overloaded("Too many taps are waiting to be stored; try again in a moment.")
        now_s = self._clock.monotonic_s()
        wait_s = cell.turns.wait_s(queued, now_s) if cell is not None else self._line.wait_s(len(self._ready))
        refuse_late(wait_s, limits.deadline_s)
        if cell is None:
            cell = self._cells[key] = Cell(deque())
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Committed] = loop.create_future()
        cell.queue.append(Waiting(tap, future, now_s))
        self.waiting += 1
        self._idle.clear()
        if not cell.busy:
            self._ready_again(key, cell)
        if self._expiry is None:
            self._expiry = loop.call_later(EXPIRE_EVERY_S, self._expire)
        return future

    async def drain(self, within_s: float = 15.0) -> None:
        """Wait until everything queued has been committed and answered, and every unknown outcome is known.

        What the store has not told by then is told as unknown.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            log.warning("stopping with %s cells whose last commit has an unknown outcome", self.open)
            await self.close()

    async def close(self) -> None:
        """Stop where it stands: what is under way gets `OutcomeUnknown`, what is queued `Overloaded`."""
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self._ready.clear()  # or the end of one would start the next
        self._abreast.clear()
        for held in self._held.values():
            held.cancel()
        under_way = dict(self._tasks)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        for batch in under_way.values():
            fail(batch, OutcomeUnknown("This process stopped before the store confirmed."))
        for cell in self._cells.values():
            fail(cell.queue, stopping())
        self._cells.clear()
        self.waiting = 0
        self._idle.set()

    def _ready_again(self, key: CellKey, cell: Cell) -> None:
        """Give the cell a turn, at the end of this turn of the loop, so that what arrives in it rides along."""
        cell.busy = True
        self._ready.append(key)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        """Give turns, as far as there is room."""
        self._scheduled = False
        while self._ready and self._under_way < self._limits.max_under_way:
            key = self._ready.popleft()
            cell = self._cells.get(key)
            if cell is None or not self._abreast.enter(key):
                continue
            if key.bucket:
                self._held[key] = asyncio.get_running_loop().call_later(HELD_S, self._next, key)
            batch = self._take(cell)
            if batch:
                self._under_way += 1
                cell.began_s = self._clock.monotonic_s()
                self._begin(self._attempt(key, cell, batch), batch)
            else:
                self._next(key)
                self._leave(key, cell)
        if not self._ready:
            self._line.ended()

    def _next(self, key: CellKey) -> None:
        """The cell is not under way any more, or for so long that others need not wait: have a lane that does try."""
        held = self._held.pop(key, None)
        if held is None:
            return
        held.cancel()
        if (waited := self._abreast.leave(key)) is not None:
            self._ready.append(waited)
            if not self._scheduled:
                self._scheduled = True
                asyncio.get_running_loop().call_soon(self._start)

    def _begin(self, work: Coroutine[None, None, None], batch: list[Waiting]) -> None:
        """Start a task that carries these taps."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = batch
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self._rest()

    def _rest(self) -> None:
        if not self._cells and not self._tasks:
            self._idle.set()

    def _leave(self, key: CellKey, cell: Cell, *, pause: bool = False) -> None:
        """Nothing is under way for the cell any more: its next turn, after a pause perhaps, or rest."""
        if not cell.queue:
            del self._cells[key]
            self._rest()
            return
        now_s = self._clock.monotonic_s()
        if pause:
            pause_s = self._backoff.pause_s(cell.failures, self._random)
        elif self._rivals.turn(key, now_s):
            pause_s = self._backoff.turn_s(self._random, now_s - cell.began_s)
        else:
            self._ready_again(key, cell)
            return
        asyncio.get_running_loop().call_later(pause_s, self._ready_again, key, cell)

    async def _attempt(self, key: CellKey, cell: Cell, batch: list[Waiting]) -> None:
        """One proposal: from the queue to the answers, or back to the queue."""
        result: Settled | Lost | Moved | Open | Sealed | PlauditError
        try:
            result = await self._proposer.attempt(key, [waiting.tap for waiting in batch])
        except PlauditError as error:
            result = error
        except Exception as error:
            log.exception("a commit failed in a way nobody foresaw")
            result = OutcomeUnknown(f"the commit failed: {error!r}")
        finally:
            self._under_way -= 1
            self._next(key)
            if self._ready and not self._scheduled:
                self._start()
        if isinstance(result, Open):
            back, batch = batch[len(result.taps) :], batch[: len(result.taps)]
            self._put_back(cell, back)
            result = await self._settle(key, result, batch)
        self._finish(key, cell, batch, result)

    async def _settle(
        self, key: CellKey, open_: Open, batch: list[Waiting]
    ) -> Settled | Moved | PlauditError:
        """Own an unknown outcome until it is known. Whoever waits is told after a while that it is not."""
        give_up_s = max(0.0, batch[0].since + self._limits.answer_within_s - self._clock.monotonic_s())
        unknown = OutcomeUnknown("The store did not confirm in time.")
        overdue = asyncio.get_running_loop().call_later(give_up_s, fail, batch, unknown)
        self._near.forget(key.target)
        self.open += 1
        failures = 0
        try:
            while True:
                try:
                    result = await self._proposer.settle(key, open_)
                except PlauditError:
                    raise
                except Exception:
                    log.exception("settling a commit failed in a way nobody foresaw; it goes on")
                    result = None
                if result is not None:
                    return result
                failures += 1
                await asyncio.sleep(self._backoff.pause_s(failures, self._random))
        except PlauditError as error:
            log.warning("the outcome of a commit will never be known: %s", error)
            if self._answering is not None:
                self._begin(self._answering.never_known(key, open_), [])
            return OutcomeUnknown("Nobody can say whether this was stored.")
        finally:
            overdue.cancel()
            self.open -= 1

    def _finish(
        self,
        key: CellKey,
        cell: Cell,
        batch: list[Waiting],
        result: Settled | Lost | Moved | Sealed | PlauditError,
    ) -> None:
        """Answer; what was not stored and still has time goes back to the front of the queue."""
        failed = not isinstance(result, Settled)
        cell.failures = cell.failures + 1 if failed else 0
        cell.error = result if isinstance(result, Unavailable) else None
        if isinstance(result, Lost | Moved):
            self._metrics.commits_refused += 1
            self._rivals.lost(key, self._clock.monotonic_s())
            if self._hot is not None:
                self._hot.refused(key)
        cell.turns.ended(stored=not failed)
        if isinstance(result, Settled | Moved):
            answers = result.answers
            pairs = list(zip(batch, answers, strict=False))
            full = cell.turns.gave([waiting.tap for waiting in batch], len(answers))
            self._put_back(cell, [w for w, answer in pairs if answer is None] + batch[len(answers) :])
            self._leave(key, cell, pause=failed)  # first the next proposal, then the answers to this one
            if isinstance(result, Settled) and result.wrote:
                self._metrics.committed(1, len(pairs))
                wrote = result.wrote
                if self._hot is not None:
                    waiting, rows = len(cell.queue), wrote.header.rows
                    self._hot.committed(key, len(pairs), full, waiting, rows)
                if self._wrote is not None:
                    for t in wrote.transitions:
                        self._wrote(t.user, key.target, t.after, t.at)
            shown = self._near.publish(key.target, result.target)
            told = [(w, Committed(answer, shown, key.bucket)) for w, answer in pairs if answer is not None]
            if self._answering is None:
                answer_all(told)
            else:
                self._begin(self._answering.known(key, result, told), [w for w, _ in told])
        elif isinstance(result, Sealed):
            self._put_back(cell, batch)
            self._to_lanes(key, cell, result.lanes)
        elif isinstance(result, Lost | Unavailable):
            self._put_back(cell, batch)
            self._leave(key, cell, pause=True)
        else:
            if isinstance(result, OutcomeUnknown):
                self._near.forget(key.target)
            self._leave(key, cell)
            fail(batch, result)

    def _to_lanes(self, key: CellKey, cell: Cell, lanes: int) -> None:
        """Queue everything that waits for a root where it belongs, each user's taps in their order."""
        while cell.queue:
            waiting = cell.queue.popleft()
            lane_key = CellKey(key.target, lane_of(waiting.tap.user, lanes))
            lane = self._cells.get(lane_key)
            if lane is None:
                lane = self._cells[lane_key] = Cell(deque())
            lane.queue.append(waiting)
            if not lane.busy:
                self._ready_again(lane_key, lane)
        self._leave(key, cell)

    def _take(self, cell: Cell) -> list[Waiting]:
        """The next batch: at most 128 users, 4 taps of each, in order; without those that nobody waits for."""
        now_s = self._clock.monotonic_s()
        before = len(cell.queue)
        refuse_overdue(cell, now_s - self._limits.deadline_s)
        taken = share(cell.queue, self._limits.max_waiting_per_target, gone)
        self.waiting -= before - len(cell.queue)
        if taken:
            cell.turns.took(now_s)
            self._line.moved(now_s)
        return taken

    def _put_back(self, cell: Cell, batch: list[Waiting]) -> None:
        cell.queue.extendleft(reversed(batch))
        self.waiting += len(batch)
        if batch and self._expiry is None:
            self._expiry = asyncio.get_running_loop().call_later(EXPIRE_EVERY_S, self._expire)

    def _expire(self) -> None:
        """Refuse what has waited past its deadline without being stored; it is not under way, so it never will be."""
        self._expiry = None
        oldest = self._clock.monotonic_s() - self._limits.deadline_s
        for cell in self._cells.values():
            self.waiting -= refuse_overdue(cell, oldest)
        if self.waiting:
            self._expiry = asyncio.get_running_loop().call_later(EXPIRE_EVERY_S, self._expire)
