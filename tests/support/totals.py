"""Totals and a ledger in memory that fail and wait when a test says so, which real ones do not on demand."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from plaudit.domain.errors import Corrupt, PlauditError
from plaudit.domain.events import Committed
from plaudit.ports.ledger import Target
from plaudit.ports.totals import Totals


class MemoryTotals:
    """See `plaudit.ports.totals.Totals`."""

    def __init__(self) -> None:
        self.kept: dict[str, Target] = {}
        self.reads: list[list[str]] = []
        self.applied: list[list[Committed]] = []
        self.error: PlauditError | None = None

    async def get(self, ids: Sequence[str]) -> dict[str, Target]:
        self.reads.append(list(ids))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return {id_: self.kept[id_] for id_ in ids if id_ in self.kept}

    async def put(self, states: Mapping[str, Target]) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.kept |= states

    async def apply(self, events: Sequence[Committed]) -> None:
        if self.error is not None:
            raise self.error
        self.applied.append(list(events))

    async def forget(self, ids: Collection[str]) -> None:
        for id_ in ids:
            self.kept.pop(id_, None)


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
