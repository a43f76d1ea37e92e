"""Compare: one look at one cell, or at a target as a whole, beside everything that is derived from it.

header = counted rows (in a lane less what they started from) = totals in memory = flushed totals = lists = index of
each user. A lane alone is compared with its own rows. Whatever is derived is of a target: it is compared from the root,
with all cells together. Nothing is derived anew where the ledger disagrees with itself, in whichever cell. A target
that is being deleted has to have a job that does it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from plaudit.domain.cell import Deleted, Header, Row
from plaudit.domain.errors import Corrupt
from plaudit.domain.lanes import lane_of
from plaudit.ports.cells import CellKey, Cells
from plaudit.ports.clock import Clock
from plaudit.ports.flushed import Flushed
from plaudit.ports.ledger import Target
from plaudit.ports.removals import Jobs, new_job
from plaudit.ports.sweep import Entries, Listed, Sweep
from plaudit.ports.totals import Totals
from plaudit.services.publish import Publish
from plaudit.services.walk import Throttle
from plaudit.services.whole import Together, Whole, read_together, read_whole

Store = Literal["ledger", "totals", "flushed", "lists", "index", "jobs"]
DERIVED: tuple[Store, ...] = ("totals", "flushed", "lists", "index", "jobs")

MOST_ROWS = 200_000
USERS_AT_ONCE = 128
ENTRIES_AT_ONCE = 500


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


class Means(NamedTuple):
    """What a look is made with. `old` says of a time (microseconds UTC) whether whoever follows the log must have seen
    what was committed then, and `flush_due` whether it must have been flushed. Without `jobs` nobody asks who deletes a
    target."""

    cells: Cells
    sweep: Sweep
    derived: Derived
    publish: Publish
    throttle: Throttle
    reactions: Sequence[int]
    clock: Clock
    jobs: Jobs | None
    old: Callable[[int], bool]
    flush_due: Callable[[int], bool]


class Look:
    """One look. `fenced`: it has to be proven that what was read is of one moment."""

    def __init__(self, means: Means, key: CellKey, *, fenced: bool) -> None:
        self._m = means
        self._key = key
        self._target = key.target
        self._fenced = fenced
        self._whole: Together | None = None
        self._kept = 0  # the version of the totals in memory
        self._stray: list[Listed] = []
        self.lists_left_out = False  # whether there are too many rows to compare lists and index with

    async def compare(self, *, split: bool = False) -> list[Drift] | None:
        """What disagrees; None if the cell did not hold still. Raises `Unavailable`.

        Derived stores are read first, so that they cannot be ahead of the ledger, but for the index, whose places are
        in the rows. `split`: whether the target is known to be; what is found out later is looked at once more.
        """
        m, target = self._m, self._target
        if self._key.bucket:
            return await self._lane()
        totals = (await m.derived.totals.get([target])).get(target)
        flushed = (await m.derived.flushed.get([target])).get(target)
        listed = await m.derived.entries.listed(target, m.reactions, MOST_ROWS, split=split)
        try:
            root = await read_whole(m.cells, m.sweep, self._key, MOST_ROWS, fenced=self._fenced)
        except Corrupt as error:
            return [Drift("ledger", target, str(error))]
        if root is None:
            return None if await self._exists() else []
        await m.throttle.spend(2 * root.counted + len(listed) + 1)
        if root.header.lanes > 1 and not split:
            return await self.compare(split=True)
        if ledger := list(_ledger(self._key, root)):
            return ledger
        try:
            whole = await read_together(m.cells, m.sweep, root, target, MOST_ROWS, fenced=self._fenced)
        except Corrupt:
            return []  # a lane cannot be read, and is reported where it is looked at
        if whole is None:
            return None
        await m.throttle.spend(2 * (whole.counted - root.counted))
        if any(
            drift
            for bucket, lane in whole.lanes.items()
            if lane.rows is not None
            for drift in _ledger(CellKey(target, bucket), lane)
        ):
            return []  # as well
        if strangers := list(_strangers(target, whole)):
            return strangers
        self._whole = whole
        self._kept = totals.header.seq if totals is not None and totals.header is not None else 0
        drift = [*self._totals(whole, totals), *self._flushed(whole, flushed), *await self._left(whole)]
        settled = (
            whole.header.deleted != Deleted.PURGING
        )  # while it is, rows and entries go, each in its time
        if settled and whole.rows is not None and len(listed) < MOST_ROWS:
            drift += self._lists(whole, whole.rows, listed)
            drift += await self._index(whole.rows)
        else:
            self.lists_left_out = settled
        return drift

    async def repair(self, drift: Sequence[Drift]) -> None:
        """Mend what is derived. Raises `Unavailable` and `OutcomeUnknown`: some of it may be mended."""
        m, target, whole = self._m, self._target, self._whole
        stores = {one.store for one in drift}
        if whole is None or "ledger" in stores:
            return
        if m.jobs is not None and "jobs" in stores:
            await m.jobs.save(new_job("delete_target", target, m.clock.now_us()))
        state = Target(whole.header, whole.registration, whole.cells)
        if "totals" in stores:
            if self._kept < whole.header.seq:
                await m.derived.totals.put({target: state})
            else:  # nothing that is told would replace it, and what was read here may be old: who reads next asks anew
                await m.derived.totals.forget([target])
        if "flushed" in stores:
            await m.derived.flushed.put({target: state})
        confirmed = {one.user for one in drift if one.store == "lists"}
        for key, stray in self._by_cell({entry.user: entry for entry in self._stray}, confirmed).items():
            # Later commits have later times, and earlier ones earlier: nothing of them is deleted that should stay.
            last_at = (whole.lanes.get(key.bucket) or whole.root).header.last_at
            entries = [entry for entry in self._stray if entry.user in stray]
            await m.derived.entries.unlist(target, entries, last_at, split=whole.header.lanes > 1)
        users = {one.user: None for one in drift if one.user is not None}
        for key, some in self._by_cell(users, whole.rows or ()).items():
            for n in range(0, len(some), USERS_AT_ONCE):
                await m.publish.again(key, some[n : n + USERS_AT_ONCE], "repair")

    def _by_cell(
        self, users: Mapping[str, object], among: Collection[str | None]
    ) -> dict[CellKey, list[str]]:
        """Those of these users who are among the others, by the cell that they tap in."""
        lanes = self._whole.header.lanes if self._whole is not None else 1
        found: dict[CellKey, list[str]] = {}
        for user in sorted(user for user in users if user in among):
            bucket = lane_of(user, lanes) if lanes > 1 else 0
            found.setdefault(CellKey(self._target, bucket), []).append(user)
        return found

    @property
    def users(self) -> Collection[str]:
        """Who has a row, where all of them were seen and none is on its way out."""
        whole = self._whole
        return () if whole is None or whole.rows is None or whole.header.deleted else whole.rows

    async def _lane(self) -> list[Drift] | None:
        """A lane of a split target, compared with its own rows."""
        m = self._m
        try:
            lane = await read_whole(m.cells, m.sweep, self._key, 0, fenced=self._fenced)
        except Corrupt as error:
            return [Drift("ledger", self._target, f"lane {self._key.bucket}: {error}")]
        if lane is None:
            return None if await self._exists() else []
        await m.throttle.spend(lane.counted + 1)
        return list(_ledger(self._key, lane))

    async def _exists(self) -> bool:
        return (await self._m.cells.settle(self._key, [])).header is not None

    async def _left(self, whole: Together) -> list[Drift]:
        """Whether the target is closed, and nobody removes its rows."""
        m = self._m
        if m.jobs is None or whole.header.deleted != Deleted.PURGING or not m.old(whole.changed_at):
            return []
        latest = await m.jobs.latest("delete_target", self._target)
        if latest is not None and latest.state == "running":
            return []
        return [Drift("jobs", self._target, "it is being deleted, and no job does that")]

    def _totals(self, whole: Together, kept: Target | None) -> list[Drift]:
        if kept is None:
            return []
        return self._compare("totals", whole, kept.header or Header(), self._m.old(whole.changed_at))

    def _flushed(self, whole: Together, kept: Target | None) -> list[Drift]:
        due = self._m.flush_due(whole.changed_at)
        header = kept.header if kept is not None and kept.header is not None else Header()
        if whole.header.seq > header.seq and _trimmed(header.counts) == _trimmed(whole.header.counts):
            return []  # registered, closed or the like: nothing to add up anew
        return self._compare("flushed", whole, header, due)

    def _compare(self, store: Store, whole: Together, kept: Header, due: bool) -> list[Drift]:
        """What is kept of an earlier state is late only if it is due; of the same or a later one it is wrong.

        Also of a split target: what was kept had each cell where it is now or before, so of the same sum of `seq` it
        has the same cells.
        """
        header = whole.header
        same = (kept.seq, _trimmed(kept.counts)) == (header.seq, _trimmed(header.counts))
        if same or (kept.seq < header.seq and not due):
            return []
        what = f"{_trimmed(kept.counts)} at {kept.seq} instead of {_trimmed(header.counts)} at {header.seq}"
        return [Drift(store, self._target, what)]

    def _lists(self, whole: Together, rows: Mapping[str, Row], listed: Sequence[Listed]) -> list[Drift]:
        """Entries that are missing, and entries that no row stands behind."""
        old, target = self._m.old, self._target
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

    async def _index(self, rows: Mapping[str, Row]) -> list[Drift]:
        """What each user's index says of this target, where it should say something else."""
        places = {
            user: row.created_at
            for user, row in rows.items()
            if row.created_at and self._m.old(row.updated_at)
        }
        users, drift = list(places), []
        for n in range(0, len(users), ENTRIES_AT_ONCE):
            some = {user: places[user] for user in users[n : n + ENTRIES_AT_ONCE]}
            found = await self._m.derived.entries.indexed(self._target, some)
            for user in some:
                says = found[user].reaction if user in found else 0
                if says != rows[user].reaction:
                    what = f"{says} instead of {rows[user].reaction}"
                    drift.append(Drift("index", self._target, what, user))
        return drift


def _ledger(key: CellKey, cell: Whole) -> Iterator[Drift]:
    """What disagrees within a cell: its header counts its rows, and those that went without a change of counts."""
    header, place = cell.header, f"lane {key.bucket}: " if key.bucket else ""
    counts = [0] * max(len(cell.counts), len(header.erased))
    for code, number in enumerate(cell.counts):
        counts[code] += number
    for code, number in enumerate(
        header.erased
    ):  # of rows in the root, which lanes count as what they started from
        counts[code] += -number if key.bucket else number
    # While a target is being purged its counts are 0 already and its rows are on their way out.
    shown = _trimmed(() if header.deleted else counts)
    if _trimmed(header.counts) != shown:
        what = f"{place}the header counts {_trimmed(header.counts)}, its rows add up to {shown}"
        yield Drift("ledger", key.target, f"{what} at {header.seq}")
    going = (
        key.bucket and header.deleted == Deleted.PURGING
    )  # then those taken over are removed with the others
    if header.rows != cell.new and not going:
        what = f"{place}the header says {header.rows} rows, there are {cell.new}"
        yield Drift("ledger", key.target, f"{what} at {header.seq}")


def _strangers(target: str, whole: Together) -> Iterator[Drift]:
    """Rows of lanes that do not go on from the root's, where both are there."""
    root = whole.root.rows
    if root is None or whole.header.deleted:
        return
    for bucket, lane in whole.lanes.items():
        for user, row in (lane.rows or {}).items():
            before = root.get(user)
            if lane_of(user, whole.header.lanes) != bucket:
                yield Drift("ledger", target, f"lane {bucket}: this user belongs to another", user)
            # One that is being erased has left the root first.
            elif (before.reaction if before else None) != row.base and (before or row.reaction):
                says = before.reaction if before else "nothing"
                yield Drift("ledger", target, f"lane {bucket}: from {row.base}, the root has {says}", user)


def _trimmed(counts: Sequence[int]) -> tuple[int, ...]:
    """Counts without the zeros at their end, which say nothing."""
    end = len(counts)
    while end and not counts[end - 1]:
        end -= 1
    return tuple(counts[:end])
