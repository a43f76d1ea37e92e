"""Caught up: waits until the lists have everything that was published before, and that was owed to the log before.

An erasure goes by the list of what a user reacted to, so what is missing there must be on its way no longer.
"""

import asyncio

from plaudit.domain.errors import Unavailable
from plaudit.ports.clock import Clock
from plaudit.ports.events import SHARDS, Debts
from plaudit.ports.own import Indexed

WITHIN_S = 60.0
LOOK_EVERY_S = 0.5
CLOCKS_US = 2_000_000  # the log's clock and ours, each up to a second off


class CaughtUp:
    """Call it. Raises `Unavailable` where it does not come to pass in time: call it again."""

    def __init__(self, debts: Debts, indexed: Indexed, clock: Clock, within_s: float = WITHIN_S) -> None:
        self._debts = debts
        self._indexed = indexed
        self._clock = clock
        self._within_s = within_s

    async def __call__(self) -> None:
        """Wait for it."""
        try:
            async with asyncio.timeout(self._within_s):
                while not await self._paid():  # noqa: ASYNC110 - others pay
                    await asyncio.sleep(LOOK_EVERY_S)
                until = self._clock.now_us() + CLOCKS_US
                while (await self._indexed.reached() or 0) < until:  # noqa: ASYNC110 - others index
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError as error:
            raise Unavailable("the lists are behind the log, or events are owed to it") from error

    async def _paid(self) -> bool:
        """Whether nothing is owed at all: what is owed now may be older."""
        owed = await asyncio.gather(*(self._debts.owed(shard) for shard in range(SHARDS)))
        return not any(owed)
