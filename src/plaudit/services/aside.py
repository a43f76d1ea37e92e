"""Aside: what cannot be handled is put aside, and the rest goes on, so that one damaged place does not silence all.

As `consume` does it with events of the cluster: what is away is waited for; anything else is searched for by halves,
named in the log, and counted as quarantined. Where very many fail in a row and nothing works it is more likely us than
them: then nothing is put aside, and everything waits.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from plaudit.domain.errors import Corrupt
from plaudit.services.consume import TRIES, decide
from plaudit.telemetry import Metrics

T = TypeVar("T")
Handle = Callable[[Sequence[T]], Awaitable[object]]

log = logging.getLogger("plaudit.aside")

PAUSE_S = 1.0  # what nobody foresaw may be over by then
MOST = 100  # in a row, without one that works: a damaged page holds fewer


class _Sifted(Generic[T]):
    def __init__(self) -> None:
        self.worked = False
        self.failed: list[tuple[T, Exception]] = []


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

        `handle` is idempotent. Raises what it raises where that is to be waited for, or may be our fault.
        """
        sifted = _Sifted[T]()
        await _search(items, handle, sifted)
        self._in_a_row = 0 if sifted.worked else self._in_a_row + len(sifted.failed)
        if self._in_a_row > MOST:
            raise sifted.failed[-1][1]
        for item, error in sifted.failed:
            why = f"{type(error).__name__}: {error}"
            log.error("%s: quarantined %s: %s", self._role, self._name(item), why)
            self._metrics.quarantined(self._role)
        return [item for item, _ in sifted.failed]


async def _search(items: Sequence[T], handle: Handle[T], sifted: _Sifted[T]) -> None:
    """Handle them, all at once or in ever smaller parts, and note what came of it."""
    alone = len(items) == 1
    for tries in range(TRIES if alone else 1, 0, -1):
        try:
            await handle(items)
        except Exception as error:
            if decide(error) == "wait" or (len(sifted.failed) >= MOST and not sifted.worked):
                raise
            if alone and tries == 1:
                sifted.failed.append((items[0], error))
            elif alone and not isinstance(error, Corrupt):  # which will be the same in a moment
                await asyncio.sleep(PAUSE_S)
        else:
            sifted.worked = True
            return
    if not alone:
        middle = len(items) // 2
        await _search(items[:middle], handle, sifted)
        await _search(items[middle:], handle, sifted)
