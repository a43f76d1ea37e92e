"""Split targets as a proposer needs them: lanes that show what the root has of their users, and totals over all cells.

Two parts that know nothing of queues. `SplitCells` reads a lane together with what it goes on from; see
`plaudit.domain.lanes` for why the lane is always read first. `Views` remembers which targets are split, and the headers
of those that this process taps on, so that an answer shows the whole target with the caller's own tap in it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import MAX_USERS_PER_COMMIT, Header, Row
from plaudit.domain.errors import Corrupt, Unavailable
from plaudit.domain.lanes import first, lane_of, merge, touched
from plaudit.ports.cells import CellKey, Cells, CellState, Proposal
from plaudit.ports.clock import Clock
from plaudit.ports.ledger import Target
from plaudit.services.root_users import RootUsers

TARGETS = 10_000
VIEWS = 200  # of up to 64 headers each, some 20 KB; more while they are in use
IN_USE_S = 60.0
VIEW_AGE_S = 1.0
AT_ONCE = 16  # reads of rows by name

Look = Callable[[CellKey, Sequence[str]], Awaitable[CellState]]


class SplitCells:
    """See `plaudit.ports.cells.Cells`. The root is as it is; a lane has the rows of the root in it that it did not take
    over yet, as `touched`, and where nobody wrote it yet the header that it begins with, of `seq` 0.

    With `roots` it is not read for users who surely are not in it.
    """

    def __init__(self, cells: Cells, roots: RootUsers | None = None) -> None:
        self._cells = cells
        self._roots = roots

    # Not `async`, so that cells of targets that are not split cost nothing more.
    def read(self, key: CellKey, users: Iterable[str]) -> Coroutine[Any, Any, CellState]:
        if not key.bucket:
            return self._cells.read(key, users)
        return self._lane(key, tuple(users), self._cells.read)

    def settle(self, key: CellKey, users: Iterable[str]) -> Coroutine[Any, Any, CellState]:
        if not key.bucket:
            return self._cells.settle(key, users)
        return self._lane(key, tuple(users), self._cells.settle)

    def propose(self, key: CellKey, proposal: Proposal) -> Coroutine[Any, Any, bool]:
        return self._cells.propose(key, proposal)

    async def _lane(self, key: CellKey, users: Sequence[str], look: Look) -> CellState:
        lane = await look(key, users)  # first: what the root says after it is at least as new
        missing = [user for user in users if user not in lane.rows]
        if self._roots is not None:
            missing = self._roots.maybe(key.target, missing)
        if not missing and lane.header is not None:
            return lane
        root, header = await self._root(key.target, missing)
        if self._roots is not None:
            self._roots.missed(key.target, len(missing) - len(root.rows))
        rows = {**lane.rows, **{user: touched(row) for user, row in root.rows.items()}}
        if lane.header is None:
            return CellState(first(header, key.bucket), root.registration, rows)
        return CellState(lane.header, lane.registration, rows)

    async def _root(self, target: str, users: Sequence[str]) -> tuple[CellState, Header]:
        """The sealed root. A read may miss a seal that another one showed, until it is at a quorum."""
        for look in (self._cells.read, self._cells.settle):
            root = await look(CellKey(target), users)
            if root.header is not None and root.header.lanes > 1:
                return root, root.header
        raise Corrupt(f"target {target} is not split, and was")


def proposal(key: CellKey, state: CellState, header: Header, rows: Mapping[str, Row]) -> Proposal:
    """From `state`, as `SplitCells` shows it, to `header`. What creates a lane gives it the root's registration."""
    if key.bucket and not state.seq:
        return Proposal(0, header, rows, state.registration)
    return Proposal(state.seq, header, rows, lanes=state.header.lanes if state.header else 1)


class _View(msgspec.Struct):
    """Headers of a split target, each as new as this process knows it."""

    root: Header
    lanes: dict[int, Header]
    read_s: float
    used_s: float = 0.0
    reading: bool = False


class Views:
    """See the module. Bounded: what was used longest ago is forgotten first. Lives on the event loop."""

    def __init__(self, cells: Cells, clock: Clock) -> None:
        self._cells = cells
        self._clock = clock
        self.lanes: OrderedDict[str, int] = OrderedDict()
        """Over how many lanes a target is split, of those that this process knows to be."""
        self._views: OrderedDict[str, _View] = OrderedDict()
        self._first: dict[str, asyncio.Task[None]] = {}

    def learn(self, target: str, lanes: int) -> None:
        """The target is split, for ever."""
        self.lanes[target] = lanes
        self.lanes.move_to_end(target)
        if len(self.lanes) > TARGETS:
            self.lanes.popitem(last=False)

    def expect(self, target: str) -> None:
        """Somebody is about to need a split target `ready`: begin to read, beside what else is read for its taps."""
        if target not in self._views:
            self._begin(target)

    async def ready(self, target: str) -> None:
        """Return when all headers of a split target are known; they are read anew once in a while, by one who asks.

        Raises `Unavailable` and `Corrupt` where they cannot be read and never were.
        """
        view = self._views.get(target)
        if view is None:
            await asyncio.shield(self._begin(target))
            return
        now_s = view.used_s = self._clock.monotonic_s()
        if not view.reading and view.read_s + VIEW_AGE_S < now_s:
            view.reading = True
            try:
                await self._read(target)
            except Unavailable:
                view.read_s = now_s  # it is only a little older, then
            finally:
                view.reading = False

    def seen(
        self,
        key: CellKey,
        header: Header | None,
        registration: Registration | None,
        beside: Mapping[int, Header] | None = None,
    ) -> Target:
        """The target when a cell of it had this header, and lanes those `beside`. Split ones must be `ready`.

        Of these cells exactly that is shown, because an answer says what is in it; of all others the newest known.
        """
        if header is None or header.lanes == 1:
            return Target(header, registration)
        view = self._views[key.target]
        told = dict(beside or {})
        if not key.bucket:
            view.root = max(view.root, header, key=_seq)
        else:
            told[key.bucket] = header
        shown = view.lanes | told
        for bucket, lane in told.items():
            view.lanes[bucket] = max(view.lanes.get(bucket, lane), lane, key=_seq)
        return Target(merge(view.root, shown), registration)

    def _begin(self, target: str) -> "asyncio.Task[None]":
        reading = self._first.get(target)
        if reading is None:
            reading = self._first[target] = asyncio.create_task(self._read(target))
            reading.add_done_callback(lambda task: self._read_first(target, task))
        return reading

    def _read_first(self, target: str, task: "asyncio.Task[None]") -> None:
        del self._first[target]
        if not task.cancelled():
            task.exception()  # whoever waits has it too

    async def _read(self, target: str) -> None:
        """Read every header, and keep what is newer."""
        root, lanes = await headers(self._cells, target)
        view = self._views.setdefault(target, _View(root, {}, 0.0))
        view.root = max(view.root, root, key=_seq)
        for bucket, header in lanes.items():
            view.lanes[bucket] = max(view.lanes.get(bucket, header), header, key=_seq)
        view.read_s = view.used_s = now_s = self._clock.monotonic_s()
        self._views.move_to_end(target)
        while len(self._views) > VIEWS and next(iter(self._views.values())).used_s + IN_USE_S < now_s:
            self._views.popitem(last=False)


async def headers(cells: Cells, target: str) -> tuple[Header, dict[int, Header]]:
    """The root of a split target, and every lane that was written. Raises `Unavailable` and `Corrupt`."""
    root = (await cells.settle(CellKey(target), ())).header
    if root is None or root.lanes == 1:
        raise Corrupt(f"target {target} is not split, and was")
    buckets = range(1, root.lanes + 1)
    states = await asyncio.gather(*(cells.read(CellKey(target, bucket), ()) for bucket in buckets))
    return root, {b: state.header for b, state in zip(buckets, states, strict=True) if state.header}


async def readable(cells: Cells, target: str, count: int) -> tuple[dict[int, Header], int]:
    """The lanes that were written, and how many more cannot be read."""
    looks = (cells.read(CellKey(target, bucket), ()) for bucket in range(1, count + 1))
    lanes, unreadable = dict[int, Header](), 0
    for bucket, state in enumerate(await asyncio.gather(*looks, return_exceptions=True), 1):
        if isinstance(state, Corrupt):
            unreadable += 1
        elif isinstance(state, BaseException):
            raise state
        elif state.header is not None:
            lanes[bucket] = state.header
    return lanes, unreadable


async def version(cells: Cells, target: str) -> int:
    """The version that the target has, over all of its cells: no lower than any that was ever shown.

    Raises `Unavailable` and `Corrupt`.
    """
    root = await cells.settle(CellKey(target), ())
    over = root.header.lanes if root.header is not None and root.header.lanes > 1 else 0
    lanes = await asyncio.gather(*(cells.settle(CellKey(target, n), ()) for n in range(1, over + 1)))
    return root.seq + sum(lane.seq for lane in lanes)


async def taken_over(cells: Cells, target: str, lanes: int, users: Iterable[str]) -> dict[str, Row]:
    """The rows in their lanes of those of these users who have one there. Raises `Unavailable` and `Corrupt`."""
    by_lane: dict[int, list[str]] = {}
    for user in users:
        by_lane.setdefault(lane_of(user, lanes), []).append(user)
    found: dict[str, Row] = {}
    room = asyncio.Semaphore(AT_ONCE)

    async def read(bucket: int, some: Sequence[str]) -> None:
        async with room:
            found.update((await cells.read(CellKey(target, bucket), some)).rows)

    await asyncio.gather(
        *(
            read(bucket, some[start : start + MAX_USERS_PER_COMMIT])
            for bucket, some in by_lane.items()
            for start in range(0, len(some), MAX_USERS_PER_COMMIT)
        )
    )
    return found


def _seq(header: Header) -> int:
    return header.seq
