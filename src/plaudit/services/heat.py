"""Heat: which cells are too big or too hot to stay one. Counts, and decides nothing else.

A cell is to be split where

- it has more rows than a cell should have, or
- its commits have been full and its queue has grown for a while, or
- of its proposals that were made from what this process believed too many are refused, because others commit there too,
  though it gets many taps.

Pure but for what it remembers; bounded. Times are monotonic seconds.
"""

from collections import OrderedDict, deque
from typing import NamedTuple

import msgspec

from plaudit.domain.cell import MAX_USERS_PER_COMMIT
from plaudit.ports.cells import CellKey

CELLS = 10_000


class Bounds(NamedTuple):
    """When it is too much. `refused` is a share of proposals, `taps_per_s` of one process."""

    rows: int = 100_000
    full_for_s: float = 2.0
    refused: float = 0.2
    taps_per_s: float = 200.0
    refused_for_s: float = 5.0
    splits_per_minute: int = 6


class _Heat(msgspec.Struct):
    """Of one cell: since when its commits are full and how much waited then; and a window of its proposals."""

    full_since_s: float | None = None
    waited: int = 0
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
        """A proposal was made from what was believed, and somebody else was first."""
        heat = self._of(key, now_s)
        heat.proposals += 1
        heat.refused += 1
        return self._contended(heat, now_s) and self._may(key, now_s)

    def committed(self, key: CellKey, users: int, taps: int, waiting: int, rows: int, now_s: float) -> bool:
        """A commit of so many users, after which so many taps wait for the next and the cell has so many rows."""
        heat = self._of(key, now_s)
        heat.proposals += 1
        heat.taps += taps
        if users < MAX_USERS_PER_COMMIT or waiting < MAX_USERS_PER_COMMIT:
            heat.full_since_s = None
        elif heat.full_since_s is None:
            heat.full_since_s, heat.waited = now_s, waiting
        hot = rows > self._bounds.rows or self._contended(heat, now_s) or self._full(heat, waiting, now_s)
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

    def _full(self, heat: _Heat, waiting: int, now_s: float) -> bool:
        since_s = heat.full_since_s
        return since_s is not None and now_s - since_s >= self._bounds.full_for_s and waiting >= heat.waited

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
