"""Heat: which cells are too big or too hot to stay one. Counts, and decides nothing else.

A cell is to be split where

- it has more rows than a cell should have, or
- its queue has stood for a while: its commits are full, and what waits after each is more than the next one takes, or
- too many of its proposals are refused, because others commit there too, though it gets many taps.

A queue that shrinks is a burst that will be over; one that only ceases to grow is not, because taps are refused where
they would wait too long. A single commit that is not full tells nothing, and neither does whether a proposal that was
refused had been made from a belief or from a read: who has lost reads the next time, and loses again
(docs/decisions/0060-what-is-too-hot.md).

Pure but for what it remembers; bounded. Times are monotonic seconds.
"""

from collections import OrderedDict, deque
from typing import NamedTuple

import msgspec

from plaudit.ports.cells import CellKey

CELLS = 10_000
SHRUNK = 0.75  # of what it was: the queue is getting shorter, and does not only go up and down


class Bounds(NamedTuple):
    """When it is too much. `refused` is a share of proposals, `taps_per_s` and `splits_per_minute` of one process."""

    rows: int = 100_000
    queue_for_s: float = 2.0
    refused: float = 0.2
    taps_per_s: float = 200.0
    refused_for_s: float = 5.0
    splits_per_minute: int = 6


class _Heat(msgspec.Struct):
    """Of one cell: since when its queue stands, how long it was since and when its last proposal was; and a window of
    its proposals."""

    stands_since_s: float | None = None
    longest: int = 0
    last_s: float = 0.0
    began_s: float = 0.0
    taps: int = 0
    proposals: int = 0
    refused: int = 0


class Heat:
    """See the module. Tell it of every proposal of a root; it says whether that should be split now."""

    def __init__(self, bounds: Bounds = Bounds()) -> None:  # noqa: B008 - a tuple
        self._bounds = bounds
        self._cells: OrderedDict[CellKey, _Heat] = OrderedDict()
        self._split_s: deque[float] = deque()

    def refused(self, key: CellKey, now_s: float) -> bool:
        """A proposal was made, and somebody else was first."""
        heat = self._of(key, now_s)
        heat.proposals += 1
        heat.refused += 1
        heat.last_s = now_s
        return self._contended(heat, now_s) and self._may(key, now_s)

    def committed(self, key: CellKey, taps: int, full: bool, waiting: int, rows: int, now_s: float) -> bool:
        """A commit of so many taps, after which so many wait for the next and the cell has so many rows.

        `full`: it took as many users, or as much of what they weigh, as a commit may.
        """
        heat = self._of(key, now_s)
        heat.proposals += 1
        heat.taps += taps
        stands = self._stands(heat, taps, full, waiting, now_s)
        hot = rows > self._bounds.rows or self._contended(heat, now_s) or stands
        return hot and self._may(key, now_s)

    def forget(self, key: CellKey) -> None:
        """It was split."""
        self._cells.pop(key, None)

    def _of(self, key: CellKey, now_s: float) -> _Heat:
        """What is known of a cell; its window of proposals begins anew when it has passed."""
        heat = self._cells.get(key)
        if heat is None:
            heat = self._cells[key] = _Heat(began_s=now_s)
            if len(self._cells) > CELLS:
                self._cells.popitem(last=False)
        self._cells.move_to_end(key)
        if now_s - heat.began_s > 2 * self._bounds.refused_for_s:
            heat.began_s, heat.taps, heat.proposals, heat.refused = now_s, 0, 0, 0
        return heat

    def _stands(self, heat: _Heat, taps: int, full: bool, waiting: int, now_s: float) -> bool:
        """Whether the queue has stood for long enough. A pause is none of it; to lose against others is no pause."""
        paused = now_s - heat.last_s > self._bounds.queue_for_s
        heat.last_s = now_s
        if waiting < taps or paused or waiting < heat.longest * SHRUNK:
            heat.stands_since_s, heat.longest = None, 0
        if full and heat.stands_since_s is None and waiting >= taps:
            heat.stands_since_s = now_s
        heat.longest = max(heat.longest, waiting)
        since_s = heat.stands_since_s
        return full and since_s is not None and now_s - since_s >= self._bounds.queue_for_s

    def _contended(self, heat: _Heat, now_s: float) -> bool:
        passed_s = now_s - heat.began_s
        return (
            passed_s >= self._bounds.refused_for_s
            and heat.taps > self._bounds.taps_per_s * passed_s
            and heat.refused > self._bounds.refused * heat.proposals
        )

    def _may(self, key: CellKey, now_s: float) -> bool:
        """Whether there may be one more split in this minute; it counts as made."""
        while self._split_s and self._split_s[0] <= now_s - 60:
            self._split_s.popleft()
        if len(self._split_s) >= self._bounds.splits_per_minute:
            return False
        self._split_s.append(now_s)
        self.forget(key)
        return True
