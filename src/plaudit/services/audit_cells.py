"""The auditor of the cluster profile: compares every cell with its rows, and every derived store with the cell.

header = counted rows = totals in memory = flushed totals = lists = index of each user (`plaudit.services.compare`).
Derived stores are repaired from the ledger, if that is asked for; a ledger that disagrees with itself is reported and
never touched, nor is anything derived from it then.

Traffic cannot look like drift: a cell is compared as of one moment, what was committed a short while ago is not held
against stores that follow, and whatever disagrees is looked at once more before it is believed.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Self

from plaudit.domain.catalogue import MAX_CODE
from plaudit.domain.cell import Row
from plaudit.domain.errors import Corrupt, OutcomeUnknown, Unavailable
from plaudit.domain.lanes import lane_of
from plaudit.ports.cells import CellKey, Cells
from plaudit.ports.clock import Clock
from plaudit.ports.removals import Jobs
from plaudit.ports.sweep import Indexed, Places, Sweep
from plaudit.ports.transfer import Progress
from plaudit.services.background import ended
from plaudit.services.compare import DERIVED, ENTRIES_AT_ONCE, Derived, Drift, Look, Means, Store
from plaudit.services.lanes import SplitCells
from plaudit.services.leftovers import Leftovers
from plaudit.services.publish import Publish
from plaudit.services.walk import Throttle, Walk
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.audit")

ALL = range(1, MAX_CODE + 1)
ROWS_PER_S = 2_000.0
GRACE_S = 60.0
FLUSH_GRACE_S = 900.0
LOOKS = 3
RETRY_S = 10.0


class CellAuditor:
    """Compares, and with `repair` mends what is derived. Lives on the event loop.

    `reactions`: the codes whose lists are looked at, those of the catalogue; retired ones are in it too. `lag_s` says
    how far those who follow the log are behind, if anybody knows: it is added to the grace they have. With `repair`,
    rows of erased users go too, where `leftovers` knows them, and a target that is being deleted gets a job where
    `jobs` has none.
    """

    def __init__(
        self,
        cells: Cells,
        sweep: Sweep,
        places: Places,
        derived: Derived,
        publish: Publish,
        clock: Clock,
        metrics: Metrics,
        *,
        repair: bool,
        leftovers: Leftovers | None = None,
        jobs: Jobs | None = None,
        reactions: Sequence[int] = ALL,
        rows_per_s: float = ROWS_PER_S,
        grace_s: float = GRACE_S,
        flush_grace_s: float = FLUSH_GRACE_S,
        lag_s: Callable[[], float] = lambda: 0.0,
        report: Callable[[Drift], None] = lambda drift: log.error("DRIFT: %s", drift),
    ) -> None:
        self._cells = cells
        self._split_cells = SplitCells(cells)
        self._sweep = sweep
        self._places = places
        self._derived = derived
        self._clock = clock
        self._metrics = metrics
        for store in DERIVED:
            metrics.derived_drifted(store, 0)
        self._repair = repair
        self._leftovers = leftovers
        self._throttle = Throttle(rows_per_s, clock)
        self._grace_s = grace_s
        self._lag_s = lag_s
        self._report = report
        self._means = Means(
            *(cells, sweep, derived, publish, self._throttle, reactions, clock, jobs, self.old),
            flush_due=lambda at: self.old(at, flush_grace_s),
        )
        self.found: Counter[Store] = Counter()
        self.audited = 0
        self.unsettled = 0
        self.lists_left_out = 0  # large targets, of which lists and index were not compared

    async def target(self, target: str) -> None:
        """Look at one target. Raises `Unavailable`."""
        header = (await self._cells.read(CellKey(target), [])).header
        await self._cell(CellKey(target))
        if header is not None and header.lanes > 1:
            for bucket in range(1, header.lanes + 1):
                await self._cell(CellKey(target, bucket))

    async def everything(self, task: str, look: Progress = lambda _done, _total: None) -> None:
        """Look at every cell and then at every user's index, from where the task was. Raises `Unavailable`."""
        cells, users = Walk(self._places, f"{task}:cells"), Walk(self._places, f"{task}:users")
        if not await self._places.reached(f"{task}:users"):
            await cells.run(self._sweep.cells, self._cell, lambda done, total: look(done, 2 * total))
        await users.run(self._sweep.users, self._user, lambda done, total: look(total + done, 2 * total))

    async def _cell(self, key: CellKey) -> None:
        """Look at a cell, and once more at what disagrees: only what does so twice is drift."""
        suspected: set[Drift] = set()
        for _ in range(LOOKS):
            look = Look(self._means, key, fenced=bool(suspected))
            drift = await look.compare()
            if drift is None:
                continue
            confirmed = [d for d in drift if d in suspected]
            if not drift or confirmed:
                self._found(confirmed)
                if self._repair and confirmed:
                    await look.repair(confirmed)
                if self._repair and self._leftovers is not None:
                    await self._leftovers.remove(key.target, look.users)
                self.audited += 1
                self._metrics.audited += 1
                self.lists_left_out += look.lists_left_out
                self._metrics.lists_not_audited += look.lists_left_out
                return
            suspected = set(drift)
        self.unsettled += 1

    async def _user(self, user: str) -> None:
        """Look for entries in a user's index that the ledger knows nothing of."""
        before: tuple[int, str] | None = None
        while True:
            entries = await self._derived.entries.of_user(user, before, ENTRIES_AT_ONCE)
            await self._throttle.spend(len(entries) + 1)
            for entry in entries:
                if await self._stray(user, entry):
                    self._found([Drift("index", entry.target, "an entry without a reaction", user)])
                    if self._repair:
                        await self._derived.entries.unindex(user, [entry])
            if len(entries) < ENTRIES_AT_ONCE:
                return
            before = entries[-1].created_at, entries[-1].target

    async def _stray(self, user: str, entry: Indexed) -> bool:
        """Whether no row of the ledger has that place, and none has had it for a while.

        Where a row has it, what the entry says is compared from the row's cell.
        """
        if not self.old(entry.written_at):
            return False
        cells = self._split_cells
        try:
            # The second costs as much as a commit: only to confirm.
            for read in (cells.read, cells.settle):
                row: Row | None = None
                root = (state := await read(CellKey(entry.target), [user])).header
                if root is not None and root.lanes > 1:
                    state = await read(CellKey(entry.target, lane_of(user, root.lanes)), [user])
                row = state.rows.get(user)
                if row is not None and (row.created_at == entry.created_at or not self.old(row.updated_at)):
                    return False
        except Corrupt:
            return False  # found from its cell
        return True

    def old(self, at: int, grace_s: float | None = None) -> bool:
        """Whether whoever follows the log must have seen what was committed then (microseconds UTC)."""
        grace_s = (self._grace_s if grace_s is None else grace_s) + self._lag_s()
        return at < self._clock.now_us() - grace_s * 1_000_000

    def _found(self, drift: Sequence[Drift]) -> None:
        for one in drift:
            self.found[one.store] += 1
            self._report(one)
            if one.store == "ledger":
                self._metrics.drift += 1
            else:
                self._metrics.derived_drifted(one.store)


class AuditWorker:
    """The auditor as a worker: for ever, at its rate, and again after whatever failed. An async context manager."""

    def __init__(self, auditor: CellAuditor) -> None:
        self._auditor = auditor
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await ended(self._running)

    async def _run(self) -> None:
        while True:
            try:
                await self._auditor.everything("worker")
            except (Unavailable, OutcomeUnknown) as error:
                log.warning("the auditor could not look and will go on from here: %s", error)
            except Exception:  # whatever it is, nobody else would look
                log.exception("the auditor stumbled and will go on from here")
            await asyncio.sleep(RETRY_S)
