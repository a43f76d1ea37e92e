"""Builds what splits targets: for API processes, and for the command."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from plaudit.adapters.journal import FileJournal
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import Engines, engines
from plaudit.domain import ids
from plaudit.ports.clock import Clock
from plaudit.ports.journal import Journal
from plaudit.services.alter import Alter
from plaudit.services.split import Split
from plaudit.settings import Settings


@asynccontextmanager
async def splitting(
    settings: Settings, held: Engines, clock: Clock, journal: Journal
) -> AsyncIterator[Split]:
    """Splits targets over `lanes` of the settings; at its end what was begun is brought to an end."""
    alter = Alter(held.cells, held.publish, clock, random.SystemRandom(), held.guard.trusted)
    split = Split(alter, settings.lanes, journal)
    try:
        yield split
    finally:
        await split.drain()
        await alter.drain()


async def split_target(settings: Settings, target: str) -> int:
    """Split this target; returns over how many lanes it is split now. Raises `PlauditError`."""
    clock = SystemClock()
    with FileJournal(settings.data) as journal:
        async with (
            engines(settings, clock) as held,
            splitting(settings, held, clock, journal) as split,
        ):
            header = (await split.split(ids.target_id(target))).header
    return header.lanes if header is not None else 1
