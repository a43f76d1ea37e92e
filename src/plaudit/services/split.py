"""Split: one commit on the root, after which a target's taps go to its lanes.

Nothing is moved, so it takes as long as any commit, however big the target is. Two that split at once make one commit;
the number of lanes is that of whoever was first. It is in the journal before it is proposed, as taps are: whoever dies
after the commit leaves it to be published by the one who comes next. An unknown outcome is found out, whether anybody
waits for it or not.
"""

import asyncio
import logging

from plaudit.domain.errors import Invalid, OutcomeUnknown, PlauditError, Unavailable
from plaudit.domain.lanes import LANES, seal
from plaudit.ports.cells import CellKey, CellState, Proposal
from plaudit.ports.clock import Clock
from plaudit.ports.journal import Journal
from plaudit.ports.ledger import Target
from plaudit.services.alter import Alter, Altered, Change
from plaudit.services.heat import Heat
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.split")

AGAIN_S = 1.0


class Split:
    """Splits targets. Idempotent. Lives on the event loop."""

    def __init__(self, alter: Alter, lanes: int = LANES, journal: Journal | None = None) -> None:
        self._alter = alter
        self._lanes = lanes
        self._journal = journal
        self._tasks: set[asyncio.Task[None]] = set()

    async def split(self, target: str) -> Target:
        """Split the target; returns its root, which is split already where somebody else was first.

        Raises `Invalid` (`target_unknown`: nobody ever reacted to it and it is not registered; `target_deleted`),
        `Unavailable`: it is not split. `OutcomeUnknown`: that is being found out; ask again.
        """
        told: asyncio.Future[Target] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._until_known(target, told))
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, told))
        return await told

    async def drain(self, within_s: float = 15.0) -> None:
        """Wait until everything begun has ended; what has not by then is left to whoever adopts the journal."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[None]", told: "asyncio.Future[Target]") -> None:
        self._tasks.discard(task)
        _fail(told, OutcomeUnknown("this process stopped before the store confirmed"))

    async def _until_known(self, target: str, told: "asyncio.Future[Target]") -> None:
        entries: list[int] = []
        unknown = False
        while True:
            try:
                altered = await self._once(target, entries)
            except (OutcomeUnknown, Unavailable) as error:
                unknown = unknown or isinstance(error, OutcomeUnknown)
                _fail(told, error)
                if not unknown:
                    break
                await asyncio.sleep(AGAIN_S)
                continue
            except PlauditError as error:
                _fail(told, error)
                break
            if not told.done():
                told.set_result(altered.target)
            break
        if self._journal is not None:
            for entry in entries:
                self._journal.end(entry)

    async def _once(self, target: str, entries: list[int]) -> Altered:
        """Try for as long as one commit may take; `entries` gets the places of what was proposed."""
        key = CellKey(target)

        def decide(state: CellState) -> Change | None:
            if state.header is None:
                raise Invalid("target_unknown", f"Nobody ever reacted to {target}, and it is not registered.")
            if state.header.deleted:
                raise Invalid("target_deleted", f"{target} was deleted.")
            header = seal(state.header, self._lanes)
            if header is state.header:
                return None
            if self._journal is not None:
                entries.append(self._journal.begin(key, state.seq, ()))
            return Change(Proposal(state.seq, header, {}))

        return await self._alter.commit(key, "repair", self._alter.by_name(key), decide, split_too=True)


def _fail(told: "asyncio.Future[Target]", error: PlauditError) -> None:
    if not told.done():
        told.set_exception(error)


class SplitHot:
    """Splits targets that get too big or too hot for one cell, by what the committer tells of its proposals."""

    def __init__(self, split: Split, heat: Heat, clock: Clock, metrics: Metrics) -> None:
        self._split = split
        self._heat = heat
        self._now_s = clock.monotonic_s
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()

    def refused(self, key: CellKey) -> None:
        """Somebody else was first."""
        if not key.bucket and self._heat.refused(key, self._now_s()):
            self._begin(key.target)

    def committed(self, key: CellKey, taps: int, full: bool, waiting: int, rows: int) -> None:
        """A commit of so many taps, `full` or not; so many more wait for the next, and the cell has so many rows."""
        if not key.bucket and self._heat.committed(key, taps, full, waiting, rows, self._now_s()):
            self._begin(key.target)

    def _begin(self, target: str) -> None:
        task = asyncio.create_task(self._try(target))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try(self, target: str) -> None:
        log.warning("target %s is too big or too hot for one cell and is split", target)
        try:
            await self._split.split(target)
            self._metrics.splits += 1
        except PlauditError as error:
            log.warning("target %s could not be split: %s", target, error)
