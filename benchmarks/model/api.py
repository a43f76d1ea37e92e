"""The taps of an API process as the model has them: a queue per cell, commits by natural batching, events.

The rules are those of `plaudit.services` (`commit_cells`, `publish`), with their limits. A cell is a number; a tap's
number is its key, so that a repeated tap can be recognized.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from benchmarks.model.costs import Costs
from benchmarks.model.engine import Simulation, Thread
from benchmarks.model.stores import US, Ledger, Log
from plaudit.domain.cell import MAX_USERS_PER_COMMIT
from plaudit.services.pace import Backoff, Limits
from plaudit.services.publish import FAILURES, PATIENCE_S, PROBE_EVERY_S

MAX_CONNECTIONS = 16_384
KNOWN_CELLS = 10_000
BACKOFF = Backoff()
LIMITS = Limits()

Answered = Callable[[bool], object]  # whether it is stored; False: a 503 with Retry-After


@dataclass(slots=True)
class Tap:
    """One request, and who is told its end."""

    number: int
    cell: int
    answered: Answered
    since: float = 0.0
    row_known: bool = False


@dataclass(slots=True)
class _Cell:
    queue: deque[Tap] = field(default_factory=deque)
    busy: bool = False
    reading: bool = False
    failures: int = 0


class Api:
    """See the module. `ahead`: rows of those who queue are read while a commit is under way."""

    def __init__(
        self,
        simulation: Simulation,
        thread: Thread,
        ledger: Ledger,
        log: Log | None,
        costs: Costs,
        *,
        ahead: bool,
    ) -> None:
        self._simulation = simulation
        self._thread = thread
        self._ledger, self._log, self._costs = ledger, log, costs
        self._ahead = ahead
        self._cells: dict[int, _Cell] = {}
        self._known: OrderedDict[int, int] = OrderedDict()
        self._open = 0
        self._log_failures = 0
        self._log_probe_at = 0.0
        self.waiting = self.most_waiting = 0
        self.refused = self.debts = 0

    def tap(self, tap: Tap) -> None:
        """A request arrives."""
        tap.since, tap.row_known = self._simulation.now, False
        if self._open >= MAX_CONNECTIONS:  # the proxy says so, and we know nothing of it
            self.refused += 1
            tap.answered(False)
            return
        self._open += 1
        self._thread.work(self._costs.http / 2 * US, lambda: self._queue(tap))

    def _queue(self, tap: Tap) -> None:
        cell = self._cells.setdefault(tap.cell, _Cell())
        if self.waiting >= LIMITS.max_waiting or len(cell.queue) >= LIMITS.max_waiting_per_target:
            self._refuse(tap)
            return
        cell.queue.append(tap)
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        if not cell.busy:
            self._turn(tap.cell, cell)
        elif self._ahead and not cell.reading and tap.cell in self._known:
            self._read_ahead(tap.cell, cell)

    def _read_ahead(self, key: int, cell: _Cell) -> None:
        asked = [tap for tap in cell.queue if not tap.row_known][:MAX_USERS_PER_COMMIT]
        cell.reading = bool(asked)
        if not asked:
            return

        def read() -> None:
            for tap in asked:
                tap.row_known = True
            cell.reading = False
            if cell.busy:
                self._read_ahead(key, cell)

        self._read(key, len(asked), read)

    def _read(self, key: int, rows: int, then: Callable[[], object]) -> None:
        self._thread.work(self._costs.api_read * US, lambda: self._ledger.read(key, rows, then))

    def _turn(self, key: int, cell: _Cell) -> None:
        """The next commit of a cell: what has waited too long is refused, then up to 128 users."""
        cell.busy = True
        batch: list[Tap] = []
        late = self._simulation.now - LIMITS.deadline_s
        while cell.queue and len(batch) < MAX_USERS_PER_COMMIT:
            tap = cell.queue.popleft()
            self.waiting -= 1
            if tap.since < late:
                self._refuse(tap)
            else:
                batch.append(tap)
        if not batch:
            del self._cells[key]
            return
        unread = sum(not tap.row_known for tap in batch)
        if key in self._known and not unread:
            self._propose(key, cell, batch, self._known[key])
            return

        def read() -> None:
            self._propose(key, cell, batch, self._ledger.seq[key])

        self._read(key, unread, read)

    def _propose(self, key: int, cell: _Cell, batch: list[Tap], seq: int) -> None:
        numbers = [tap.number for tap in batch]
        work_s = (self._costs.api_commit + self._costs.api_row * len(batch)) * US

        def told(applied: bool) -> None:
            if applied:
                self._remember(key, seq + 1)
                cell.failures = 0
                self._turn(key, cell)
                self._publish(key, seq + 1, batch)
            else:
                self._known.pop(key, None)
                cell.queue.extendleft(reversed(batch))
                self.waiting += len(batch)
                for tap in cell.queue:
                    tap.row_known = False
                cell.failures += 1
                pause_s = BACKOFF.pause_s(cell.failures, self._simulation.random)
                self._simulation.after(pause_s, lambda: self._turn(key, cell))

        self._thread.work(work_s, lambda: self._ledger.propose(key, seq, numbers, told))

    def _remember(self, key: int, seq: int) -> None:
        self._known[key] = seq
        self._known.move_to_end(key)
        if len(self._known) > KNOWN_CELLS:
            self._known.popitem(last=False)

    def _publish(self, key: int, seq: int, batch: Sequence[Tap]) -> None:
        """Answer when the event is in the log, or owed: at once while the log is known to be away."""

        def answer() -> None:
            self._answer(batch)

        log, now = self._log, self._simulation.now
        if log is None:
            answer()
            return
        ended = False

        def end(acknowledged: bool) -> None:
            nonlocal ended
            if ended:
                return
            ended = True
            self._log_failures = 0 if acknowledged else self._log_failures + 1
            if acknowledged:
                answer()
            else:
                self._log_probe_at = self._simulation.now + PROBE_EVERY_S
                self._owe(key, answer)

        if self._log_failures >= FAILURES and now < self._log_probe_at:
            self._owe(key, answer)
            return
        self._log_probe_at = now + PROBE_EVERY_S
        self._simulation.after(PATIENCE_S, lambda: end(False))
        work_s = self._costs.publish * US
        self._thread.work(work_s, lambda: log.publish(key, seq, len(batch), lambda: end(True)))

    def _owe(self, key: int, then: Callable[[], object]) -> None:
        self.debts += 1
        self._ledger.write(key, self._costs.read, then)

    def _answer(self, batch: Sequence[Tap]) -> None:
        """One after the other, so that those who wait for them do not all come back at once."""
        for tap in batch:
            self._thread.work(self._costs.http / 2 * US, partial(self._stored, tap))

    def _stored(self, tap: Tap) -> None:
        self._open -= 1
        tap.answered(True)

    def _refuse(self, tap: Tap) -> None:
        def done() -> None:
            self._open -= 1
            tap.answered(False)

        self.refused += 1
        self._thread.work(self._costs.refuse / 2 * US, done)
