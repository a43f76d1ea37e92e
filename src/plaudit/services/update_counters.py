"""Update counters: what the events say goes to where the totals are kept near the readers.

Of all events of a call only the newest of each cell is written, so a viral target costs a few writes a second whatever
its rate. A handler of events: any order, any repetition, and `Unavailable` means the same events again.
"""

from collections.abc import Sequence

from plaudit.domain.events import Committed
from plaudit.ports.cells import CellKey
from plaudit.ports.totals import Totals


class UpdateCounters:
    """See the module."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    async def handle(self, events: Sequence[Committed]) -> None:
        """Returns when all of it is kept. Raises `Unavailable`: some of it may be; handle the same events again."""
        newest: dict[CellKey, Committed] = {}
        for event in events:
            cell = CellKey(event.target, event.bucket)
            known = newest.get(cell)
            if known is None or event.seq > known.seq:
                newest[cell] = event
        if newest:
            await self._totals.apply(list(newest.values()))
