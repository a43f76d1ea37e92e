"""Builds what fills an emptied Redis, for the command.

Importing this needs the drivers of `plaudit[cluster]`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from plaudit.adapters.cassandra import CassandraCounts, CassandraSweep
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import engines
from plaudit.services.warm import Warm
from plaudit.settings import Settings

HOUR_US = 3_600_000_000


@asynccontextmanager
async def warming(settings: Settings, hours: float | None, per_s: float) -> AsyncIterator[Warm]:
    """What brings targets that were touched in the last so many hours; None: all. Raises `PlauditError`."""
    clock = SystemClock()
    since = None if hours is None else clock.now_us() - round(hours * HOUR_US)
    async with (
        engines(settings, clock) as held,
        CassandraSweep(held.session) as sweep,
        CassandraCounts(held.session) as counts,
    ):
        yield Warm(counts, held.totals, held.lists, sweep, clock, since=since, per_s=per_s)
