"""Builds what moves a whole installation into the cluster and out of it.

Importing this needs the drivers of `plaudit[cluster]`.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from plaudit.adapters.cassandra import CassandraSweep
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import Engines, engines
from plaudit.bootstrap.letters import letters
from plaudit.bootstrap.removing import Removing, removing
from plaudit.ports.clock import Clock
from plaudit.ports.transfer import Intake, Source
from plaudit.services.intake import CellIntake, CellPreview
from plaudit.services.near import NearCache
from plaudit.services.source import CellSource
from plaudit.settings import Settings
from plaudit.telemetry import Metrics

NEAR_ENTRIES = 100  # nobody reads here


@asynccontextmanager
async def intake(settings: Settings, *, dry_run: bool) -> AsyncIterator[Intake]:
    """What takes imported records in, beside whoever serves. Raises `PlauditError`."""
    clock = SystemClock()
    async with engines(settings, clock) as held:
        if dry_run:
            yield CellPreview(held.cells, held.cells, held.users, held.erased)
            return
        near = NearCache(
            held.lists, settings.catalogue(), entries=NEAR_ENTRIES, public=settings.public_counts
        )
        async with letters(held) as post, removing(held, post, near, clock, Metrics()) as taking:
            yield make_intake(held, taking, clock)


def make_intake(held: Engines, taking: Removing, clock: Clock) -> CellIntake:
    """What takes records in, in a process that has all this open."""
    return CellIntake(
        held.cells,
        held.cells,
        held.publish,
        held.users,
        taking.removals,
        held.erased,
        taking.follow,
        clock,
        random.SystemRandom(),
    )


@asynccontextmanager
async def source(settings: Settings) -> AsyncIterator[Source]:
    """What gives every record out, beside whoever serves. Raises `PlauditError`."""
    async with engines(settings, SystemClock()) as held, CassandraSweep(held.session) as sweep:
        yield CellSource(held.cells, sweep, held.users, held.users, held.erased)
