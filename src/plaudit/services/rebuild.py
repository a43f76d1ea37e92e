"""Rebuild: empties what is derived and fills it again from the ledger, cell by cell.

For after a restore of the ledger, when derived stores hold newer states that never happened and would refuse the older
ones for ever. Everything that is emptied here is in the ledger whole. It may run while taps are taken: what the events
of that time bring and what is filled in here are decided by version and time, as always. Until it is done lists are
incomplete, and totals are read from the ledger where they are missing.
"""

import asyncio
from collections.abc import Mapping

from plaudit.domain.catalogue import NONE
from plaudit.domain.cell import Row, Transition
from plaudit.domain.errors import Conflict, Corrupt
from plaudit.domain.events import Committed
from plaudit.domain.lanes import merge
from plaudit.ports.cells import CellKey, Cells
from plaudit.ports.clock import Clock
from plaudit.ports.flushed import Flushed
from plaudit.ports.index import Index
from plaudit.ports.ledger import Target
from plaudit.ports.own import Indexed
from plaudit.ports.sweep import Emptying, Places, Sweep
from plaudit.ports.totals import Totals
from plaudit.ports.transfer import Progress
from plaudit.services.lanes import headers, taken_over
from plaudit.services.walk import Throttle, Walk

TASK = "rebuild"
ROWS_PER_S = 20_000.0
SAID_AGAIN_S = 3.0  # whoever follows the log says so every second
PAGE = 500


class Rebuild:
    """One rebuild; `run` goes on where an earlier one ended, without emptying again."""

    def __init__(
        self,
        cells: Cells,
        sweep: Sweep,
        places: Places,
        emptying: Emptying,
        totals: Totals,
        index: Index,
        flushed: Flushed,
        indexed: Indexed,
        clock: Clock,
        *,
        rows_per_s: float = ROWS_PER_S,
    ) -> None:
        self._cells = cells
        self._sweep = sweep
        self._places = places
        self._emptying = emptying
        self._totals = totals
        self._index = index
        self._flushed = flushed
        self._indexed = indexed
        self._throttle = Throttle(rows_per_s, clock)
        self.cells = 0
        self.entries = 0
        self.unreadable: list[str] = []

    async def run(self, look: Progress = lambda _done, _total: None, *, anew: bool = False) -> None:
        """Empty and fill; with `anew` from the start although an earlier run was interrupted.

        Raises `Unavailable`: run it again, it goes on from there. `Conflict`: somebody follows the log into the lists;
        nothing was emptied. While they are incomplete nobody may say that they follow it: own state that is not in them
        would be believed to be none.
        """
        walk = Walk(self._places, TASK)
        await self._indexed.forget()
        await asyncio.sleep(SAID_AGAIN_S)
        if await self._indexed.reached() is not None:
            raise Conflict(
                "a `worker index` is running: stop every one of them, and start them again afterwards"
            )
        if anew:
            await walk.restart()
        if not await self._places.reached(TASK):
            await self._emptying.empty()
        await walk.run(self._sweep.cells, self._cell, look)

    async def _cell(self, key: CellKey) -> None:
        """Fill in what is derived from one cell. One that cannot be read is noted and passed over."""
        try:
            await self._lists(key)
            await self._numbers(key)
        except Corrupt as error:
            self.unreadable.append(f"{key.target}: {error}")
        self.cells += 1

    async def _numbers(self, key: CellKey) -> None:
        """The totals. What is kept of the target is forgotten first: it may be of a later state that was undone.

        Only then is read what is kept instead: what is told of meanwhile is forgotten too, or newer.
        """
        if key.bucket:
            return
        await self._totals.forget([key.target])
        state = await self._cells.settle(key, [])
        if state.header is None:
            return
        target = Target(state.header, state.registration)
        if state.header.lanes > 1:
            root, lanes = await headers(self._cells, key.target)
            target = Target(merge(root, lanes), state.registration, {0: root, **lanes})
        await self._totals.put({key.target: target})
        await self._flushed.put({key.target: target})

    async def _lists(self, key: CellKey) -> None:
        """The entries of everybody with a reaction; a page may be of another moment than the next, each is right."""
        page = await self._sweep.page(key, None, PAGE)
        header = page.header
        while True:
            await self._throttle.spend(len(page.rows) + 1)
            there = _reactions(page.rows)
            if there and header is not None and header.lanes > 1 and not key.bucket:
                # Who tapped since is filled in from their lane, perhaps with another first time.
                lanes = await taken_over(self._cells, key.target, header.lanes, [t.user for t in there])
                there = [transition for transition in there if transition.user not in lanes]
            if there and header is not None and not header.deleted:
                event = Committed(
                    *(key.target, key.bucket, header.type, header.lanes, "repair", header.seq),
                    *(header.counts, header.rows, header.born, header.recent, tuple(there)),
                )
                await self._index.apply([event])
                self.entries += len(there)
            if page.last:
                return
            page = await self._sweep.page(key, next(reversed(list(page.rows))), PAGE)


def _reactions(rows: Mapping[str, Row]) -> list[Transition]:
    """Rows with a reaction, as taps of somebody who had none: nothing is there to be cleared, the lists are empty.

    But for what the root's row put there of a user who taps in a lane meanwhile.
    """
    return [
        Transition(user, row.base or NONE, row.reaction, row.created_at, row.updated_at)
        for user, row in rows.items()
        if row.reaction or row.base
    ]
