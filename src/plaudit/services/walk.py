"""Walking over everything that is stored, arc by arc, at a bounded rate, going on where an earlier walk ended."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from plaudit.domain.errors import OutcomeUnknown
from plaudit.ports.clock import Clock
from plaudit.ports.sweep import FIRST_TOKEN, LAST_TOKEN, Places
from plaudit.ports.transfer import Progress

T = TypeVar("T")

Page = Callable[[int, int, int], Awaitable[list[tuple[int, T]]]]

# Part of what is stored: another number, and every place that was kept means something else.
ARCS = 64
PAGE = 200
AT_ONCE = 8
PARTS = 1_000  # of an arc, for whoever shows progress


class Throttle:
    """Lets `per_s` pieces through a second, on average; what was not used is lost."""

    def __init__(self, per_s: float, clock: Clock) -> None:
        self._per_s = per_s
        self._clock = clock
        self._free_at_s = 0.0

    async def spend(self, pieces: int) -> None:
        """Wait until what was spent before is paid for, then spend."""
        now_s = self._clock.monotonic_s()
        wait_s = self._free_at_s - now_s
        self._free_at_s = max(now_s, self._free_at_s) + pieces / self._per_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)


class Walk:
    """One task over the ring of tokens. Two of one task at once do the work twice, and no harm."""

    def __init__(self, places: Places, task: str) -> None:
        self._places = places
        self._task = task

    async def run(
        self,
        page: "Page[T]",
        visit: Callable[[T], Awaitable[None]],
        look: Progress = lambda _done, _total: None,
    ) -> None:
        """Visit everything that `page` finds, each at least once, from where the task was; then it begins anew.

        What `visit` raises ends the walk; the next one begins at most a page earlier. Raises `Unavailable`.
        """

        async def visit_each(found: Sequence[T]) -> None:
            await self._visit(found, visit)

        await self.pages(page, visit_each, look)

    async def pages(
        self,
        page: "Page[T]",
        visit: Callable[[Sequence[T]], Awaitable[None]],
        look: Progress = lambda _done, _total: None,
    ) -> None:
        """As `run`, with what is found together."""
        reached = await self._places.reached(self._task)
        total = ARCS * PARTS
        for arc in range(ARCS):
            first, last = arc_of(arc)
            above = reached.get(arc, first)
            while above < last:
                look(arc * PARTS + (above - first) * PARTS // (last - first), total)
                found = await page(above, last, PAGE)
                await visit([thing for _, thing in found])
                above = found[-1][0] if len(found) == PAGE else last
                await self._reach(arc, above)
        look(total, total)
        await self.restart()

    async def restart(self) -> None:
        """Begin anew. Raises `Unavailable`."""
        while True:
            try:
                await self._places.restart(self._task)
                return
            except OutcomeUnknown:
                continue

    async def _visit(self, found: Sequence[T], visit: Callable[[T], Awaitable[None]]) -> None:
        """Visit these, a few at a time; return when all have ended, and raise what one of them raised."""
        room = asyncio.Semaphore(AT_ONCE)

        async def one(thing: T) -> None:
            async with room:
                await visit(thing)

        results = await asyncio.gather(*map(one, found), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _reach(self, arc: int, token: int) -> None:
        try:
            await self._places.reach(self._task, arc, token)
        except OutcomeUnknown:
            pass  # some of it is done again


def arc_of(number: int) -> tuple[int, int]:
    """The tokens of an arc: above the first, up to the second. No cell has the lowest token of all."""
    size = (LAST_TOKEN - FIRST_TOKEN + 1) // ARCS
    first = FIRST_TOKEN + number * size
    return first, LAST_TOKEN if number == ARCS - 1 else first + size
