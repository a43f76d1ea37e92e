"""Plaudit's cluster profile over a ledger whose capacity is held down: `python -m benchmarks.cluster.held`.

Takes the settings that `plaudit serve` takes. A commit takes `HELD_USERS` users at most, and on one viral target it
takes `HELD_S` seconds longer than it would; on another one nothing is stored at all, and that takes no time. On all
other targets it is the ledger as it is.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import uvloop

import plaudit.bootstrap.cluster as building
from benchmarks.cluster import mix
from plaudit.bootstrap import configure_logging
from plaudit.bootstrap.engines import Engines, engines
from plaudit.bootstrap.serving import run
from plaudit.ports.cells import CellKey, Cells, CellState, Proposal
from plaudit.ports.clock import Clock
from plaudit.services import share, turns
from plaudit.settings import Settings

VIRAL, NO_OP = 8, 9  # numbers of viral targets
SLOW, NOTHING = mix.viral(VIRAL), mix.viral(NO_OP)


class HeldCells:
    """See `plaudit.ports.cells.Cells`, and the module."""

    def __init__(self, cells: Cells, held_s: float) -> None:
        self._cells = cells
        self._held_s = held_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cells, name)

    async def read(self, key: CellKey, users: Iterable[str]) -> CellState:
        """Read, where there is something."""
        if key.target == NOTHING:
            return CellState(None, None, {})
        return await self._cells.read(key, users)

    async def settle(self, key: CellKey, users: Iterable[str]) -> CellState:
        """The same."""
        if key.target == NOTHING:
            return CellState(None, None, {})
        return await self._cells.settle(key, users)

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        """Propose, perhaps late, perhaps not at all."""
        if key.target == NOTHING:
            return True
        if key.target == SLOW:
            await asyncio.sleep(self._held_s)
        return await self._cells.propose(key, proposal)


@asynccontextmanager
async def held(settings: Settings, clock: Clock) -> AsyncIterator[Engines]:
    """The engines, with that ledger."""
    async with engines(settings, clock) as opened:
        cells: Any = HeldCells(opened.cells, float(os.environ["HELD_S"]))
        yield opened._replace(cells=cells)


def main() -> None:
    """Serve, until told to stop."""
    setattr(building, "engines", held)  # noqa: B010 - mypy would not have it assigned
    for module in (share, turns):
        setattr(module, "MAX_USERS_PER_COMMIT", int(os.environ["HELD_USERS"]))  # noqa: B010 - the same
    settings = Settings()
    configure_logging(settings)
    uvloop.run(run(settings))


if __name__ == "__main__":
    main()
