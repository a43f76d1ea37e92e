"""The only place that builds: settings in, a running service out. `serving` apart, which no other command waits for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from plaudit.bootstrap.moving import backup, export_file, import_file, restore
from plaudit.bootstrap.process import configure_logging
from plaudit.bootstrap.roles import Role, drivers, needs_cluster
from plaudit.ports.notifications import Parcel
from plaudit.services.audit_cells import CellAuditor
from plaudit.services.compare import Drift
from plaudit.services.rebuild import Rebuild
from plaudit.services.warm import Warm
from plaudit.settings import Settings

__all__ = [
    "Role",
    "auditing",
    "backup",
    "configure_logging",
    "dead_letters",
    "drivers",
    "export_file",
    "import_file",
    "migrate",
    "rebuilding",
    "resend",
    "restore",
    "split",
    "warming",
]

NOTHING_DERIVED = "in the embedded profile nothing is derived that could differ"


async def migrate(settings: Settings) -> list[str]:
    """Create or upgrade the schema of the cluster; returns what was applied now. Raises `PlauditError`."""
    needs_cluster(settings, "the embedded profile upgrades its file when it starts")
    with drivers():
        from plaudit.bootstrap.cluster import migrate_engines
    return await migrate_engines(settings)


@asynccontextmanager
async def auditing(
    settings: Settings, repair: bool, rows_per_s: float, report: Callable[[Drift], None]
) -> AsyncIterator[CellAuditor]:
    """The auditor of the cluster, for the command. Raises `PlauditError`."""
    needs_cluster(settings, NOTHING_DERIVED)
    with drivers():
        from plaudit.bootstrap import workers
    async with workers.auditing(settings, repair, rows_per_s, report) as auditor:
        yield auditor


@asynccontextmanager
async def rebuilding(settings: Settings, rows_per_s: float) -> AsyncIterator[Rebuild]:
    """What fills the derived stores of the cluster again, for the command. Raises `PlauditError`."""
    needs_cluster(settings, NOTHING_DERIVED)
    with drivers():
        from plaudit.bootstrap import workers
    async with workers.rebuilding(settings, rows_per_s) as rebuild:
        yield rebuild


@asynccontextmanager
async def warming(settings: Settings, hours: float | None, per_s: float) -> AsyncIterator[Warm]:
    """What brings totals into an emptied Redis, for the command. Raises `PlauditError`."""
    needs_cluster(settings, "the embedded profile reads its own file, so nothing can be cold")
    with drivers():
        from plaudit.bootstrap import warm as building
    async with building.warming(settings, hours, per_s) as warm:
        yield warm


async def split(settings: Settings, target: str) -> int:
    """Split a target; returns over how many lanes it is split now. Raises `PlauditError`."""
    needs_cluster(settings, "the embedded profile has one writer, so there is nothing to split for")
    with drivers():
        from plaudit.bootstrap import splitting
    return await splitting.split_target(settings, target)


def dead_letters(settings: Settings, after: int, limit: int) -> list[Parcel]:
    """Pushes that were given up, the oldest first. Raises `PlauditError`."""
    if not settings.clustered:
        from plaudit.bootstrap import notifications

        return notifications.dead_letters(settings, after, limit)
    with drivers():
        from plaudit.bootstrap import letters
    return asyncio.run(letters.dead_letters(settings, after, limit))


def resend(settings: Settings, numbers: Sequence[int] | None) -> int:
    """Have dead letters sent again (None: all), also while a server is running; how many. Raises `PlauditError`."""
    if not settings.clustered:
        from plaudit.bootstrap import notifications

        return notifications.resend(settings, numbers)
    with drivers():
        from plaudit.bootstrap import letters
    return asyncio.run(letters.resend(settings, numbers))
