"""Flush: notes whose totals changed, and every few minutes writes them beside the ledger as plain numbers.

A note is only in memory until it is written; what keeps it is the log. Whoever consumes keeps offsets open for
`behind_s`, which is longer than any note waits, and lets them stay where they are while `handle` or `epoch` fails: then
a flusher that dies sees the same events again. Why not write at once: a busy target would be written hundreds of times
in a window.

Lives on the event loop. Knows neither log nor store.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Self

import msgspec

from plaudit.domain.errors import PlauditError, Unavailable
from plaudit.domain.events import Committed
from plaudit.ports.clock import Clock
from plaudit.ports.flushed import Flushed
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Counters
from plaudit.services.background import ended
from plaudit.services.readable import readable

log = logging.getLogger("plaudit.flush")

EVERY_S = 300.0
MOST_NOTES = 100_000  # about 30 MB
AT_ONCE = 1_000
RETRY_S = 1.0


class Flush:
    """A handler of events; use as an async context manager, which writes what is noted when it is left.

    `most` bounds the notes: with so many they are written before the window ends.
    """

    def __init__(
        self,
        flushed: Flushed,
        counters: Counters,
        clock: Clock,
        *,
        every_s: float = EVERY_S,
        most: int = MOST_NOTES,
    ) -> None:
        self._flushed = flushed
        self._counters = counters
        self._clock = clock
        self._every_s = every_s
        self._most = most
        # The newest state of each target; None for a split one, whose total no single event says.
        self._notes: dict[str, Target | None] = {}
        self._since_s = 0.0  # of the oldest note
        self._writing = asyncio.Lock()
        self.written = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def behind_s(self) -> float:
        """How long offsets must stay open after their events were handled: a window, and time to write it."""
        return self._every_s * 1.5

    def __len__(self) -> int:
        return len(self._notes)

    async def epoch(self) -> object:
        """Always the same. Raises `Unavailable` while a note waits for longer than a window and a bit."""
        if self._overdue(self._every_s * 1.25):
            raise Unavailable("totals that are due cannot be written")
        return None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what is noted. If that fails, the events are seen again by whoever comes next."""
        await ended(self._task)
        try:
            await self.flush()
        except PlauditError as error:
            log.warning("totals could not be written; their events will be handled again: %s", error)

    async def handle(self, events: Sequence[Committed]) -> None:
        """Note the targets of these events, after writing older notes where it is time to.

        Raises `Unavailable`: nothing of this call is noted, older notes could not be written; try it again.
        """
        if self._overdue(self._every_s) or len(self._notes) + len(events) > self._most:
            await self.flush()
        if events and not self._notes:
            self._since_s = self._clock.monotonic_s()
        for event in events:
            self._note(event)

    async def flush(self) -> None:
        """Write the totals of every target that is noted. Raises `Unavailable`: what is not written stays noted."""
        async with self._writing:
            notes, since_s = self._notes, self._since_s
            self._notes = {}
            try:
                while notes:
                    some = dict(list(notes.items())[:AT_ONCE])
                    await self._write(some)
                    for target in some:
                        del notes[target]
            finally:
                if notes:  # newer notes may have come meanwhile
                    for target, state in self._notes.items():
                        if _newer(state, notes.get(target, Target())):
                            notes[target] = state
                    self._notes = notes
                    self._since_s = since_s

    async def _write(self, notes: dict[str, Target | None]) -> None:
        states = {target: state for target, state in notes.items() if state is not None}
        if len(states) < len(notes):
            states |= await readable(self._counters, [t for t, state in notes.items() if state is None])
        await self._flushed.put(states)
        self.written += len(states)

    def _note(self, event: Committed) -> None:
        state = self._state(event) if event.bucket == 0 and event.lanes == 1 else None
        if _newer(state, self._notes.get(event.target, Target())):
            self._notes[event.target] = state

    def _state(self, event: Committed) -> Target:
        """What the event says of the target. When it was committed only transitions tell; else it is about now."""
        at = max((transition.at for transition in event.transitions), default=self._clock.now_us())
        return Target(msgspec.structs.replace(event.header, last_at=at))

    def _overdue(self, after_s: float) -> bool:
        return bool(self._notes) and self._clock.monotonic_s() - self._since_s >= after_s

    async def _run(self) -> None:
        """Write also where no event comes any more."""
        while True:
            await asyncio.sleep(min(RETRY_S, self._every_s))
            if self._overdue(self._every_s):
                try:
                    await self.flush()
                except PlauditError as error:
                    log.warning("totals could not be written and will be tried again: %s", error)
                except Exception:
                    log.exception("writing totals failed in a way nobody foresaw; it is tried again")


def _newer(state: Target | None, than: Target | None) -> bool:
    """Whether a note replaces another one. That the total has to be read stays so: the target was split."""
    if state is None or than is None:
        return state is None
    return _seq(state) > _seq(than)


def _seq(state: Target) -> int:
    return state.header.seq if state.header else 0
