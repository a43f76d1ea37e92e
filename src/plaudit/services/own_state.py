"""Own state: what a user did on some targets, with few questions to the ledger.

Nearly all answers are "no", and a no has no row that could be found. So what a user did lately is kept near the readers
(`plaudit.ports.own`), with a time since when silence means none; the ledger is asked only for targets that are older.
Guarantees:

- none is said only where silence is known to mean it, or the ledger said so;
- the number of stages, one waiting for the other, does not depend on how many targets are asked for;
- what a tap changed is told at once and never waited for. Where it is lost, the indexer tells it again;
- while what is kept is away, a few wait for it, and then nobody does (`services/probed.py`).
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Self

from plaudit.domain.errors import PlauditError, Unavailable
from plaudit.ports.clock import Clock
from plaudit.ports.lists import Entry
from plaudit.ports.own import NOTHING, Change, Indexed, OwnLedger, OwnStates, Recalled, State
from plaudit.services.near import NearCache
from plaudit.services.probed import PROBE_EVERY_S, Probed

log = logging.getLogger("plaudit.own_state")

NEWEST = 256
# The lists follow the log closely enough: every tap that may be missing there is younger than the 15 minutes for which
# taps are kept. What lies between the two bounds is for clocks, and for events that were a little late.
FRESH_US = 10 * 60 * 1_000_000
LOAD_WITHIN_S = 60.0
ASK_EVERY_S = 1.0  # how often it is asked how far the lists are
MOST_UNTOLD = 20_000
PER_TELLING = 1_000
GATHER_S = 0.005  # so long what there is to tell gathers: a round trip costs as much as twenty changes in it


class Own:
    """See the module, and `plaudit.ports.lists.OwnState`. Lives on the event loop; use as an async context manager."""

    def __init__(
        self,
        states: OwnStates,
        indexed: Indexed,
        ledger: OwnLedger,
        near: NearCache,
        clock: Clock,
        probe_every_s: float = PROBE_EVERY_S,
    ) -> None:
        self._states = states
        self._indexed = indexed
        self._ledger = ledger
        self._near = near
        self._clock = clock
        self._probed = Probed("own state", probe_every_s)
        self._loads: dict[str, asyncio.Task[Recalled | None]] = {}
        self._reached: tuple[float, int] | None = None  # when it was asked, and what was said
        self._taps = _Telling(states, create=True)
        self._learnt = _Telling(states, create=False)

    @property
    def away(self) -> bool:
        """Whether what is kept is not asked for at all now, but for a probe each second."""
        return self._probed.away

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Tell what is left to tell, for a moment, and end every load."""
        await self._probed.close()
        await self.told()
        loads = list(self._loads.values())
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)

    async def mine(self, user: str, targets: Sequence[str]) -> dict[str, int]:
        """See `plaudit.ports.lists.OwnState`. Raises `Unavailable`."""
        targets = list(dict.fromkeys(targets))
        if not targets:
            return {}
        known = await self._probed.ask(lambda: self._states.recall(user, targets))
        if known.since is None and len(known.states) < len(targets):
            loaded = await self._load(user)
            if loaded is not None:
                known = Recalled(_newer(known.states, loaded.states), loaded.since)
        found = {target: known.states[target] for target in targets if target in known.states}
        unsure = [target for target in targets if target not in found]
        if unsure and known.since is not None:
            unsure = await self._born_before(known.since, unsure)
        if unsure:
            learnt = await self._ledger.states(user, unsure)
            self._learnt.tell(Change(user, target, state) for target, state in learnt.items())
            found |= learnt
        return {target: state.reaction for target, state in found.items() if state.reaction}

    async def reacted(self, user: str, before: tuple[int, str] | None, limit: int) -> list[Entry]:
        """See `plaudit.ports.lists.Reacted`. Raises `Unavailable`."""
        return await self._ledger.reacted(user, before, limit)

    def wrote(self, user: str, target: str, reaction: int, updated_at: int) -> None:
        """A commit left this state behind: tell it soon. Returns at once, and never fails: what is written within
        `GATHER_S` is told together, and so is what comes while that is under way."""
        self._taps.tell([Change(user, target, State(reaction, updated_at))])

    async def told(self, within_s: float = 1.0) -> bool:
        """Wait until everything `wrote` was told of is told or given up; whether it was, in that time."""
        return all(await asyncio.gather(self._taps.done(within_s), self._learnt.done(within_s)))

    async def _born_before(self, since: int, targets: list[str]) -> list[str]:
        """Those on which the user may have reacted at `since` or before: what was born later has nothing so old."""
        if since == 0:
            return []
        shown = await self._near.load(targets)
        headers = [(target, shown[target].target.header) for target in targets]
        return [target for target, h in headers if h is not None and h.rows and h.born <= since]

    async def _load(self, user: str) -> Recalled | None:
        """Load a user, once however many ask; None if silence will mean nothing all the same."""
        load = self._loads.get(user)
        if load is None:
            load = self._loads[user] = asyncio.create_task(self._load_now(user))
            load.add_done_callback(lambda _: self._loads.pop(user, None))
        # Whoever began it may go away; others wait for it too.
        return await asyncio.shield(load)

    async def _load_now(self, user: str) -> Recalled | None:
        try:
            if not await self._lists_are_fresh():  # before the list is read
                return None
            began_s = self._clock.monotonic_s()
            token = await self._probed.ask(lambda: self._states.begin(user))
            entries = await self._ledger.newest(user, NEWEST + 1)
            since = entries[NEWEST - 1][0].created_at if len(entries) > NEWEST else 0
            states = {entry.key: State(entry.reaction, at) for entry, at in entries[:NEWEST]}
            if self._clock.monotonic_s() - began_s > LOAD_WITHIN_S:
                return None
            agreed = await self._states.finish(user, token, since, states)
        except Unavailable as error:
            log.info("own state could not be loaded: %s", error)
            return None
        return None if agreed is None else Recalled(states, agreed)

    async def _lists_are_fresh(self) -> bool:
        now_s = self._clock.monotonic_s()
        if self._reached is None or now_s - self._reached[0] >= ASK_EVERY_S:
            try:
                reached = await self._probed.ask(self._indexed.reached) or 0
            except Unavailable:
                self._reached = now_s, 0  # others do not wait for it as well
                raise
            self._reached = now_s, reached
        return self._clock.now_us() - self._reached[1] < FRESH_US


class _Telling:
    """Changes on their way: the newest of each (user, target), told in as few round trips as there is time for."""

    def __init__(self, states: OwnStates, *, create: bool) -> None:
        self._states = states
        self._create = create
        self._untold: dict[tuple[str, str], State] = {}
        self._task: asyncio.Task[None] | None = None

    def tell(self, changes: Iterable[Change]) -> None:
        """Have these told."""
        untold = self._untold
        for user, target, state in changes:
            known = untold.get((user, target), NOTHING)
            if known.at <= state.at:
                untold[user, target] = state
        while len(untold) > MOST_UNTOLD:
            del untold[next(iter(untold))]
        if untold and self._task is None:
            self._task = asyncio.create_task(self._tell())

    async def done(self, within_s: float) -> bool:
        """Wait for what there is to tell; whether it ended in that time."""
        if self._task is None:
            return True
        await asyncio.wait([self._task], timeout=within_s)
        if self._task is None:
            return True
        self._task.cancel()
        return False

    async def _tell(self) -> None:
        try:
            while self._untold:
                await asyncio.sleep(GATHER_S)
                places = list(islice(self._untold, PER_TELLING))
                changes = [Change(*place, self._untold.pop(place)) for place in places]
                try:
                    await self._states.note(changes, create=self._create)
                except PlauditError as error:
                    log.info("%s changes of own state were not told: %s", len(changes), error)
        finally:
            self._task = None


def _newer(one: Mapping[str, State], other: Mapping[str, State]) -> dict[str, State]:
    """Of each target the newer state."""
    merged = dict(one)
    for target, state in other.items():
        known = merged.get(target)
        if known is None or known.at < state.at:
            merged[target] = state
    return merged
