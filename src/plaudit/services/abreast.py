"""Abreast: how many lanes of one target a process commits at the same time.

A batch costs the store little more than a tap. Where all lanes of a target are committed side by side, what comes for
it meanwhile spreads over many small batches; where a few are, the others' taps gather. An eighth of the lanes at once,
and one at least: with eight processes or more, to which taps are routed, no lane waits for another. With fewer, one
waits for another for a quarter of a second at most (`commit_cells.HELD_S`): a store that hangs holds up nobody else.
"""

from collections import deque
from collections.abc import Mapping

from plaudit.ports.cells import CellKey

SHARE = 8


class Abreast:
    """Lanes under way and those that wait for them, by target. `lanes`: over how many a target is split, if known."""

    def __init__(self, lanes: Mapping[str, int]) -> None:
        self._lanes = lanes
        self._under_way: dict[str, int] = {}
        self._waiting: dict[str, deque[CellKey]] = {}

    def enter(self, key: CellKey) -> bool:
        """Whether this cell may be committed now; otherwise it waits, and a `leave` answers with it."""
        if not key.bucket:
            return True
        under_way = self._under_way.get(key.target, 0)
        if under_way >= max(1, self._lanes.get(key.target, 1) // SHARE):
            self._waiting.setdefault(key.target, deque()).append(key)
            return False
        self._under_way[key.target] = under_way + 1
        return True

    def leave(self, key: CellKey) -> CellKey | None:
        """It is not under way any more: the lane that has waited longest, to be entered next."""
        if not key.bucket:
            return None
        target = key.target
        self._under_way[target] -= 1
        if not self._under_way[target]:
            del self._under_way[target]
        waiting = self._waiting.get(target)
        if waiting is None:
            return None
        first = waiting.popleft()
        if not waiting:
            del self._waiting[target]
        return first

    def clear(self) -> None:
        """Nobody waits any more."""
        self._waiting.clear()
