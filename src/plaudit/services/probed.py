"""Probed: a store that others can do without is not waited for while it is away.

After a few failures in a row it is not asked at all, but for a probe each second beside the work: the question that was
not answered last, until it is. So nobody but the first few waits for a time-out.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from plaudit.domain.errors import Unavailable

log = logging.getLogger("plaudit.probed")

FAILURES = 3
PROBE_EVERY_S = 1.0

Question = Callable[[], Awaitable[Any]]


class Probed:
    """See the module; lives on the event loop, and is closed by `close`. `what`: for the log, what is away."""

    def __init__(self, what: str, every_s: float = PROBE_EVERY_S) -> None:
        self._what = what
        self._every_s = every_s
        self._failures = 0  # in a row
        self._prober: asyncio.Task[None] | None = None

    @property
    def degraded(self) -> bool:
        """Whether the last question was not answered."""
        return self._failures > 0

    @property
    def away(self) -> bool:
        """Whether nothing may be asked for now."""
        return self._prober is not None

    def answered(self) -> None:
        """A question was answered."""
        if not self.away:  # an answer to what was asked before it went away says nothing of now
            self._failures = 0

    def failed(self, error: Unavailable, question: Question) -> None:
        """This one was not. Probes ask it again: it has to be one that may be asked twice."""
        self._failures += 1
        if self._failures >= FAILURES and self._prober is None:
            log.warning("%s is away and only probed: %s", self._what, error)
            self._prober = asyncio.create_task(self._probe(question))

    async def close(self) -> None:
        """Stop probing."""
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.gather(self._prober, return_exceptions=True)

    async def _probe(self, question: Question) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await question()
            except Unavailable:
                continue
            except Exception:
                log.exception("a probe failed in a way nobody foresaw")
                continue
            break
        log.warning("%s is back", self._what)
        self._prober, self._failures = None, 0
