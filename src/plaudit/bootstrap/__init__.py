"""The only place that builds: settings in, a running service out."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from plaudit.bootstrap import notifications
from plaudit.bootstrap.embedded import embedded
from plaudit.bootstrap.front import Service
from plaudit.bootstrap.moving import backup, export_file, import_file, restore
from plaudit.bootstrap.process import configure_logging, spare_the_collector
from plaudit.bootstrap.roles import ROLES, Role, drivers
from plaudit.domain.errors import Invalid
from plaudit.http.server import Limits, free_port, serve
from plaudit.ports.notifications import Parcel
from plaudit.services.audit_cells import CellAuditor
from plaudit.services.compare import Drift
from plaudit.services.rebuild import Rebuild
from plaudit.services.warm import Warm
from plaudit.settings import Settings

__all__ = [
    "Role",
    "Service",
    "auditing",
    "backup",
    "configure_logging",
    "dead_letters",
    "drivers",
    "embedded",
    "export_file",
    "import_file",
    "migrate",
    "rebuilding",
    "resend",
    "restore",
    "run",
    "split",
    "warming",
    "work",
]

log = logging.getLogger("plaudit")

NOTHING_DERIVED = "in the embedded profile nothing is derived that could differ"


async def run(settings: Settings, *, everything: bool = False) -> None:
    """Serve until told to stop: the cluster profile where the settings name its engines, else the embedded one.

    `everything`: the workers of the cluster in the same process. The embedded profile always has its own.
    """
    if settings.clustered:
        with drivers():
            from plaudit.bootstrap.cluster import cluster
        profile = cluster(settings, ROLES if everything else ())
        words = "cluster profile: Cassandra, Kafka and Redis Cluster"
    else:
        profile = embedded(settings)
        words = f"embedded profile: one process, one file in {settings.data}"
    async with profile as service:
        log.info(words)
        limits = Limits(settings.max_connections, settings.idle_connection_s, settings.stalled_connection_s)
        await _serve(service, settings.host, settings.port, limits)


async def work(settings: Settings, role: Role) -> None:
    """Be a worker of the cluster until told to stop. Raises `PlauditError`."""
    _needs_cluster(settings, "the embedded profile does all work itself")
    with drivers():
        from plaudit.bootstrap.cluster import worker
    async with worker(settings, role) as service:
        log.info("worker of the cluster profile: %s", role)
        await _serve(service, settings.host, settings.worker_port, Limits())


async def _serve(service: Service, host: str, port: int, limits: Limits) -> None:
    spare_the_collector()
    await serve(service.app, host, port or free_port(host), service.drain, limits)


async def migrate(settings: Settings) -> list[str]:
    """Create or upgrade the schema of the cluster; returns what was applied now. Raises `PlauditError`."""
    _needs_cluster(settings, "the embedded profile upgrades its file when it starts")
    with drivers():
        from plaudit.bootstrap.cluster import migrate_engines
    return await migrate_engines(settings)


@asynccontextmanager
async def auditing(
    settings: Settings, repair: bool, rows_per_s: float, report: Callable[[Drift], None]
) -> AsyncIterator[CellAuditor]:
    """The auditor of the cluster, for the command. Raises `PlauditError`."""
    _needs_cluster(settings, NOTHING_DERIVED)
    with drivers():
        from plaudit.bootstrap import workers
    async with workers.auditing(settings, repair, rows_per_s, report) as auditor:
        yield auditor


@asynccontextmanager
async def rebuilding(settings: Settings, rows_per_s: float) -> AsyncIterator[Rebuild]:
    """What fills the derived stores of the cluster again, for the command. Raises `PlauditError`."""
    _needs_cluster(settings, NOTHING_DERIVED)
    with drivers():
        from plaudit.bootstrap import workers
    async with workers.rebuilding(settings, rows_per_s) as rebuild:
        yield rebuild


@asynccontextmanager
async def warming(settings: Settings, hours: float | None, per_s: float) -> AsyncIterator[Warm]:
    """What brings totals into an emptied Redis, for the command. Raises `PlauditError`."""
    _needs_cluster(settings, "the embedded profile reads its own file, so nothing can be cold")
    with drivers():
        from plaudit.bootstrap import warm as building
    async with building.warming(settings, hours, per_s) as warm:
        yield warm


async def split(settings: Settings, target: str) -> int:
    """Split a target; returns over how many lanes it is split now. Raises `PlauditError`."""
    _needs_cluster(settings, "the embedded profile has one writer, so there is nothing to split for")
    with drivers():
        from plaudit.bootstrap import splitting
    return await splitting.split_target(settings, target)


def _needs_cluster(settings: Settings, embedded_words: str) -> None:
    if not settings.clustered:
        raise Invalid("invalid_setting", f"cassandra_hosts is not set: {embedded_words}")


def dead_letters(settings: Settings, after: int, limit: int) -> list[Parcel]:
    """Pushes that were given up, the oldest first. Raises `PlauditError`."""
    if not settings.clustered:
        return notifications.dead_letters(settings, after, limit)
    with drivers():
        from plaudit.bootstrap import letters
    return asyncio.run(letters.dead_letters(settings, after, limit))


def resend(settings: Settings, numbers: Sequence[int] | None) -> int:
    """Have dead letters sent again (None: all), also while a server is running; how many. Raises `PlauditError`."""
    if not settings.clustered:
        return notifications.resend(settings, numbers)
    with drivers():
        from plaudit.bootstrap import letters
    return asyncio.run(letters.resend(settings, numbers))
