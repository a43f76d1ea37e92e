"""Probed: a store that others can do without is not waited for while it is away.

After a few failures in a row it is not asked at all, but for a probe each second beside the work: the question that was
not answered last, until it is. So nobody but the first few waits for a time-out. One that answers later than that is as
good as away, wherever the time went: on its way, in the store, or in a queue before it. Not where this process itself
came late: after a pause of its event loop a time is over before anybody has looked whether the answer is there.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from plaudit.domain.errors import Unavailable
from plaudit.services.background import ended

log = logging.getLogger("plaudit.probed")

FAILURES = 3
PROBE_EVERY_S = 1.0
SLOW_S = 0.5  # whoever asks has not waited longer
PAUSE = 0.2  # of it: whoever is called that much later than that was held up by this process

T = TypeVar("T")


class Probed:
    """See the module; lives on the event loop, and is closed by `close`. `what`: for the log, what is away."""

    def __init__(self, what: str, every_s: float = PROBE_EVERY_S, slow_s: float = SLOW_S) -> None:
        self._what = what
        self._every_s = every_s
        self._slow_s = slow_s
        self._failures = 0  # in a row
        self._failed_s = float("-inf")  # when the last of them was seen
        self._prober: asyncio.Task[None] | None = None

    @property
    def degraded(self) -> bool:
        """Whether the last question was not answered."""
        return self._failures > 0

    @property
    def away(self) -> bool:
        """Whether nothing may be asked for now."""
        return self._prober is not None

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """The answer. Raises `Unavailable`: there was none in time, or, at once, the store is away.

        Probes ask the same again: it has to be a question that may be asked twice.
        """
        if self.away:
            raise Unavailable(f"{self._what} is away, and only probed")
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        try:
            answer = await self._in_time(question)
        except Unavailable as error:
            if not self._says_nothing(began_s, now_s()):
                self._failed(error, question)
            raise
        # One that comes at the last moment takes back no failure: of a queue that is too long some are answered just
        # in time, and all of them wait. Nor does an answer to what was asked before the store went away.
        if self._prober is None and self._well(now_s() - began_s):
            self._failures = 0
        return answer

    async def close(self) -> None:
        """Stop probing."""
        await ended(self._prober)

    async def _in_time(self, question: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._slow_s):
                return await question()
        except TimeoutError as error:
            raise Unavailable(f"no answer in {self._slow_s:g} s") from error

    def _well(self, took_s: float) -> bool:
        return took_s < self._slow_s / 2

    def _says_nothing(self, began_s: float, now_s: float) -> bool:
        """Of a failure: it was under way when another one was counted already, or this process paused."""
        return began_s < self._failed_s or now_s - began_s > self._slow_s * (1 + PAUSE)

    def _failed(self, error: Unavailable, question: Callable[[], Awaitable[object]]) -> None:
        self._failures += 1
        self._failed_s = asyncio.get_running_loop().time()
        if self._failures >= FAILURES and self._prober is None:
            log.warning("%s is away and only probed: %s", self._what, error)
            self._prober = asyncio.create_task(self._probe(question))

    async def _probe(self, question: Callable[[], Awaitable[object]]) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            began_s = asyncio.get_running_loop().time()
            try:
                await self._in_time(question)
            except Unavailable:
                continue
            except Exception:
                log.exception("a probe failed in a way nobody foresaw")
                continue
            if self._well(asyncio.get_running_loop().time() - began_s):
                break
        log.warning("%s is back", self._what)
        self._prober, self._failures = None, 0
