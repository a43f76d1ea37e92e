"""The steps of deletion and erasure where many processes write: commits of one cell each, made until they hold.

Each may be repeated and made by two at once, which is only wasteful. What a crash leaves between two of them is taken
up by the next step, whoever makes it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress

import msgspec

from plaudit.domain import removal
from plaudit.domain.catalogue import DEFAULT_TYPE
from plaudit.domain.cell import Deleted, Header, Transition
from plaudit.domain.errors import AWAY, Corrupt, OutcomeUnknown, Unavailable
from plaudit.domain.lanes import close, follows, lane_of, merge
from plaudit.ports.cells import EVERYBODY, CellKey, CellRows, Cells, CellState, Proposal
from plaudit.ports.clock import Clock
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Entry, Reacted
from plaudit.ports.removals import Job, Jobs, Stays, new_job, what_stays
from plaudit.ports.users import Marks
from plaudit.services.alter import Alter, Change
from plaudit.services.directory import PROFILE_AGE_S
from plaudit.services.erase import EraseFrom
from plaudit.services.erased import STALE_AFTER_S, Forget
from plaudit.services.follow import Follow
from plaudit.services.lanes import SplitCells, headers, readable
from plaudit.services.publish import Publish

log = logging.getLogger("plaudit.removals")

AT_ONCE = 16  # cells that an erasure changes together
STEP_S = 8.0
# A commit that a process made before it knew of the mark is decided by then.
COMMIT_S = 10.0
# By then no process takes the user's taps or shows the profile any more.
IN_FORCE_AFTER_S = max(STALE_AFTER_S + COMMIT_S, PROFILE_AGE_S + COMMIT_S)


TakeBack = Callable[[str, int | None, bool], Awaitable[int]]
"""Removes what owners were told of a target before that time (microseconds UTC; None: all of it), and returns how many
messages that was; whether it is the last time, see the port. Idempotent. Raises `Unavailable` and `OutcomeUnknown`."""


async def _at_once(_: str) -> Collection[CellKey]:
    """For lists that have every event as soon as it is published."""
    return ()


async def _nothing_told(_: str, __: int | None, ___: bool) -> int:
    """Where nobody is told anything."""
    return 0


class CellRemovals:
    """See `plaudit.ports.removals.Removals`. Lives on the event loop.

    `caught_up` returns when the lists have every event published, and every debt of one made, before it was called;
    raises `Unavailable`. What it returns are cells that cannot be read and that owe the lists something of this user.
    `forget` drops what other stores hold of a user: inbox, devices, own state. `take_back` drops what owners were told.
    """

    def __init__(
        self,
        alter: Alter,
        cells: Cells,
        rows: CellRows,
        publish: Publish,
        jobs: Jobs,
        marks: Marks,
        lists: Reacted,
        clock: Clock,
        caught_up: Callable[[str], Awaitable[Collection[CellKey]]] = _at_once,
        forget: Sequence[Forget] = (),
        take_back: TakeBack = _nothing_told,
        in_force_after_s: float = IN_FORCE_AFTER_S,
        trusted: Callable[[], bool] = lambda: True,
    ) -> None:
        self._alter = alter
        self._follow = Follow(alter)
        self.erase_from = EraseFrom(alter, cells, clock)
        self._cells = cells
        self._rows = rows
        self._publish = publish
        self._jobs = jobs
        self._marks = marks
        self._lists = lists
        self._clock = clock
        self._caught_up = caught_up
        self._forget = forget
        self._take_back = take_back
        self._trusted = trusted
        self._in_force_after_us = round(in_force_after_s * 1_000_000)
        # How far a cell's rows are gone, and the `seq` at which they were: no need to read over them again.
        self._purged: dict[CellKey, tuple[int, str]] = {}
        self._walks: dict[tuple[str, str], _Walk] = {}  # by user and job
        self._room = asyncio.Semaphore(AT_ONCE)

    async def begin_purge(self, target: str, job: Job) -> Target:
        key, lives = CellKey(target), list[int]()

        def decide(state: CellState) -> Change | None:
            old = state.header or Header(type=DEFAULT_TYPE)
            lives.append(old.deleted_at)
            header = close(old) if old.lanes > 1 else removal.begin_purge(old, old.type)
            # While this one waited for its turn others may have deleted the target, and registered it again: then the
            # note is of later than at first. A process that does not know of it drops it.
            if header is old or old.deleted_at > lives[0]:
                return None
            return Change(Proposal(state.seq, header, {}, unregister=True, lanes=old.lanes))

        # First: a target that is closed is purged by somebody. Whoever comes before it is closed closes it.
        await self._jobs.save(msgspec.structs.replace(job, begun=False))
        try:
            look = self._alter.by_name(key)
            root = (await self._alter.commit(key, "delete", look, decide, split_too=True)).target
            try:
                closed = await self._follow.all_lanes(target, root, "delete")
            except Corrupt as error:  # the root is closed, and `purge_some` comes upon that lane
                log.error("a lane of target %s cannot be closed: %s", target, error)
                closed = root
            await self._jobs.save(msgspec.structs.replace(job, begun=True, begun_at=self._clock.now_us()))
            return closed
        except Unavailable as error:
            raise OutcomeUnknown("the job is stored, and the target may not be closed") from error

    async def purge_some(self, target: str, limit: int, job_id: str = "") -> int:
        return await self._count(job_id, "rows", await self._purge_cells(target, limit))

    async def _purge_cells(self, target: str, limit: int) -> int:
        root = await self._cells.settle(CellKey(target), ())
        after = unreadable = 0
        if root.header is not None and root.header.lanes > 1 and _purging(root):
            lanes, unreadable = await self._closed_lanes(target, root.header)
            for bucket, lane in lanes.items():
                try:
                    if lane.deleted != Deleted.PURGED:
                        removed, lane = await self._purge_some(CellKey(target, bucket), limit)
                        if removed:
                            return removed
                except Corrupt as error:
                    log.error("lane %s of target %s is not removed: %s", bucket, target, error)
                    unreadable += 1
                after = max(after, lane.last_at)
        removed, _ = await self._purge_some(CellKey(target), limit, after, may_end=not unreadable)
        if unreadable and not removed:
            raise Stays(f"{unreadable} of its lanes")
        return removed

    async def _closed_lanes(self, target: str, root: Header) -> tuple[dict[int, Header], int]:
        """See `readable`; of a target that is being deleted: whoever closed it may have died before they followed."""
        lanes, unreadable = await readable(self._cells, target, root.lanes)
        if len(lanes) + unreadable < root.lanes or not all(follows(lane, root) for lane in lanes.values()):
            with suppress(Corrupt):
                await self._follow.all_lanes(target, Target(root), "delete")
            lanes, unreadable = await readable(self._cells, target, root.lanes)
        return lanes, unreadable

    async def _purge_some(
        self, key: CellKey, limit: int, after: int = 0, *, may_end: bool = True
    ) -> tuple[int, Header]:
        """The same of one cell, and its header; the last of its rows make it purged, if it may be, at a time behind
        `after`."""
        left_at, left = self._purged.get(key, (0, ""))
        pages: dict[int, list[str]] = {}  # by the `seq` from which they are taken away

        async def look(_: bool) -> CellState:
            # Rows of a target that is being purged only go, and a proposal proves that none went since.
            state = await self._cells.settle(key, ())
            place = left if state.seq == left_at else ""  # else it may be there anew since
            rows = await self._rows.page(key, place, limit + 1) if _purging(state) else {}
            return CellState(state.header, state.registration, rows)

        def decide(state: CellState) -> Change | None:
            if state.header is None or not _purging(state):
                return None
            last = len(state.rows) <= limit and may_end
            page = pages[state.seq] = list(state.rows)[:limit]
            if not page and not last:
                return None
            rows = {user: state.rows[user] for user in page}
            header, moved = removal.purge_rows(state.header, rows, after, last=last)
            through = EVERYBODY if last else page[-1]
            proposal = Proposal(state.seq, header, {}, gone_through=through, lanes=header.lanes)
            return Change(proposal, moved, told_before=True)

        altered = await self._alter.commit(key, "delete", look, decide, split_too=True)
        change, header = altered.change, altered.target.header or Header()
        if change is None or change.proposal.gone_through == EVERYBODY:
            self._purged.pop(key, None)
        else:
            self._purged[key] = change.proposal.header.seq, change.proposal.gone_through
        return len(pages[change.proposal.seq]) if change is not None else 0, header

    async def take_back(self, target: str, job_id: str = "", *, last: bool) -> int:
        root = (await self._cells.settle(CellKey(target), ())).header
        if root is not None and root.lanes > 1 and not root.deleted:
            root = merge(*await headers(self._cells, target))
        taken_back = await self._take_back(target, removal.told_before(root), last)
        return await self._count(job_id, "messages", taken_back)

    async def _count(self, job_id: str, what: str, count: int) -> int:
        """What is done is done, and told of whether it can be counted or not: a receipt says "at least"."""
        if count and job_id:
            try:
                if job := await self._jobs.get(job_id):
                    removed = job.removed | {what: job.removed.get(what, 0) + count}
                    await self._jobs.save(msgspec.structs.replace(job, removed=removed))
            except AWAY as error:
                log.warning("job %s has removed %s %s more than it says: %s", job_id, count, what, error)
        return count

    async def mark_erased(self, user: str, job: Job) -> None:
        await self._jobs.save(job)  # first: whoever is marked is erased by somebody
        try:
            await self._marks.mark(user)
            await self._forget_all(user)
        except Unavailable as error:
            raise OutcomeUnknown("the job is stored, and the user may not be marked") from error

    async def mark_again(self, user: str, erased_at: int) -> None:
        """Mark a user who was erased elsewhere then (microseconds UTC). If a list has reactions of theirs, the job that
        removes them is stored before; and one is if something else cannot be forgotten, whose receipt says so. Raises
        `Unavailable` and `OutcomeUnknown`: do it again.
        """
        job = new_job("erase_user", user, self._clock.now_us())
        if reacted := bool(await self._lists.reacted(user, None, 1)):
            await self._jobs.save(job)
        await self._marks.mark(user, erased_at)
        if not await self._forget_all(user) and not reacted:
            await self._jobs.save(job)

    async def erase_some(self, user: str, limit: int, job_id: str = "") -> dict[str, Target]:
        await self._in_force(user)
        walk = self._walks.setdefault((user, job_id), _Walk())
        try:
            erased = await self._walk_on(user, limit, walk)
        except AWAY:
            raise
        except Exception:
            self._walks.pop((user, job_id), None)
            raise
        if not erased:
            self._walks.pop((user, job_id), None)
        await self._count(job_id, "rows", len(erased))
        return erased

    async def _walk_on(self, user: str, limit: int, walk: "_Walk") -> dict[str, Target]:
        ends_s = self._clock.monotonic_s() + STEP_S
        while self._clock.monotonic_s() <= ends_s:
            if walk.place is None:
                walk.clean, walk.forgotten = True, await self._forget_all(user)
                walk.missing = {key.target for key in await self._caught_up(user)}
            entries = await self._lists.reacted(user, walk.place, limit)
            if not entries:
                walk.place = None
                walk.nothing = walk.nothing + 1 if walk.clean else 0
                if walk.nothing == 2:
                    for target in walk.missing - walk.stay:
                        log.error("a reaction to %s may not be erased: what is owed cannot be read", target)
                    if what := what_stays(len(walk.missing | walk.stay), forgotten=walk.forgotten):
                        raise Stays(what)
                    return {}
                continue
            walk.place = entries[-1].created_at, entries[-1].key
            if left := [entry for entry in entries if entry.key not in walk.stay]:
                walk.clean = False
                if after := await self._erase_all(user, left, walk.stay):
                    return after
            await asyncio.sleep(0)
        raise Unavailable("the lists still show what is gone from the ledger; the indexer is behind")

    async def _in_force(self, user: str) -> None:
        """Wait, by way of being called again, until every process refuses this user's taps."""
        if not self._trusted():
            raise Unavailable("the clock of this process is not that of the store")
        marked_at = await self._marks.marked_at(user)
        if marked_at is None:  # whoever began this died before
            await self._marks.mark(user)
            marked_at = self._clock.now_us()
        if self._clock.now_us() < marked_at + self._in_force_after_us:
            raise Unavailable("other processes may still take taps of this user")

    async def _erase_all(self, user: str, entries: Sequence[Entry], stay: set[str]) -> dict[str, Target]:
        """What is away is met again in the next walk, behind what can be done now; what fails otherwise stays."""
        after: dict[str, Target] = {}
        away: list[Exception] = []

        async def one(entry: Entry) -> None:
            try:
                async with self._room:
                    target = await self.erase_from(user, entry.key)
                    if target is None:
                        await self._take_off(user, entry)
                    else:
                        after[entry.key] = target
            except AWAY as error:
                away.append(error)
            except Exception as error:
                log.error("a reaction to %s is not erased: %s: %s", entry.key, type(error).__name__, error)
                stay.add(entry.key)

        await asyncio.gather(*map(one, entries))
        if away and not after:
            raise away[0]
        return after

    async def _take_off(self, user: str, entry: Entry) -> None:
        """A list shows what the ledger does not have: say so to the lists."""
        key = CellKey(entry.key)
        state = await self._cells.settle(key, ())
        if state.header is not None and state.header.lanes > 1:
            # Which takes it off the root's list too.
            key = CellKey(entry.key, lane_of(user, state.header.lanes))
            state = await SplitCells(self._cells).settle(key, ())
        header = state.header or Header(type=DEFAULT_TYPE)
        at = max(self._clock.now_us(), header.last_at + 1)
        moved = [Transition(user, None, 0, entry.created_at, at)]
        await self._publish.before(key, header, moved, "erase", state.registration)

    async def _forget_all(self, user: str) -> bool:
        """Whether everything else is forgotten; raises what it raises where a store is away."""
        forgotten = True
        for forget in self._forget:
            try:
                await forget(user)
            except AWAY:
                raise
            except Exception:
                log.exception("something that is kept of an erased user cannot be forgotten")
                forgotten = False
        return forgotten


class _Walk(msgspec.Struct):
    """How far an erasure is here, through the list of what its user reacted to, again and again: a step that runs out
    of time loses nothing of it."""

    place: tuple[int, str] | None = None  # None: at the start
    clean: bool = True  # it has found nothing to remove
    nothing: int = 0  # so many before it were, one after the other
    stay: set[str] = set()  # targets that failed: nobody tries them again
    missing: set[str] = set()  # targets that owe the lists what cannot be read
    forgotten: bool = True


def _purging(state: CellState) -> bool:
    return state.header is not None and state.header.deleted == Deleted.PURGING
