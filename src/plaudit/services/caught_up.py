"""Caught up: waits until the lists have everything that was published before, and that was owed to the log before.

An erasure goes by the list of what a user reacted to, so what is missing there must be on its way no longer. What is
owed of a cell that cannot be read comes never, and is not waited for; whom it is about is told so.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection

from plaudit.domain.errors import Unavailable
from plaudit.ports.cells import CellKey
from plaudit.ports.clock import Clock
from plaudit.ports.events import OWED_AT_ONCE, SHARDS, Debt, Debts
from plaudit.ports.own import Indexed

WITHIN_S = 60.0
LOOK_EVERY_S = 0.5
CLOCKS_US = 2_000_000  # the log's clock and ours, each up to a second off


class CaughtUp:
    """Call it. Raises `Unavailable` where it does not come to pass in time: call it again.

    `readable` says whether the cell of a debt can be read.
    """

    def __init__(
        self,
        debts: Debts,
        readable: Callable[[Debt], Awaitable[bool]],
        indexed: Indexed,
        clock: Clock,
        within_s: float = WITHIN_S,
    ) -> None:
        self._debts = debts
        self._readable = readable
        self._indexed = indexed
        self._clock = clock
        self._within_s = within_s

    async def __call__(self, user: str) -> Collection[CellKey]:
        """Wait for it. Returns the cells that cannot be read and owe something of this user."""
        hopeless: dict[object, Debt] = {}
        try:
            async with asyncio.timeout(self._within_s):
                while not await self._paid(hopeless):  # noqa: ASYNC110 - others pay
                    await asyncio.sleep(LOOK_EVERY_S)
                until = self._clock.now_us() + CLOCKS_US
                while (await self._indexed.reached() or 0) < until:  # noqa: ASYNC110 - others index
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError as error:
            raise Unavailable("the lists are behind the log, or events are owed to it") from error
        return {debt.key for debt in hopeless.values() if user in debt.users}

    async def _paid(self, hopeless: dict[object, Debt]) -> bool:
        """Whether nothing is owed at all, for what is owed now may be older; but for what is hopeless, which is noted.

        One debt that can be paid is answer enough, so while many are open only one cell is read.
        """
        for owed in await asyncio.gather(*(self._debts.owed(shard) for shard in range(SHARDS))):
            if len(owed) >= OWED_AT_ONCE:
                return False  # there may be more
            for debt in owed:
                if debt.place in hopeless:
                    continue
                if await self._readable(debt):
                    return False
                hopeless[debt.place] = debt
        return True
