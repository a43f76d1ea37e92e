"""Work that callers on the event loop hand to the threads of a database, and what they are told of it.

Guarantees: work is begun by a thread or withdrawn by who waits for it, never both; so whoever is told that nothing
was stored is right, though the thread comes back later.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import apsw
import msgspec

from plaudit.domain.errors import Corrupt, OutcomeUnknown, Overloaded, PlauditError, Unavailable

T = TypeVar("T")

log = logging.getLogger("plaudit.sqlite")

# What damage looks like. SQLite keeps no sums of its pages, so of most of it, it knows nothing: what was a text in JSON
# is none (an `SQLError`), a number is a text, or a text is no UTF-8. An `SQLError` is also a table that is not there:
# statements are fixed, but a file without our schema is no damaged one, so the service makes none once it has started.
DAMAGED = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, msgspec.MsgspecError, UnicodeDecodeError)


class Work(Generic[T]):
    """One piece of work. Made on the event loop; called on a thread, once."""

    def __init__(self, run: Callable[[], T], late: Callable[[], None]) -> None:
        """`late` is called on the event loop when work ends whose caller was told that nobody knows."""
        self._run = run
        self._late = late
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[T] = self._loop.create_future()
        self._claim = (
            threading.Lock()
        )  # whoever gets it first has the work: the writer, or the caller to withdraw it
        self._given_up = False

    def __call__(self) -> None:
        """Do it, unless it was withdrawn."""
        if not self._claim.acquire(blocking=False):
            return
        try:
            result = self._run()
        except BaseException as error:
            self._loop.call_soon_threadsafe(self._fail, error)
        else:
            self._loop.call_soon_threadsafe(self._succeed, result)

    async def done(self, within_s: float | None) -> T:
        """What came of it. Raises what it raised, or after `within_s` seconds `Overloaded` with the code `deadline`
        (withdrawn, nothing happened) or `OutcomeUnknown` (the writer is at it).
        """
        try:
            async with asyncio.timeout(within_s):
                return await self._future
        except TimeoutError:
            if self._claim.acquire(blocking=False):
                raise Overloaded("It could not be stored in time.", code="deadline") from None
            self._given_up = True
            raise OutcomeUnknown("The disk did not confirm in time.") from None

    def _succeed(self, result: T) -> None:
        if not self._future.done():
            self._future.set_result(result)
        elif self._given_up:
            self._late()

    def _fail(self, error: BaseException) -> None:
        if not self._future.done():
            self._future.set_exception(error)
            return
        if self._given_up:
            self._late()
        if not isinstance(error, PlauditError):
            log.error("work on the file failed after its caller had gone", exc_info=error)


def failure_of(error: Exception) -> PlauditError:
    """What an error of `DAMAGED`, or another one of SQLite's, means to whoever asked, where nothing was committed."""
    if isinstance(error, DAMAGED):
        return Corrupt(f"the database is damaged, or holds what Plaudit does not write: {error}")
    return Unavailable(f"the database cannot be used: {error}")
