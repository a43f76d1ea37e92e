"""Refill: totals from where they are kept near the readers, and from the ledger what is not there.

A read has at most two stages, the totals and then the ledger, whatever the number of targets, and a third for the lanes
of split ones, one read for each. What came from the ledger is kept for the next reader, after the answer; until it is,
whoever reads the same gets it from here. While the totals
are away, or too slow, everything is read from the ledger and `degraded` says so; after a few failures in a row they are
only probed (`services/probed.py`). The ledger is behind a gate: one read of a target at a time, a few reads at once,
and beyond a bound `Overloaded`.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from plaudit.domain.errors import Corrupt, Overloaded, PlauditError, Unavailable
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Counters
from plaudit.ports.totals import Totals
from plaudit.services.background import ended
from plaudit.services.probed import PROBE_EVERY_S, Probed
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.refill")


class Gate(NamedTuple):
    """How much the ledger is asked. `reads`: at once, each of up to a page of targets; `targets`: read or waiting;
    `busy`: from so many on whoever can do without should."""

    reads: int = 16
    targets: int = 2000
    busy: int = 200


_NOTHING = Target()
_Outcome = dict[str, Target] | PlauditError | None  # None: whoever read has gone away


class _Keeping:
    """What is on its way to the totals, and `then` what was so next: who asked the totals before it was there finds it
    here. Each is held only by those who asked before it ended."""

    __slots__ = ("states", "then")

    def __init__(self) -> None:
        self.states: dict[str, Target] = {}
        self.then: _Keeping | None = None

    def get(self, id_: str) -> Target | None:
        at: _Keeping | None = self
        while at is not None and id_ not in at.states:
            at = at.then
        return None if at is None else at.states[id_]


class Refill:
    """See the module, and `plaudit.ports.lists.Counters`, which it is. Use as an async context manager, on one loop.

    Raises `Overloaded`, and `Unavailable` and `Corrupt` where the ledger does.
    """

    def __init__(
        self,
        totals: Totals,
        ledger: Counters,
        metrics: Metrics,
        gate: Gate = Gate(),  # noqa: B008 - a tuple
        probe_every_s: float = PROBE_EVERY_S,
    ) -> None:
        self._totals = totals
        self._ledger = ledger
        self._metrics = metrics
        self._gate = gate
        self._room = asyncio.Semaphore(gate.reads)
        self._probed = Probed("counters", probe_every_s)
        self._reading: dict[str, asyncio.Future[_Outcome]] = {}
        self._unkept: dict[str, Target] = {}
        self._keeping = _Keeping()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def degraded(self) -> bool:
        """Whether the totals did not answer when they were asked last."""
        return self._probed.degraded

    @property
    def away(self) -> bool:
        """Whether they are not asked at all for now, but for a probe each second."""
        return self._probed.away

    @property
    def busy(self) -> bool:
        """Whether much is being read from the ledger, so that one more has to wait for a while."""
        return len(self._reading) >= self._gate.busy

    async def __aenter__(self) -> Self:
        self._metrics.gauge("plaudit_counters_away", lambda: self.away)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop keeping and probing."""
        await self._probed.close()
        await ended(self._keeper)

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        since = self._keeping
        kept = await self._kept(ids)
        if not self.degraded:  # or it may be long on its way
            for id_ in ids:
                if id_ not in kept and (state := self._unkept.get(id_) or since.get(id_)):
                    kept[id_] = state
        missing = [id_ for id_ in ids if id_ not in kept]
        if missing:
            if self.degraded:
                self._metrics.degraded_reads += len(missing)
            else:
                self._metrics.refills += len(missing)
            kept |= await self._refilled(missing)
        return {id_: target for id_, target in kept.items() if target.header is not None}

    async def _kept(self, ids: Sequence[str]) -> dict[str, Target]:
        """What the totals have; nothing at once while they are away."""
        if self.away:
            return {}
        try:
            return await self._probed.ask(lambda: self._totals.get(ids))
        except Unavailable:
            return {}

    async def _refilled(self, ids: Iterable[str]) -> dict[str, Target]:
        """These targets from the ledger, each read once however many ask at the same time."""
        under_way = {id_: future for id_ in ids if (future := self._reading.get(id_)) is not None}
        mine = [id_ for id_ in ids if id_ not in under_way]
        found = await self._read(mine) if mine else {}
        left = []
        for id_, future in under_way.items():
            outcome = await asyncio.shield(future)  # who goes away must not cancel what others wait for
            if isinstance(outcome, PlauditError) and not isinstance(outcome, Corrupt):
                raise outcome
            if outcome is None or isinstance(outcome, Corrupt):  # which may be for another one
                left.append(id_)
            else:
                found[id_] = outcome[id_]
        if left:
            found |= await self._refilled(left)
        return found

    async def _read(self, ids: list[str]) -> dict[str, Target]:
        if len(self._reading) + len(ids) > self._gate.targets:
            raise Overloaded("Too many targets are waiting to be read; try again in a moment.")
        done: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
        self._reading.update(dict.fromkeys(ids, done))
        outcome: _Outcome = None
        try:
            async with self._room:
                stored = await self._ledger.targets(ids)
            outcome = found = {id_: stored.get(id_, _NOTHING) for id_ in ids}
        except PlauditError as error:
            outcome = error
            raise
        finally:
            for id_ in ids:
                del self._reading[id_]
            done.set_result(outcome)
        self._keep(found)
        return dict(found)

    def _keep(self, states: dict[str, Target]) -> None:
        """Have these kept soon, beside whatever else goes on."""
        if self.degraded or len(self._unkept) > self._gate.targets:
            return  # who reads next refills
        self._unkept |= states
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_all())

    async def _keep_all(self) -> None:
        try:
            while self._unkept:
                self._keeping.states, self._unkept = self._unkept, {}
                await self._totals.put(self._keeping.states)
                self._keeping.then = self._keeping = _Keeping()
        except Unavailable as error:
            self._unkept.clear()
            log.info("what was read from the ledger is not kept: %s", error)
        except Exception:
            self._unkept.clear()
            log.exception("keeping what was read failed in a way nobody foresaw")
        finally:
            self._keeper = None
            self._keeping.states = {}
