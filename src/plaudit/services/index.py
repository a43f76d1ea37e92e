"""Index: brings what is derived per target and per user up to date with the events. A handler of events.

First the lists, then what is kept near the readers: so whoever finds nothing kept of a user, and loads them, finds in
the lists all that was told before. Returns when both have it; any order and any repetition leave the same.
"""

from collections.abc import Mapping, Sequence

from plaudit.domain.errors import Unavailable
from plaudit.domain.events import Committed
from plaudit.ports.clock import Clock
from plaudit.ports.index import Index
from plaudit.ports.own import Change, Indexed, OwnStates, State

SAY_EVERY_S = 1.0


class IndexReactions:
    """See the module."""

    def __init__(self, index: Index, states: OwnStates, indexed: Indexed, clock: Clock) -> None:
        self._index = index
        self._states = states
        self._indexed = indexed
        self._clock = clock
        self._reached: dict[int, int] = {}
        self._say_at_s = 0.0

    async def handle(self, events: Sequence[Committed]) -> None:
        """Apply these events. Raises `Unavailable`: some of it may be done; the same events again."""
        await self._index.apply(events)
        newest: dict[tuple[str, str], State] = {}
        gone: set[str] = set()
        for event in events:
            if event.cause in ("erase", "import"):
                gone.update(transition.user for transition in event.transitions)
                continue
            for t in event.transitions:
                place = t.user, event.target
                if place not in newest or newest[place].at < t.at:
                    newest[place] = State(t.after, t.at)
        if newest:
            changes = [Change(*place, state) for place, state in newest.items()]
            await self._states.note(changes, create=False)
        if gone:
            await self._states.forget(gone)

    async def reached(self, partitions: Mapping[int, int]) -> None:
        """Everything that was in these partitions of the log at these times (microseconds UTC) has been handled.

        Whoever reads the log says so about each of its partitions every second or so, also where no event came. It is
        published at most once a second. Where that fails it is published the next time: late, it does no harm.
        """
        self._reached |= partitions
        now_s = self._clock.monotonic_s()
        if now_s < self._say_at_s:
            return
        self._say_at_s = now_s + SAY_EVERY_S
        marks, self._reached = self._reached, {}
        try:
            await self._indexed.reach(marks)
        except Unavailable:
            self._reached = marks | self._reached
