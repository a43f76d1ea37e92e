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
from plaudit.services.heat import Bounds, Heat
from plaudit.services.split import Split, SplitHot
from plaudit.settings import Settings
from plaudit.telemetry import Metrics


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


def split_hot(settings: Settings, split: Split, clock: Clock, metrics: Metrics) -> SplitHot | None:
    """Splits targets by itself, if that is set."""
    if settings.split != "auto":
        return None
    bounds = Bounds(
        rows=settings.split_rows,
        queue_for_s=settings.split_queue_s,
        refused=settings.split_refused_share,
        taps_per_s=settings.split_refused_taps_per_s,
        refused_for_s=settings.split_refused_s,
        splits_per_minute=settings.splits_per_minute,
    )
    return SplitHot(split, Heat(bounds), clock, metrics)


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
