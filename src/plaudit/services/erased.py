"""Erased: which users were erased, known without asking the store for each tap.

Every process keeps a compact set of all marks (20 bytes each), loaded when it starts and brought up to date every few
seconds; who is in it is asked for once more, so that no two users are ever taken for each other. A set that is older
than `STALE_AFTER_S` answers nothing: taps wait, and are refused as not stored. So once a mark is that old, it is in
force in every process.
"""

import asyncio
import logging
from array import array
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Self

from plaudit.domain.errors import PlauditError, Unavailable
from plaudit.ports.clock import Clock
from plaudit.ports.users import Marks
from plaudit.services.background import ended

log = logging.getLogger("plaudit.erased")

REFRESH_EVERY_S = 2.0
STALE_AFTER_S = 10.0
# A mark is found by the time at which its writer began, by a clock that may be a second off.
OVERLAP_US = 60_000_000
# The notes by time are kept for two days; long before that everything is loaded again.
RELOAD_AFTER_S = 3600.0

_RECENT = 4096
_SLOTS_EACH = 8


class Hashes:
    """A set of strings that may err: by 8-byte hash, which differs between processes. About 20 bytes each.

    A byte per hash in a sparse field answers nearly everybody who is not in it; the rest is looked up.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._sorted = array("q", sorted(map(hash, names)))
        self._recent: set[int] = set()
        self._spread()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def add(self, names: Iterable[str]) -> list[str]:
        """Put names in; returns those that were not there."""
        new = [name for name in dict.fromkeys(names) if not self.among([name])]
        self._recent.update(map(hash, new))
        if len(self._recent) > _RECENT:
            self._sorted = array("q", sorted({*self._sorted, *self._recent}))
            self._recent = set()
        if len(self) * _SLOTS_EACH > self._mask + 1:
            self._spread()
        for name in new:
            self._slots[hash(name) & self._mask] = 1
        return new

    def among(self, names: Iterable[str]) -> list[str]:
        """Those of the names that are in it, but for one error in billions."""
        slots, mask = self._slots, self._mask
        return [name for name in names if slots[hash(name) & mask] and self._has(hash(name))]

    def _has(self, number: int) -> bool:
        if number in self._recent:
            return True
        place = bisect_left(self._sorted, number)
        return place < len(self._sorted) and self._sorted[place] == number

    def _spread(self) -> None:
        """Make room for twice as many as there are."""
        self._mask = mask = (1 << (_SLOTS_EACH * max(len(self), _RECENT)).bit_length()) - 1
        self._slots = slots = bytearray(mask + 1)
        for number in (*self._sorted, *self._recent):
            slots[number & mask] = 1


class Erased:
    """See the module; use as an async context manager. Lives on the event loop.

    `noticed` is called with every user whose mark is new to this process, to drop what else it remembers of them.
    """

    def __init__(
        self,
        marks: Marks,
        clock: Clock,
        noticed: Callable[[str], None] = lambda user: None,
    ) -> None:
        self._marks = marks
        self._clock = clock
        self._noticed = noticed
        self._hashes = Hashes()
        self._read_at_us = 0  # when the last look began that worked
        self._read_at_s = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Load every mark. Raises `Unavailable`."""
        await self.refresh()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await ended(self._task)

    def suspects(self, users: Iterable[str]) -> list[str]:
        """Those of the users who were erased, or perhaps in one of billions somebody else; `verified` tells.

        Raises `Unavailable`: what is known is too old.
        """
        if self._clock.monotonic_s() - self._read_at_s > STALE_AFTER_S:
            raise Unavailable("this process has not heard for too long who was erased")
        return self._hashes.among(users)

    async def verified(self, suspects: Collection[str]) -> Collection[str]:
        """Those of them who were erased. Raises `Unavailable`."""
        marked = await asyncio.gather(*map(self._marks.marked_at, suspects))
        return {user for user, at in zip(suspects, marked, strict=True) if at is not None}

    async def among(self, users: Iterable[str]) -> Collection[str]:
        """Those of the users who were erased. Raises `Unavailable`."""
        suspects = self.suspects(users)
        return await self.verified(suspects) if suspects else ()

    async def refresh(self) -> None:
        """Learn the marks that are new. Raises `Unavailable`: what was known stays, and gets older."""
        since_us = self._read_at_us
        if self._clock.monotonic_s() - self._read_at_s > RELOAD_AFTER_S:
            since_us = self._clock.now_us()
            self._hashes = Hashes([user async for page in self._marks.walk_marks() for user in page])
        began_s, began_us = self._clock.monotonic_s(), self._clock.now_us()
        for user in self._hashes.add(await self._marks.since(since_us - OVERLAP_US)):
            self._noticed(user)
        self._read_at_s, self._read_at_us = began_s, began_us

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_EVERY_S)
            try:
                await self.refresh()
            except PlauditError as error:
                log.warning("who was erased could not be asked for: %s", error)
            except Exception:
                log.exception("asking who was erased failed in a way nobody foresaw; it goes on")


Forget = Callable[[str], Awaitable[None]]
"""Drops what some store holds of an erased user, beside the ledger. Idempotent."""
