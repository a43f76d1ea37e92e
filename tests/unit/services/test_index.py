"""How far the lists are: what could not be told is told with what comes next."""

from collections.abc import Mapping
from typing import Any

from plaudit.domain.errors import Unavailable
from plaudit.services.index import SAY_EVERY_S, IndexReactions
from tests.support.clock import ManualClock

NOTHING: Any = None  # what is not asked for here


class Told:
    """See `plaudit.ports.own.Indexed`."""

    def __init__(self) -> None:
        self.away = True
        self.far: dict[int, int] = {}

    async def reach(self, partitions: Mapping[int, int]) -> None:
        if self.away:
            raise Unavailable("simulated")
        self.far |= partitions

    async def reached(self) -> int | None:
        return None

    async def forget(self) -> None:
        return None


async def test_how_far_the_lists_are_is_told_late_where_nobody_could_be_told() -> None:
    told, clock = Told(), ManualClock()
    index = IndexReactions(NOTHING, NOTHING, told, clock)
    await index.reached({0: 5, 1: 6})
    told.away = False
    clock.advance(SAY_EVERY_S)
    await index.reached({1: 7})
    assert told.far == {0: 5, 1: 7}
