"""Warm: brings totals to where readers look for them, before they do and would all ask the ledger.

For a Redis that is empty, or came back without its last moments. Which targets there are, and when they were last
touched, is read from the flushed totals, which are small and in one table. What they say is never believed: it may be
minutes old and lacks most of what is shown. What is kept of a target afterwards was read from its headers now, as a
refill reads it, and goes the same way: only where nothing newer is kept (docs/decisions/0047). So it may run at any
time, beside everything else, and twice at once.
"""

from collections.abc import Sequence

from plaudit.ports.clock import Clock
from plaudit.ports.flushed import FlushedRing, Touched
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Counters
from plaudit.ports.sweep import Places
from plaudit.ports.totals import Totals
from plaudit.ports.transfer import Progress
from plaudit.services.readable import readable
from plaudit.services.walk import Throttle, Walk

TASK = "warm"
AT_ONCE = 50  # targets read from the ledger together
PER_S = 1_000.0


class Warm:
    """One walk over the flushed totals; `run` goes on where an earlier one was interrupted.

    `since` (microseconds UTC): targets touched before it are left to whoever asks for them; None: all are brought.
    """

    def __init__(
        self,
        flushed: FlushedRing,
        totals: Totals,
        ledger: Counters,
        places: Places,
        clock: Clock,
        *,
        since: int | None,
        per_s: float = PER_S,
    ) -> None:
        self._flushed = flushed
        self._totals = totals
        self._ledger = ledger
        self._walk = Walk(places, TASK if since is not None else f"{TASK} all")
        self._since = since
        self._throttle = Throttle(per_s, clock)
        self.looked_at = 0
        self.there = 0
        self.brought = 0

    async def run(self, look: Progress = lambda _done, _total: None, *, anew: bool = False) -> None:
        """Bring them; with `anew` from the start although an earlier run was interrupted.

        Raises `Unavailable`: run it again, it goes on from there.
        """
        if anew:
            await self._walk.restart()
        await self._walk.pages(self._flushed.touched, self._bring, look)

    async def _bring(self, found: Sequence[Touched]) -> None:
        self.looked_at += len(found)
        wanted = [one for one in found if self._since is None or one.last_at >= self._since]
        kept = await self._totals.get([one.target for one in wanted]) if wanted else {}
        missing = [one.target for one in wanted if not _as_new(kept.get(one.target), one.version)]
        self.there += len(wanted) - len(missing)
        for first in range(0, len(missing), AT_ONCE):
            some = missing[first : first + AT_ONCE]
            await self._throttle.spend(len(some))
            states = await readable(self._ledger, some)
            await self._totals.put(states)
            self.brought += len(states)


def _as_new(kept: Target | None, version: int) -> bool:
    """Whether what is kept is at least of this version: then the events after it have come, or are on their way."""
    return kept is not None and kept.header is not None and kept.header.seq >= version
