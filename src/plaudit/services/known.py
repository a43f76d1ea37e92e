"""What this process knows about cells without asking: the states its own commits left behind.

Knowledge is a belief: another process may have committed meanwhile, and the next proposal finds out. So it may be used
to propose from, and never to answer from. Bounded: the cell that was used longest ago is forgotten first.
"""

from collections import OrderedDict
from collections.abc import Collection

import msgspec

from plaudit.domain.cell import Header, Row
from plaudit.ports.cells import CellKey, CellState

# A viral cell is worth remembering, and one cell is not worth all the memory there is.
SHARE_OF_ONE_CELL = 4


class _Belief(msgspec.Struct):
    """The newest state, and rows of it: None for a user who has none."""

    state: CellState
    rows: dict[str, Row | None]


class Known:
    """Headers and rows by cell. `max_rows` bounds the rows of all cells together; a header counts as one."""

    def __init__(self, max_rows: int = 200_000) -> None:
        self._max_rows = max_rows
        self._beliefs: OrderedDict[CellKey, _Belief] = OrderedDict()
        self._rows = 0

    def __len__(self) -> int:
        return len(self._beliefs)

    def recall(self, key: CellKey, users: Collection[str]) -> CellState | None:
        """The state of the cell with these users' rows; None unless all of it is known."""
        belief = self._beliefs.get(key)
        if belief is None:
            return None
        rows: dict[str, Row] = {}
        for user in users:
            if user not in belief.rows:
                return None
            row = belief.rows[user]
            if row is not None:
                rows[user] = row
        return CellState(belief.state.header, belief.state.registration, rows)

    def learn(self, key: CellKey, before: CellState, header: Header, rows: dict[str, Row | None]) -> None:
        """A commit of this process led from `before` to `header`; `rows` are its users' rows as they are now."""
        belief = self._beliefs.pop(key, None)
        if belief is not None:
            self._rows -= len(belief.rows) + 1
        if belief is None or belief.state.seq != before.seq or self._too_big(belief, rows):
            belief = _Belief(before, {})
        belief.state = CellState(header, before.registration, {})
        belief.rows.update(rows)
        self._beliefs[key] = belief
        self._rows += len(belief.rows) + 1
        while self._rows > self._max_rows:
            _, oldest = self._beliefs.popitem(last=False)
            self._rows -= len(oldest.rows) + 1

    def forget(self, key: CellKey) -> None:
        """Somebody else committed, or nobody knows whether we did."""
        belief = self._beliefs.pop(key, None)
        if belief is not None:
            self._rows -= len(belief.rows) + 1

    def _too_big(self, belief: _Belief, rows: dict[str, Row | None]) -> bool:
        return len(belief.rows) + len(rows) > self._max_rows // SHARE_OF_ONE_CELL
