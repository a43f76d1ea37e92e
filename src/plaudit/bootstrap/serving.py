"""Serves what a profile builds, until told to stop."""

import logging

from plaudit.bootstrap.embedded import embedded
from plaudit.bootstrap.front import Service
from plaudit.bootstrap.process import spare_the_collector
from plaudit.bootstrap.roles import ROLES, Role, drivers, needs_cluster
from plaudit.http.server import Limits, free_port, serve
from plaudit.settings import Settings

log = logging.getLogger("plaudit")


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
    needs_cluster(settings, "the embedded profile does all work itself")
    with drivers():
        from plaudit.bootstrap.cluster import worker
    async with worker(settings, role) as service:
        log.info("worker of the cluster profile: %s", role)
        await _serve(service, settings.host, settings.worker_port, Limits())


async def _serve(service: Service, host: str, port: int, limits: Limits) -> None:
    spare_the_collector()
    await serve(service.app, host, port or free_port(host), service.drain, limits)
