"""Erase: one row of a marked user goes, whichever cell has it, in commits that are made until they hold."""

from plaudit.domain import removal
from plaudit.domain.errors import Unavailable
from plaudit.domain.lanes import has_let_go, lane_of, let_go, merge, without
from plaudit.ports.cells import CellKey, Cells, CellState, Proposal
from plaudit.ports.clock import Clock
from plaudit.ports.ledger import Target
from plaudit.services.alter import Alter, Altered, Change, Decide
from plaudit.services.lanes import SplitCells, headers, proposal


class EraseFrom:
    """Call it. May be called again, and by two at once. Raises `Unavailable` and `OutcomeUnknown`: do it again."""

    def __init__(self, alter: Alter, cells: Cells, clock: Clock) -> None:
        self._alter = alter
        self._cells = cells
        self._clock = clock

    async def __call__(self, user: str, target: str) -> Target | None:
        """Remove one row of a marked user, whether a list has it or not; None if there is none."""
        key = CellKey(target)

        def decide(state: CellState) -> Change | None:
            row = state.rows.get(user)
            if state.header is not None and state.header.lanes > 1:
                raise _Split(state.header.lanes)
            if state.header is None or row is None:
                return None
            header, moved = removal.erase(state.header, user, row, self._clock.now_us())
            # Told after it is done: the row is found through the list, and must be for as long as it is there.
            return Change(Proposal(state.seq, header, {}, gone=(user,)), [moved])

        try:
            look = self._alter.by_name(key, [user])
            altered = await self._alter.commit(key, "erase", look, decide, split_too=True)
        except _Split as split:
            return await self._split(user, target, split.lanes)
        return altered.target if altered.change is not None else None

    async def _split(self, user: str, target: str, lanes: int) -> Target | None:
        """The same of a split target, in three commits that may each be the last of a process; see `domain.lanes`."""
        root, lane = CellKey(target), CellKey(target, lane_of(user, lanes))

        def in_lane(state: CellState) -> Change | None:
            row = state.rows.get(user)
            if state.header is None or row is None or has_let_go(row):
                return None
            if state.header.deleted:
                raise _Closed("the target is being deleted")
            if row.base is None:
                header, moved = removal.erase(state.header, user, row, self._clock.now_us())
                return Change(Proposal(state.seq, header, {}, gone=(user,), lanes=lanes), [moved])
            header, left, moved = let_go(state.header, user, row, self._clock.now_us())
            return Change(proposal(lane, state, header, {user: left}), [moved])

        def gone_from(state: CellState) -> Change | None:
            row = state.rows.get(user)
            if state.header is None or row is None:
                return None
            own = row.reaction if row.base is None else row.base
            header = without(state.header, user, own, self._clock.now_us(), rows=row.base is None)
            return Change(Proposal(state.seq, header, {}, gone=(user,), lanes=lanes))

        def from_closed(state: CellState) -> Change | None:
            row = state.rows.get(user)
            if state.header is None or row is None:
                return None
            if not state.header.deleted:
                raise Unavailable("the target is being deleted, and this lane is not closed yet")
            header, moved = removal.erase(state.header, user, row, self._clock.now_us())
            return Change(Proposal(state.seq, header, {}, gone=(user,), lanes=lanes), [moved])

        async def commit(key: CellKey, decide: Decide, cells: Cells | None = None) -> Altered:
            look = self._alter.by_name(key, [user], cells)
            return await self._alter.commit(key, "erase", look, decide, split_too=True)

        try:
            made = [await commit(lane, in_lane, SplitCells(self._cells))]
            made += [await commit(root, gone_from), await commit(lane, gone_from)]
        except _Closed:
            # Nobody is counted there any more. Its deletion may have failed, so this does not wait for it.
            made = [await commit(root, gone_from), await commit(lane, from_closed)]
        if not any(each.change for each in made):
            return None
        header, all_lanes = await headers(self._cells, target)
        return Target(merge(header, all_lanes), made[-2].target.registration)


class _Closed(Unavailable):
    """The lane takes no taps any more."""


class _Split(Unavailable):
    """The target is split over so many lanes."""

    def __init__(self, lanes: int) -> None:
        super().__init__("split")
        self.lanes = lanes
