"""Reread: what streams listen to is read anew every quarter of a second, so that they hear of what others commit.

One read of many targets at a time, and a bounded number a round: where more are watched than that, each has its turn in
a later round. Knows neither streams nor stores: the near cache says what is watched, and notes what has changed.
"""

import asyncio
import logging
from collections import deque
from types import TracebackType
from typing import Self

from plaudit.domain.errors import PlauditError
from plaudit.services.background import ended
from plaudit.services.near import NearCache

log = logging.getLogger("plaudit.reread")

EVERY_S = 0.25
PER_READ = 100  # more would hold the loop up for too long at once
PER_ROUND = 2000  # at which a round takes a few hundredths of a second


class Reread:
    """See the module. An async context manager; reads as long as it is open."""

    def __init__(self, near: NearCache, *, per_round: int = PER_ROUND, every_s: float = EVERY_S) -> None:
        self._near = near
        self._per_round = per_round
        self._every_s = every_s
        self._left: deque[str] = deque()  # those that have not had their turn
        self._failing = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._rounds())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await ended(self._task)

    async def round(self) -> None:
        """Read the next targets. Raises what reading raises; they have had their turn all the same."""
        if not self._left:
            self._left.extend(self._near.watched)
        room = self._per_round
        while self._left and room > 0:
            turn = [self._left.popleft() for _ in range(min(PER_READ, room, len(self._left)))]
            room -= len(turn)
            wanted = [id_ for id_ in turn if id_ in self._near.watched]
            if wanted:
                await self._near.load(wanted)

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.round()
            except PlauditError as error:
                if not self._failing:
                    log.warning("watched targets cannot be read: %s", error)
                self._failing = True
            except Exception:  # a fault with one target must not silence all
                log.exception("a round of reading failed in a way nobody foresaw")
            else:
                self._failing = False
