"""Update counters: the newest event of each cell, in one write."""

import pytest

from plaudit.domain.errors import Unavailable
from plaudit.services.update_counters import UpdateCounters
from tests.support.redis import event, state
from tests.support.totals import MemoryTotals


async def test_only_the_newest_event_of_each_cell_is_written() -> None:
    totals = MemoryTotals()
    events = [event("a", state(seq, seq)) for seq in (2, 5, 3)]
    others = [event("b", state(1, 1)), event("a", state(4, 4), bucket=7)]
    await UpdateCounters(totals).handle([*events, *others])
    assert totals.applied == [[events[1], *others]]


async def test_nothing_to_handle_writes_nothing() -> None:
    totals = MemoryTotals()
    await UpdateCounters(totals).handle([])
    assert totals.applied == []


async def test_what_is_not_written_is_said() -> None:
    totals = MemoryTotals()
    totals.error = Unavailable("no master")
    with pytest.raises(Unavailable):
        await UpdateCounters(totals).handle([event("a", state(1))])
