"""The only place that builds: settings in, a running service out."""

import importlib
import logging
from types import ModuleType

from plaudit.bootstrap.embedded import embedded
from plaudit.bootstrap.front import Service
from plaudit.bootstrap.moving import backup, export_file, import_file, restore
from plaudit.bootstrap.notifications import dead_letters, resend
from plaudit.bootstrap.process import configure_logging, spare_the_collector
from plaudit.domain.errors import Invalid
from plaudit.http.server import Limits, free_port, serve
from plaudit.settings import Settings

__all__ = [
    "Service",
    "backup",
    "configure_logging",
    "dead_letters",
    "embedded",
    "export_file",
    "import_file",
    "migrate",
    "resend",
    "restore",
    "run",
]

log = logging.getLogger("plaudit")


async def run(settings: Settings) -> None:
    """Serve the embedded profile until told to stop. Raises `Invalid` where the settings ask for the other one."""
    if settings.clustered:
        raise Invalid(
            "invalid_setting",
            "cassandra_hosts is set, and this version does not serve the cluster profile yet "
            "(docs/known-gaps.md, cluster-profile)",
        )
    async with embedded(settings) as service:
        spare_the_collector()
        log.info("embedded profile: one process, one file", extra={"data": str(settings.data)})
        port = settings.port or free_port(settings.host)
        limits = Limits(settings.max_connections, settings.idle_connection_s, settings.stalled_connection_s)
        await serve(service.app, settings.host, port, service.drain, limits)


async def migrate(settings: Settings) -> list[str]:
    """Create or upgrade the schema of the cluster; returns what was applied now. Raises `PlauditError`."""
    if not settings.clustered:
        raise Invalid(
            "invalid_setting",
            "cassandra_hosts is not set: the embedded profile upgrades its file when it starts",
        )
    return await _drivers().migrate_engines(settings)


def _drivers() -> ModuleType:
    """What builds the cluster; its drivers are an extra. Raises `Invalid`."""
    try:
        return importlib.import_module("plaudit.bootstrap.cluster")
    except ImportError as error:
        raise Invalid(
            "invalid_setting",
            f"the cluster profile needs its drivers: pip install 'plaudit[cluster]' ({error})",
        ) from error
