"""How far one partition of the log is, and how far it was a while ago.

A store that forgets its last moments when it fails over needs what was handled in that time once more. So the group is
told a position that lies behind the work, and after trouble the work goes back to where it was before.
"""

from collections import deque
from typing import NamedTuple

from plaudit.ports.consumer import Claim, Mark, Record

STEP_S = 1.0


class _Step(NamedTuple):
    """Where the work was at a time in monotonic seconds, and what it had seen by then."""

    by_s: float
    position: int
    seen_us: int


class Progress:
    """`behind_s`: how long handled events may still be needed again; 0: never. Times are monotonic seconds."""

    def __init__(self, claim: Claim, behind_s: float) -> None:
        self.claim = claim
        self.done = claim.start  # the next position to handle; None until the first record says it
        self.in_hand_us: int | None = (
            None  # when the oldest record was appended that was read and is not handled yet
        )
        self._behind_s = behind_s
        self._handled_us = 0  # when the newest handled record was appended
        self._clear_us = 0  # when we last saw that there was nothing to handle
        self._since_us: int | None = None  # when we first looked
        self._through_us = 0  # when we last knew that everything in the partition was handled
        self._trail: deque[_Step] = deque()  # at most one a second

    def read(self, record: Record) -> None:
        """A record was read; to be told each, in order."""
        if self.done is None:
            self.done = record.offset
        if self.in_hand_us is None:
            self.in_hand_us = record.at_us

    def handled(self, record: Record) -> None:
        """This record and everything before it is handled."""
        self._trail = self._trail or deque([_Step(float("-inf"), self.done or 0, self._seen_us)])
        self.done = record.offset + 1
        self.in_hand_us = None
        self._handled_us = record.at_us

    def rewind(self, position: int) -> None:
        """Go back to where `back` said: what was handled since then counts for nothing, here as in the store."""
        self.done = position
        self.in_hand_us = None
        self._handled_us, self._through_us = 0, self._trail[0].seen_us
        self._trail = deque([self._trail[0]._replace(by_s=float("-inf"))])

    def back(self, at_s: float) -> int | None:
        """What had been handled `behind_s` before `at_s`: the position from which work may have to be done again. None
        where nothing was done yet. Forgets what came before it."""
        if self.done is None:
            return None
        while len(self._trail) > 1 and self._trail[1].by_s <= at_s - self._behind_s:
            self._trail.popleft()
        return self._trail[0].position if self._behind_s and self._trail else self.done

    def mark(self, now_s: float, trouble_s: float | None) -> Mark | None:
        """What to tell the group; `trouble_s`: when the trouble began that is not over. To be called every second."""
        if self._trail and self.done is not None:
            newest = self._trail[-1]
            if self.done > newest.position and now_s >= newest.by_s + STEP_S:
                self._trail.append(_Step(now_s, self.done, self._seen_us))
        keep = self.back(now_s if trouble_s is None else trouble_s)
        return None if keep is None or self.done is None else Mark(keep, self.done)

    def ends(self, end: int, now_us: int) -> None:
        """The partition ended there, at this time or later."""
        if end == 0 if self.done is None else end <= self.done:
            self._through_us = now_us
        if self._since_us is None:
            self._since_us = now_us
        if self.done is None or end <= self.done:
            self._clear_us = now_us

    @property
    def reached_us(self) -> int | None:
        """A time by which nothing had been appended that is not handled now; None if there is none yet.

        The log's clock, or ours where there was nothing to handle. A record that says when it was sent instead of when
        it was appended says too little, which is safe: what was appended before that lies before it.
        """
        # The log counts in milliseconds: another record of the same one may have come afterwards.
        return max(0, self._seen_us - 1000) or None

    @property
    def _seen_us(self) -> int:
        return max(self._through_us, self._handled_us)

    def lag_s(self, end: int, now_us: int) -> float:
        """How old the oldest record is that was not handled. Of one that was not even read this is the most it can be:
        it came after the newest that was handled, and after we last saw that there was none. Where neither ever was:
        how long we have known of it."""
        if self.done is None or end <= self.done:
            return 0.0
        oldest_us = self.in_hand_us
        if oldest_us is None:
            oldest_us = max(self._handled_us, self._clear_us) or self._since_us or now_us
        return max(0.0, (now_us - oldest_us) / 1_000_000)
