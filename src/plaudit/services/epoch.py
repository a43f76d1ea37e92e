"""The epoch of a store: something that changes when it may have forgotten its last moments."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("plaudit.consume")

ASK_S = 5.0

Epoch = Callable[[], Awaitable[object]]


class Watched:
    """An epoch: something that changes when a store may have forgotten its last moments."""

    def __init__(self, ask: Epoch) -> None:
        self._ask = ask
        self._last: object = None
        self._at_s: float | None = None
        self.clear = True  # whether the last question was answered

    async def changed(self, now_s: float) -> float | None:
        """When it was last known not to have changed, if it may have changed since; else None."""
        before_s = now_s if self._at_s is None else self._at_s
        try:
            async with asyncio.timeout(ASK_S):
                found = await self._ask()
        except Exception as error:  # whatever it is, we do not see
            log.info("the epoch is not to be seen: %s", error)
            self.clear = False
            return before_s
        changed = not self.clear or (self._at_s is not None and found != self._last)
        self.clear, self._last, self._at_s = True, found, now_s
        return before_s if changed else None
