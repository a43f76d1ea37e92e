"""Recover: finishes what a process that died had under way, from the journal it left behind.

For each cell in it: first the cell is brought past every `seq` that a proposal of the dead started from, so that none
of them can be applied later; then the state of its users is published; and when all cells of a journal are through, the
journal goes. Killed anywhere in between, it is adopted and done again by the next one, which does no harm.

Runs in the background and holds up nobody: taps on these cells go their way meanwhile. Knows no files.
"""

import asyncio
import logging
from collections.abc import Sequence
from random import Random
from typing import NamedTuple, Self

import msgspec

from plaudit.domain.cell import MAX_USERS_PER_COMMIT, Header
from plaudit.domain.errors import Corrupt, OutcomeUnknown, PlauditError, Unavailable
from plaudit.ports.cells import CellKey, Cells
from plaudit.ports.journal import Entry, Journals
from plaudit.services.background import ended
from plaudit.services.lanes import SplitCells, proposal
from plaudit.services.pace import Backoff
from plaudit.services.publish import Publish
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.recover")

LOOK_EVERY_S = 5.0  # for journals of processes that died and were not started again
AT_ONCE = 16


class Left(NamedTuple):
    """What was left of one cell: the last `seq` that a proposal started from, and everybody who was in one."""

    key: CellKey
    seq: int
    users: tuple[str, ...]


class Recover:
    """See the module. Use as an async context manager; `look` alone looks once."""

    def __init__(
        self,
        journals: Journals,
        cells: Cells,
        publish: Publish,
        metrics: Metrics,
        random: Random,
        *,
        look_every_s: float = LOOK_EVERY_S,
        backoff: Backoff = Backoff(0.05, 2.0),  # noqa: B008 - a tuple
    ) -> None:
        self._journals = journals
        self._cells = SplitCells(cells)
        self._publish = publish
        self._metrics = metrics
        self._random = random
        self._look_every_s = look_every_s
        self._backoff = backoff
        self._task: asyncio.Task[None] | None = None
        self.open = 0  # cells that are not through yet

    async def __aenter__(self) -> Self:
        self._metrics.gauge("plaudit_recovering", lambda: self.open)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop where it stands; who comes next begins again."""
        await ended(self._task)

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except PlauditError as error:
                log.warning("journals cannot be adopted now: %s", error)
            except Exception:
                log.exception("recovering failed in a way nobody foresaw; it is tried again")
            await asyncio.sleep(self._look_every_s)

    async def look(self) -> int:
        """Finish every journal that nobody holds; returns how many cells were in them. Raises `Unavailable`."""
        adopted = await self._journals.adopt()
        cells = [cells_of(journal.entries) for journal in adopted]
        self.open = sum(map(len, cells))
        if self.open:
            log.warning("a process died with %s cells under way; finding out", self.open)
        try:
            for journal, left in zip(adopted, cells, strict=True):
                await self._finish(left)
                journal.drop()
        finally:
            self.open = 0
            for journal in adopted:
                journal.release()
        return sum(map(len, cells))

    async def _finish(self, left: Sequence[Left]) -> None:
        """Bring every cell through, some at a time."""
        rest = iter(left)

        async def work() -> None:
            for cell in rest:
                await self._through(cell)
                self.open -= 1
                self._metrics.recovered += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(left))):
                group.create_task(work())

    async def _through(self, left: Left) -> None:
        """Fence and publish one cell; goes on until that works."""
        failures = 0
        while True:
            try:
                await self._fence(left)
                for at in range(0, len(left.users) or 1, MAX_USERS_PER_COMMIT):
                    await self._publish.again(left.key, left.users[at : at + MAX_USERS_PER_COMMIT])
                return
            except Corrupt as error:
                log.error("a cell that was under way cannot be read, and stays unpublished: %s", error)
                return
            except (Unavailable, OutcomeUnknown) as error:
                log.warning("a cell that was under way cannot be settled yet: %s", error)
            failures += 1
            await asyncio.sleep(self._backoff.pause_s(failures, self._random))

    async def _fence(self, left: Left) -> None:
        """Return once no proposal of the dead can be applied any more.

        They are from `seq` at most. If the cell is still there, a commit that changes nothing but `seq` takes their
        place; applied or refused, the cell is not there any more (or it is split, which refuses them too).
        """
        state = await self._cells.settle(left.key, ())
        if state.seq < left.seq:
            log.error("cell %s went back from %s to %s", left.key, left.seq, state.seq)
        if state.seq == left.seq:
            header = state.header or Header()  # without a type, which the first tap will give it
            fence = msgspec.structs.replace(header, seq=state.seq + 1)
            await self._cells.propose(left.key, proposal(left.key, state, fence, {}))


def cells_of(entries: Sequence[Entry]) -> list[Left]:
    """What is left by cell."""
    users: dict[CellKey, dict[str, None]] = {}
    seqs: dict[CellKey, int] = {}
    for entry in entries:
        users.setdefault(entry.key, {}).update(dict.fromkeys(entry.users))
        seqs[entry.key] = max(entry.seq, seqs.get(entry.key, 0))
    return [Left(key, seqs[key], tuple(names)) for key, names in users.items()]
