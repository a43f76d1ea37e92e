"""Root users: who may have a row in the sealed root of a split target, so that the taps of all others need not read it.

A root takes no rows once it is sealed, and loses some where users are erased or the target is deleted; so whoever was
not in it after the seal never will be. What is kept of a target is read page by page after its seal was seen, and used
when all of it was read: then it says of some users that they are surely not there, and nothing of all others.

Read for targets whose root is asked for often, one at a time, beside the taps. Bounded: the ones used longest ago are
forgotten, and a root that is too large for all there is is read at each first tap, as it is without this. Lives on the
event loop.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Self

from plaudit.domain.bloom import BITS_EACH, Bloom
from plaudit.domain.errors import PlauditError
from plaudit.ports.cells import CellKey, CellRows, Cells
from plaudit.services.background import ended

log = logging.getLogger("plaudit.root_users")

MOST_BYTES = 32 * 1024 * 1024  # 25 million users in all
ASKED = 32  # times that the root was read for somebody who was not there
AGAIN = 100_000  # and after so many more, where it is too large
COUNTED = 1_000  # targets
WAITING = 16  # targets to be read
PAGE = 2_000
PAUSE_S = 0.01  # between two pages: taps go first


class RootUsers:
    """See the module. Use as an async context manager, which reads until it is left."""

    def __init__(
        self, cells: Cells, rows: CellRows, most_bytes: int = MOST_BYTES, asked: int = ASKED
    ) -> None:
        self._cells = cells
        self._rows = rows
        self._most_bytes = most_bytes
        self._asked_enough = asked
        self._kept: OrderedDict[str, Bloom] = OrderedDict()
        self._asked: OrderedDict[str, int] = OrderedDict()
        self._waiting: deque[str] = deque()
        self._wake = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._reading = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await ended(self._reading)

    @property
    def size_bytes(self) -> int:
        """How much memory all of it takes."""
        return sum(kept.size_bytes for kept in self._kept.values())

    def knows(self, target: str) -> bool:
        """Whether the root of this target was read."""
        return target in self._kept

    def maybe(self, target: str, users: Iterable[str]) -> list[str]:
        """Those of these users who may be in the root of this target; the others surely are not, and never will be."""
        kept = self._kept.get(target)
        if kept is None:
            return list(users)
        self._kept.move_to_end(target)
        return [user for user in users if user in kept]

    def missed(self, target: str, users: int) -> None:
        """So many users were looked for in the root, after its seal was seen, and were not there."""
        if target in self._kept or not users:
            return
        asked = self._asked[target] = self._asked.pop(target, 0) + users
        if asked >= self._asked_enough and target not in self._waiting and len(self._waiting) < WAITING:
            self._waiting.append(target)
            self._wake.set()
        while len(self._asked) > COUNTED:
            self._asked.popitem(last=False)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                target = self._waiting[0]
                self._asked.pop(target, None)
                try:
                    await self._read(target)
                except PlauditError as error:
                    log.info("the users in the root of %s are not known yet: %s", target, error)
                except Exception:
                    log.exception("reading a root failed in a way nobody foresaw")
                self._waiting.popleft()

    async def _read(self, target: str) -> None:
        """Read who is in a root. Not by a quorum but for certain: is it sealed? What is read then has every row."""
        root = (await self._cells.settle(CellKey(target), ())).header
        if root is None or root.lanes == 1:
            return
        if root.rows * BITS_EACH // 8 > self._most_bytes:
            self._asked[target] = -AGAIN
            return
        kept, after = Bloom(root.rows), ""
        while True:
            page = list(await self._rows.page(CellKey(target), after, PAGE))
            for user in page:
                kept.add(user)
            if len(page) < PAGE:
                break
            after = page[-1]
            await asyncio.sleep(PAUSE_S)
        self._kept[target] = kept
        while self.size_bytes > self._most_bytes:
            self._kept.popitem(last=False)
