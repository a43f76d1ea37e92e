"""How far the lists are: what could not be told is told with what comes next."""

from typing import Any

from plaudit.services.index import SAY_EVERY_S, IndexReactions
from tests.support.clock import ManualClock
from tests.support.totals import MemoryIndexed

NOTHING: Any = None  # what is not asked for here


async def test_how_far_the_lists_are_is_told_late_where_nobody_could_be_told() -> None:
    told, clock = MemoryIndexed(2), ManualClock()
    told.away = True
    index = IndexReactions(NOTHING, NOTHING, told, clock)
    await index.reached({0: 5, 1: 6})
    told.away = False
    clock.advance(SAY_EVERY_S)
    await index.reached({1: 7})
    assert told.far == {0: 5, 1: 7}
