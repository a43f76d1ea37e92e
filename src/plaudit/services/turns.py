"""Turns: how long a tap that comes now would wait, judged by how the last turns went.

For both committers, which refuse at once what would not be taken before its deadline. An estimate errs on the side of
hope: what is not known yet costs nothing, the longest of the last turns is left out, and of two that are far longer
than the others both are (a store that paused, for its garbage collector say, is not slow), and a turn that is overdue
ends now. The margin is for the crowd: under constant pressure everybody is let in at the very edge, and without one
many of them would wait in vain.
"""

import math
from collections import deque
from collections.abc import Collection

from plaudit.domain.cell import MAX_USERS_PER_COMMIT, Tap
from plaudit.domain.errors import Overloaded

KEPT = 8  # turns of a queue that an estimate goes by
PAUSE = 4  # times as long as others takes a turn in which the store paused; in a slow store they differ by far less
MARGIN = 0.8  # of the deadline; what would be taken later is refused
LONGEST_RETRY_S = 30
GENERATIONS = 4  # as many of what is under way at once are remembered of the line


class Turns:
    """When one queue got its turns, and how much each takes. A new one for each time that the queue was empty."""

    __slots__ = ("_each_s", "_share", "_took_s")

    def __init__(self) -> None:
        self._took_s: deque[float] = deque(maxlen=KEPT + 1)
        self._each_s = 0.0  # from one turn to the next; 0: not known yet
        self._share = MAX_USERS_PER_COMMIT

    def took(self, now_s: float) -> None:
        """The queue has its turn."""
        took_s = self._took_s
        took_s.append(now_s)
        turns = len(took_s) - 1
        if turns > 1:
            gaps = sorted(b - a for a, b in zip(took_s, list(took_s)[1:], strict=False))
            usual = gaps[:-1]
            if turns >= KEPT and usual[-1] > PAUSE * usual[turns // 2]:
                usual.pop()
            self._each_s = sum(usual) / len(usual)

    def ended(self, *, stored: bool) -> None:
        """The turn is over. Where nothing was stored the next one is part of it."""
        if not stored and self._took_s:
            self._took_s.pop()

    def gave(self, taps: Collection[Tap], stored: int) -> bool:
        """So many of these were stored by the last turn; whether more could not have been.

        If they could, the next may take more.
        """
        full = stored < len(taps) or (
            stored >= MAX_USERS_PER_COMMIT and len({tap.user for tap in taps}) >= MAX_USERS_PER_COMMIT
        )
        self._share = max(1, stored) if full else MAX_USERS_PER_COMMIT
        return full

    def wait_s(self, ahead: int, now_s: float) -> float:
        """How long until the turn of a tap with so many in front of it in the queue."""
        each_s = self._each_s
        if not each_s:
            return 0.0
        next_s = self._took_s[-1] + each_s - now_s if self._took_s else 0.0
        return max(0.0, next_s) + ahead // self._share * each_s


class Line:
    """How fast the line of queues moves that wait for their turn. `at_once`: how many may have it at the same time."""

    __slots__ = ("_at_once", "_moved_s")

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._moved_s: deque[float] = deque(maxlen=GENERATIONS * at_once + 1)

    def moved(self, now_s: float) -> None:
        """The first one has its turn."""
        self._moved_s.append(now_s)

    def ended(self) -> None:
        """Nobody waits: how fast it moved says nothing of how fast it could."""
        self._moved_s.clear()

    def wait_s(self, ahead: int) -> float:
        """How long until the turn of a queue with so many in front of it."""
        moved_s = self._moved_s
        if len(moved_s) <= self._at_once:
            return 0.0
        return ahead * (moved_s[-1] - moved_s[0]) / (len(moved_s) - 1)


def refuse_late(wait_s: float, deadline_s: float) -> None:
    """Raises `Overloaded` for who would wait in vain; after `retry_after_s` what waits now has had its turn."""
    if wait_s <= deadline_s * MARGIN:
        return
    raise Overloaded(
        "The tap could not be stored in time; try again later.",
        code="deadline",
        retry_after_s=min(LONGEST_RETRY_S, math.ceil(wait_s)),
    )
