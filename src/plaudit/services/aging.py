"""The near cache of a process that is not the only one: what it shows is at most so old, then it is read again.

Other processes commit too, and this one hears of it from the totals, which trail the ledger by a moment. So an older
state that is read never takes the place of a newer one seen before: what this process answered, it goes on showing. One
read of a target at a time; of an entry that is read again and has not changed nothing is made anew.

An entry in use is read again before it is too old, together with all others that are, so that nobody waits for it.
Where too much waits to be read already (Redis was emptied, say), what was seen last is shown for a few seconds more
instead of waiting for that, `degraded` says so, and it is read beside.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.errors import Overloaded, PlauditError
from plaudit.ports.clock import Clock
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Counters
from plaudit.services.near import NearCache, Shown

_LONG_AGO = float("-inf")
AHEAD = 0.5  # of the age that an entry may have: from then on it is read again when it is asked for
GATHER_S = 0.01  # so long what is to be read again gathers
TOGETHER = 500
LATE_S = 4.0  # what is shown is never older than 5 s (docs/delivery.md), and what was read trailed the ledger
SAID_FOR_S = 1.0


class AgingNearCache(NearCache):
    """See the module. `get` and `load` answer with entries that were read or committed in the last `max_age_s`."""

    def __init__(
        self,
        counters: Counters,
        catalogue: Catalogue,
        *,
        entries: int,
        public: bool,
        max_age_s: float,
        clock: Clock,
        degraded: Callable[[], bool] = lambda: False,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(counters, catalogue, entries=entries, public=public)
        self._busy = busy
        self._late_s = _LONG_AGO  # when something old was shown last
        self.degraded = lambda: degraded() or self._now_s() < self._late_s + SAID_FOR_S
        self._max_age_s = max_age_s
        self._ahead_s = max_age_s * (1 - AHEAD)
        self._now_s = self._time_s = clock.monotonic_s
        self._due: dict[str, None] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self.get: Callable[[str], Shown | None] = self._young

    async def load(self, ids: Sequence[str]) -> dict[str, Shown]:
        """As `NearCache.load`; while the store is busy, somewhat old entries rather than to wait or be refused."""
        if self._busy() and (known := self._known(ids)) is not None:
            return known
        try:
            return await super().load(ids)
        except Overloaded:
            if (known := self._known(ids)) is None:
                raise
            return known

    def _known(self, ids: Sequence[str]) -> dict[str, Shown] | None:
        """What was seen of these in the last seconds, if all of them were; what is old of it is read soon."""
        found, now_s = {}, self._now_s()
        for id_ in ids:
            shown = self._shown.get(id_)
            if shown is None or shown.seen_s < now_s - LATE_S:
                return None
            if self._young(id_) is None:
                self._late_s = now_s
                self._read_soon(id_)
            found[id_] = shown
        return found

    def forget(self, target_id: str) -> None:
        """Nobody knows whether a commit happened: the next one to ask reads. The entry stays to be compared with."""
        self._loading.pop(target_id, None)
        if shown := self._shown.get(target_id):
            shown.seen_s = _LONG_AGO
        if target_id in self.watched:
            self.changed.add(target_id)

    def _young(self, target_id: str) -> Shown | None:
        shown = self._shown.get(target_id)
        if shown is None:
            return None
        left_s = shown.seen_s + self._max_age_s - self._now_s()
        if left_s < self._ahead_s:
            if left_s < 0:
                return None
            self._read_soon(target_id)
        return shown

    def all(self, ids: Sequence[str]) -> list[Shown] | None:
        """As `NearCache.all`: those that are young enough. One look at the clock for all of them."""
        now_s, found = self._now_s(), []
        oldest_s, soon_s = now_s - self._max_age_s, now_s - self._max_age_s + self._ahead_s
        for id_ in ids:
            shown = self._shown.get(id_)
            if shown is None or shown.seen_s < oldest_s:
                return None
            if shown.seen_s < soon_s:
                self._read_soon(id_)
            found.append(shown)
        return found

    def _read_soon(self, target_id: str) -> None:
        self._due[target_id] = None
        if self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        """Read what is due, as it comes. Where that fails, whoever asks next reads for themselves and is told why."""
        try:
            while self._due:
                await asyncio.sleep(GATHER_S)
                turn = list(islice(self._due, TOGETHER))
                for id_ in turn:
                    del self._due[id_]
                if ids := [id_ for id_ in turn if id_ not in self._loading]:
                    await self._read(ids)
        except PlauditError:
            self._due.clear()
        finally:
            self._refreshing = None

    def _take(self, target_id: str, target: Target, *, fresh: bool) -> Shown:
        known = self._shown.get(target_id)
        if known is None or known.seq < (target.header.seq if target.header else 0):
            return self._put(target_id, target)
        known.seen_s = self._now_s()
        self._shown.move_to_end(target_id)
        if target_id in self.watched:
            # Whoever looked for a change too late, and had it read again, looks once more.
            self.changed.add(target_id)
        return known
