"""The auditor of the cluster profile: compares every cell with its rows, and every derived store with the cell.

header = counted rows = totals in memory = flushed totals = lists = index of each user. Derived stores are repaired from
the ledger, if that is asked for; a ledger that disagrees with itself is reported and never touched, nor is anything
derived from it then.

Traffic cannot look like drift: a cell is compared as of one moment, what was committed a short while ago is not held
against stores that follow, and whatever disagrees is looked at once more before it is believed.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Literal, NamedTuple, Self

from plaudit.domain.catalogue import MAX_CODE
from plaudit.domain.cell import Deleted, Header, Row
from plaudit.domain.errors import Corrupt, OutcomeUnknown, Unavailable
from plaudit.ports.cells import CellKey, Cells
from plaudit.ports.clock import Clock
from plaudit.ports.flushed import Flushed
from plaudit.ports.ledger import Target
from plaudit.ports.sweep import Entries, Indexed, Listed, Places, Sweep
from plaudit.ports.totals import Totals
from plaudit.services.leftovers import Leftovers
from plaudit.services.publish import Publish
from plaudit.services.walk import Look, Throttle, Walk
from plaudit.services.whole import Whole, read_whole
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.audit")

Store = Literal["ledger", "totals", "flushed", "lists", "index"]

ALL = range(1, MAX_CODE + 1)
ROWS_PER_S = 2_000.0
GRACE_S = 60.0
FLUSH_GRACE_S = 900.0
MOST_ROWS = 200_000
LOOKS = 3
USERS_AT_ONCE = 128
ENTRIES_AT_ONCE = 500
RETRY_S = 10.0


class Derived(NamedTuple):
    """The stores that are compared with the ledger."""

    totals: Totals
    flushed: Flushed
    entries: Entries


class Drift(NamedTuple):
    """One thing that disagrees with the ledger: of a target, or of this user's reaction to it."""

    store: Store
    target: str
    what: str
    user: str | None = None


class Audited(NamedTuple):
    """What a look came to. `unsettled`: cells that were changing all the time, or that are split, or too large."""

    cells: int
    unsettled: int
    drift: list[Drift]


class CellAuditor:
    """Compares, and with `repair` mends what is derived. Lives on the event loop.

    `reactions`: the codes whose lists are looked at, those of the catalogue; retired ones are in it too. `lag_s` says
    how far those who follow the log are behind, if anybody knows: it is added to the grace they have. With `repair`,
    rows of erased users go too, where `leftovers` knows them.
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
        reactions: Sequence[int] = ALL,
        rows_per_s: float = ROWS_PER_S,
        grace_s: float = GRACE_S,
        flush_grace_s: float = FLUSH_GRACE_S,
        lag_s: Callable[[], float] = lambda: 0.0,
        report: Callable[[Drift], None] = lambda drift: log.error("DRIFT: %s", drift),
    ) -> None:
        self._cells = cells
        self._sweep = sweep
        self._places = places
        self._derived = derived
        self._publish = publish
        self._clock = clock
        self._metrics = metrics
        self._repair = repair
        self._leftovers = leftovers
        self._reactions = reactions
        self._throttle = Throttle(rows_per_s, clock)
        self._grace_s = grace_s
        self._flush_grace_s = flush_grace_s
        self._lag_s = lag_s
        self._report = report
        self.found: Counter[Store] = Counter()
        self.audited = 0
        self.unsettled = 0

    async def target(self, target: str) -> None:
        """Look at one target. Raises `Unavailable`."""
        await self._cell(CellKey(target))

    async def everything(self, task: str, look: Look = lambda _done, _total: None) -> None:
        """Look at every cell and then at every user's index, from where the task was. Raises `Unavailable`."""
        cells, users = Walk(self._places, f"{task}:cells"), Walk(self._places, f"{task}:users")
        if not await self._places.reached(f"{task}:users"):
            await cells.run(self._sweep.cells, self._cell, lambda done, total: look(done, 2 * total))
        await users.run(self._sweep.users, self._user, lambda done, total: look(total + done, 2 * total))

    async def _cell(self, key: CellKey) -> None:
        """Look at a cell, and once more at what disagrees: only what does so twice is drift."""
        suspected: set[Drift] = set()
        for _ in range(LOOKS):
            look = _Look(self, key, fenced=bool(suspected))
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
        key = CellKey(entry.target)
        try:
            for read in (
                self._cells.read,
                self._cells.settle,
            ):  # the second costs as much as a commit: only to confirm
                state = await read(key, [user])
                row = state.rows.get(user)
                if state.header is not None and state.header.lanes > 1:
                    return False
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


class _Look:
    """One look at one cell."""

    def __init__(self, auditor: CellAuditor, key: CellKey, *, fenced: bool) -> None:
        self._a = auditor
        self._key = key
        self._fenced = fenced
        self._whole: Whole | None = None
        self._stray: list[Listed] = []

    async def compare(self) -> list[Drift] | None:
        """What disagrees; None if the cell did not hold still. Raises `Unavailable`.

        Derived stores are read first, so that they cannot be ahead of the ledger, but for the index, whose places are
        in the rows.
        """
        a, target = self._a, self._key.target
        totals = (await a._derived.totals.get([target])).get(target)
        flushed = (await a._derived.flushed.get([target])).get(target)
        listed = await a._derived.entries.listed(target, a._reactions, MOST_ROWS)
        try:
            whole = await read_whole(a._cells, a._sweep, self._key, MOST_ROWS, fenced=self._fenced)
        except Corrupt as error:
            return [Drift("ledger", target, str(error))]
        if whole is None:
            return None if await self._exists() else []
        self._whole = whole
        await a._throttle.spend(2 * whole.counted + len(listed) + 1)
        if self._key.bucket:
            return []
        ledger = self._ledger(whole)
        if ledger or whole.header.lanes > 1:
            return ledger
        drift = [*self._totals(whole, totals), *self._flushed(whole, flushed)]
        settled = (
            whole.header.deleted != Deleted.PURGING
        )  # while it is, rows and entries go, each in its time
        if settled and whole.rows is not None and len(listed) < MOST_ROWS:
            drift += self._lists(whole, whole.rows, listed)
            drift += await self._index(whole.rows)
        return drift

    async def repair(self, drift: Sequence[Drift]) -> None:
        """Mend what is derived. Raises `Unavailable`: some of it may be mended."""
        a, target, whole = self._a, self._key.target, self._whole
        stores = {one.store for one in drift}
        if whole is None or "ledger" in stores:
            return
        state = Target(whole.header, whole.registration)
        if "totals" in stores:
            await a._derived.totals.forget([target])
            await a._derived.totals.put({target: state})
        if "flushed" in stores:
            await a._derived.flushed.put({target: state})
        confirmed = {one.user for one in drift if one.store == "lists"}
        stray = [entry for entry in self._stray if entry.user in confirmed]
        if stray:
            # Later commits have later times, and earlier ones earlier: nothing of them is deleted that should stay.
            await a._derived.entries.unlist(target, stray, whole.header.last_at)
        users = sorted({one.user for one in drift if one.user is not None} & set(whole.rows or ()))
        for n in range(0, len(users), USERS_AT_ONCE):
            await a._publish.again(self._key, users[n : n + USERS_AT_ONCE], "repair")

    @property
    def users(self) -> Collection[str]:
        """Who has a row, where all of them were seen and none is on its way out."""
        whole = self._whole
        if whole is None or whole.rows is None or whole.header.deleted or whole.header.lanes > 1:
            return ()
        return () if self._key.bucket else whole.rows

    async def _exists(self) -> bool:
        return (await self._a._cells.settle(self._key, [])).header is not None

    def _ledger(self, whole: Whole) -> list[Drift]:
        header = whole.header
        # While a target is being purged its counts are 0 already and its rows are on their way out.
        counts = () if header.deleted else whole.counts
        drift = []
        if _trimmed(header.counts) != _trimmed(counts):
            what = f"the header counts {_trimmed(header.counts)}, its rows add up to {_trimmed(counts)}"
            drift.append(Drift("ledger", self._key.target, f"{what} at {header.seq}"))
        if header.rows != whole.counted:
            what = f"the header says {header.rows} rows, there are {whole.counted}"
            drift.append(Drift("ledger", self._key.target, f"{what} at {header.seq}"))
        return drift

    def _totals(self, whole: Whole, kept: Target | None) -> list[Drift]:
        if kept is None:
            return []
        return self._compare("totals", whole, kept.header or Header(), self._a.old(whole.changed_at))

    def _flushed(self, whole: Whole, kept: Target | None) -> list[Drift]:
        due = self._a.old(whole.changed_at, self._a._flush_grace_s)
        header = kept.header if kept is not None and kept.header is not None else Header()
        if whole.header.seq > header.seq and _trimmed(header.counts) == _trimmed(whole.header.counts):
            return []  # registered, closed or the like: nothing to add up anew
        return self._compare("flushed", whole, header, due)

    def _compare(self, store: Store, whole: Whole, kept: Header, due: bool) -> list[Drift]:
        """What is kept of an earlier state is late only if it is due; of the same or a later one it is wrong."""
        header = whole.header
        same = (kept.seq, _trimmed(kept.counts)) == (header.seq, _trimmed(header.counts))
        if same or (kept.seq < header.seq and not due):
            return []
        what = f"{_trimmed(kept.counts)} at {kept.seq} instead of {_trimmed(header.counts)} at {header.seq}"
        return [Drift(store, self._key.target, what)]

    def _lists(self, whole: Whole, rows: dict[str, Row], listed: Sequence[Listed]) -> list[Drift]:
        """Entries that are missing, and entries that no row stands behind."""
        old, target = self._a.old, self._key.target
        there = set(listed)
        drift = []
        for user, row in rows.items():
            if row.reaction and old(row.updated_at):
                entry = Listed(user, row.reaction, row.created_at)
                if entry not in there:
                    drift.append(Drift("lists", target, f"no entry of {row.reaction}", user))
        for entry in there:
            known = rows.get(entry.user)
            if known is not None and entry == Listed(entry.user, known.reaction, known.created_at):
                continue
            if old(known.updated_at if known is not None else whole.changed_at):
                self._stray.append(entry)
                drift.append(Drift("lists", target, f"an entry of {entry.reaction} too many", entry.user))
        return drift

    async def _index(self, rows: dict[str, Row]) -> list[Drift]:
        """What each user's index says of this target, where it should say something else."""
        places = {
            user: row.created_at
            for user, row in rows.items()
            if row.created_at and self._a.old(row.updated_at)
        }
        users, drift = list(places), []
        for n in range(0, len(users), ENTRIES_AT_ONCE):
            some = {user: places[user] for user in users[n : n + ENTRIES_AT_ONCE]}
            found = await self._a._derived.entries.indexed(self._key.target, some)
            for user in some:
                says = found[user].reaction if user in found else 0
                if says != rows[user].reaction:
                    what = f"{says} instead of {rows[user].reaction}"
                    drift.append(Drift("index", self._key.target, what, user))
        return drift


class AuditWorker:
    """The auditor as a worker: for ever, at its rate, and again after whatever failed. An async context manager."""

    def __init__(self, auditor: CellAuditor, task: str = "worker") -> None:
        self._auditor = auditor
        self._task = task
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._auditor.everything(self._task)
            except (Unavailable, OutcomeUnknown) as error:
                log.warning("the auditor could not look and will go on from here: %s", error)
            except Exception:  # whatever it is, nobody else would look
                log.exception("the auditor stumbled and will go on from here")
            await asyncio.sleep(RETRY_S)


def _trimmed(counts: Sequence[int]) -> tuple[int, ...]:
    """Counts without the zeros at their end, which say nothing."""
    end = len(counts)
    while end and not counts[end - 1]:
        end -= 1
    return tuple(counts[:end])
