"""What waits for its turn in a cell, and who waits for it."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from plaudit.domain.cell import Tap
from plaudit.domain.errors import Overloaded, PlauditError
from plaudit.ports.cells import CellKey
from plaudit.services.commit import Committed
from plaudit.services.turns import Turns


class Waiting(NamedTuple):
    """A tap and who waits for it. `since` is monotonic seconds."""

    tap: Tap
    future: asyncio.Future[Committed]
    since: float


class Cell(msgspec.Struct):
    """What is queued for a cell, and whether it has its turn."""

    queue: deque[Waiting]
    busy: bool = False
    failures: int = 0
    began_s: float = 0.0  # the last attempt, monotonic
    error: PlauditError | None = None  # why the last attempt stored nothing
    turns: Turns = msgspec.field(default_factory=Turns)


def queued_for(cells: Mapping[CellKey, Cell], target: str, lanes: int | None) -> int:
    """How many taps wait for any cell of the target."""
    keys = (CellKey(target, bucket) for bucket in range((lanes or 0) + 1))
    return sum(len(cell.queue) for key in keys if (cell := cells.get(key)))


def gone(waiting: Waiting) -> bool:
    """Whether nobody waits for it any more."""
    return waiting.future.done()


def answer_all(told: Iterable[tuple[Waiting, Committed]]) -> None:
    """Give everybody who still waits their answer."""
    for waiting, committed in told:
        if not waiting.future.done():
            waiting.future.set_result(committed)


def stopping() -> Overloaded:
    """What is told to whoever comes too late."""
    return Overloaded("This process is stopping; the next one will take it.", code="unavailable")


def fail(batch: Iterable[Waiting], error: PlauditError) -> None:
    """Tell everybody who still waits."""
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)


def refuse_overdue(cell: Cell, oldest: float) -> int:
    """Refuse what has waited since `oldest` (monotonic seconds) or longer; how many taps that were."""
    queue, before = cell.queue, len(cell.queue)
    while queue and queue[0].since <= oldest:
        late = cell.error or Overloaded("The tap could not be stored in time.", code="deadline")
        fail([queue.popleft()], late)
    return before - len(queue)
