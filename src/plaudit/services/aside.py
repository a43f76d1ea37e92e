"""Aside: what cannot be handled is put aside, and the rest goes on, so that one damaged place does not silence all.

As `consume` does it with events of the cluster: what is away is waited for; anything else is searched for by halves,
named in the log, and counted as quarantined. Where as many fail in a row as there, and nothing works, it is more likely
us than them: then nothing is put aside, and everything waits.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from plaudit.domain.errors import Corrupt, Unavailable
from plaudit.services.consume import LIMIT, TRIES, decide
from plaudit.telemetry import Metrics

T = TypeVar("T")
Handle = Callable[[Sequence[T]], Awaitable[object]]

log = logging.getLogger("plaudit.aside")

PAUSE_S = 1.0  # what nobody foresaw may be over by then
SEARCHED = 100  # that fail before the first one that works
# Then no more is begun: nobody waits so long for the rest, and windows are leased for twice as long.
WITHIN_S = 15.0


class Aside(Generic[T]):
    """One for each kind of work. `role` is whose it is, `name` what the log calls one of its pieces."""

    def __init__(self, role: str, name: Callable[[T], str], metrics: Metrics) -> None:
        self._role = role
        self._name = name
        self._metrics = metrics
        self._in_a_row = 0
        metrics.quarantined(role, 0)

    async def sift(self, items: Sequence[T], handle: Handle[T]) -> list[T]:
        """Have all of these handled, but those that fail alone: they are put aside, and returned.

        `handle` is idempotent. Raises what it raises where that is to be waited for, or may be our fault, and
        `Unavailable` where the search takes too long: what was handled until then need not come again.
        """
        search = _Search(handle)
        await search.among(items)
        for _ in range(TRIES - 1):
            await search.again()
        self._in_a_row = 0 if search.worked else self._in_a_row + len(search.failed)
        if self._in_a_row > LIMIT.in_a_row:
            raise search.failed[-1][1]
        for item, error in search.failed:
            why = f"{type(error).__name__}: {error}"
            log.error("%s: quarantined %s: %s", self._role, self._name(item), why)
            self._metrics.quarantined(self._role)
        return [item for item, _ in search.failed]


class _Search(Generic[T]):
    """For those that fail alone."""

    def __init__(self, handle: Handle[T]) -> None:
        self._handle = handle
        self._until_s = asyncio.get_running_loop().time() + WITHIN_S
        self.worked = False
        self.failed: list[tuple[T, Exception]] = []

    async def among(self, items: Sequence[T]) -> None:
        """Handle them, all at once or in ever smaller parts, and note what came of it."""
        try:
            await self._handle(items)
        except Exception as error:
            if decide(error) == "wait" or (len(self.failed) >= SEARCHED and not self.worked):
                raise
            if asyncio.get_running_loop().time() >= self._until_s:
                raise Unavailable("the search for what fails takes too long") from error
            if len(items) == 1:
                self.failed.append((items[0], error))
                return
        else:
            self.worked = True
            return
        # Every other one: whatever works is met soon, also behind many in a row that fail.
        await self.among(items[::2])
        await self.among(items[1::2])

    async def again(self) -> None:
        """The same with those that failed, after one pause for all, unless all are damaged: that stays so."""
        before, self.failed = self.failed, []
        if not all(isinstance(error, Corrupt) for _, error in before):
            await asyncio.sleep(PAUSE_S)
        if before:
            await self.among([item for item, _ in before])
