"""Totals and a ledger in memory that fail and wait when a test says so, which real ones do not on demand."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from plaudit.domain.cell import Header
from plaudit.domain.errors import Corrupt, PlauditError, Unavailable
from plaudit.domain.events import Committed
from plaudit.domain.lanes import merge
from plaudit.ports.ledger import Target
from plaudit.ports.totals import Totals

Key = TypeVar("Key", str, int)


class MemoryTotals:
    """See `plaudit.ports.totals.Totals`; but "nothing there" does not end after a minute, which is Redis's to do."""

    def __init__(self) -> None:
        self.kept: dict[str, Target] = {}
        self.reads: list[list[str]] = []
        self.applied: list[list[Committed]] = []
        self.error: PlauditError | None = None
        self._cells: dict[str, dict[int, Target]] = {}
        self._whole: set[str] = set()

    async def get(self, ids: Sequence[str]) -> dict[str, Target]:
        self.reads.append(list(ids))
        await self._answer()
        return {id_: self.kept[id_] for id_ in ids if id_ in self.kept}

    async def put(self, states: Mapping[str, Target]) -> None:
        await self._answer()
        for id_, state in states.items():
            if state.cells:
                self._whole.add(id_)
                cells = state.cells.items()
                self._add_up(id_, {bucket: Target(header, state.registration) for bucket, header in cells})
            elif state.header is None:
                self.kept.setdefault(id_, state)
            elif state.header.lanes == 1:
                self._keep_unsplit(id_, state)

    async def apply(self, events: Sequence[Committed]) -> None:
        await self._answer()
        self.applied.append(list(events))
        for event in events:
            state = Target(event.header, event.registration)
            if event.lanes > 1:
                self._add_up(event.target, {event.bucket: state})
            else:
                self._keep_unsplit(event.target, state)

    async def forget(self, ids: Collection[str]) -> None:
        await self._answer()
        for id_ in ids:
            self.kept.pop(id_, None)
            self._cells.pop(id_, None)
            self._whole.discard(id_)

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error

    def _keep_unsplit(self, id_: str, state: Target) -> None:
        if id_ not in self._cells:
            _keep_newer(self.kept, id_, state)

    def _add_up(self, id_: str, cells: Mapping[int, Target]) -> None:
        kept = self._cells.setdefault(id_, {})
        for bucket, state in cells.items():
            _keep_newer(kept, bucket, state)
        headers = {bucket: cell.header for bucket, cell in kept.items() if cell.header is not None}
        root = headers.pop(0, None)
        if id_ in self._whole and root is not None and root.lanes > 1:
            _keep_newer(self.kept, id_, Target(merge(root, headers), kept[0].registration))
        else:
            self.kept.pop(id_, None)


def _keep_newer(kept: dict[Key, Target], key: Key, state: Target) -> None:
    """Keep a state but for what only commits need, unless the same or a newer one is kept."""
    header = state.header or Header()
    before = kept.get(key)
    if before is None or header.seq > (before.header or Header()).seq:
        shown = msgspec.structs.replace(header, last_at=0, erased=(), deleted_at=0)
        kept[key] = Target(shown, state.registration)


class MemoryFlushed:
    """See `plaudit.ports.flushed.Flushed`. Writes when it is let go on."""

    def __init__(self) -> None:
        self.kept: dict[str, Target] = {}
        self.away = False
        self.go = asyncio.Event()
        self.go.set()

    async def get(self, ids: Sequence[str]) -> dict[str, Target]:
        if self.away:
            raise Unavailable("simulated")
        return {id_: self.kept[id_] for id_ in ids if id_ in self.kept}

    async def put(self, states: Mapping[str, Target]) -> None:
        await self.go.wait()
        if self.away:
            raise Unavailable("simulated")
        for id_, state in states.items():
            h = state.header
            if h is not None and h.seq:
                _keep_newer(self.kept, id_, Target(Header(h.seq, h.type, h.counts, h.rows)))


class MemoryIndexed:
    """See `plaudit.ports.own.Indexed`. `partitions`: how many the log has."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self.far: dict[int, int] = {}
        self.away = False

    async def reach(self, partitions: Mapping[int, int]) -> None:
        self._answer()
        self.far |= partitions

    async def reached(self) -> int | None:
        self._answer()
        return min((self.far.get(n, 0) for n in range(self._partitions)), default=0) or None

    async def forget(self) -> None:
        self._answer()
        self.far.clear()

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("simulated")


class Meanwhile:
    """Other totals, but something happens to each target just before it is forgotten or put for the first time."""

    def __init__(self, totals: Totals, happen: Callable[[str], Awaitable[None]]) -> None:
        self._totals = totals
        self._happen = happen
        self._happened: set[str] = set()
        self.get, self.apply = totals.get, totals.apply

    async def put(self, states: Mapping[str, Target]) -> None:
        await self._meanwhile(states)
        await self._totals.put(states)

    async def forget(self, ids: Collection[str]) -> None:
        await self._meanwhile(ids)
        await self._totals.forget(ids)

    async def _meanwhile(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            if id_ not in self._happened:
                self._happened.add(id_)
                await self._happen(id_)


class SlowLedger:
    """See `plaudit.ports.lists.Counters`. Reads end when the gate is open."""

    def __init__(self, **targets: Target) -> None:
        self.now = targets
        self.reads: list[list[str]] = []
        self.under_way = 0
        self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: PlauditError | None = None
        self.damaged: set[str] = set()

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        self.reads.append(list(ids))
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        if self.error is not None:
            raise self.error
        if self.damaged & {*ids}:
            raise Corrupt("a header")
        return {id_: self.now[id_] for id_ in ids if id_ in self.now}


class NoCounters:
    """See `plaudit.ports.lists.Counters`, for a cache of counts that nobody reads."""

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        return {}
