"""Builds the cluster profile: any number of processes over Cassandra, Kafka and Redis Cluster.

Importing this needs the drivers of `plaudit[cluster]`.
"""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from plaudit.adapters.cassandra import CassandraCells, CassandraDebts, CassandraLists, Session, migrate
from plaudit.adapters.kafka import KafkaEvents
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import cassandra_config, kafka_config
from plaudit.bootstrap.front import Back, Service, front
from plaudit.domain.cell import Rules
from plaudit.ports.directory import Profile
from plaudit.services.clock_guard import ClockGuard
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.pace import Limits
from plaudit.services.propose import Proposer
from plaudit.services.publish import Publish
from plaudit.settings import Settings
from plaudit.telemetry import Metrics


async def migrate_engines(settings: Settings) -> list[str]:
    """Create or upgrade the schema in Cassandra; returns what was applied now. Raises `PlauditError`."""
    async with Session(cassandra_config(settings)) as session:
        return await migrate(session)


class _Absent:
    """Until the part is there."""

    async def profiles(self, users: Sequence[str]) -> dict[str, Profile]:
        return {}


@asynccontextmanager
async def cluster(settings: Settings) -> AsyncIterator[Service]:
    """The API of the cluster profile. Everything is closed again in reverse order."""
    clock = SystemClock()
    catalogue = settings.catalogue()
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        session = await enter(Session(cassandra_config(settings)))
        cells = await enter(CassandraCells(session))
        lists = await enter(CassandraLists(session))
        debts = await enter(CassandraDebts(session, clock))
        events = await enter(KafkaEvents(kafka_config(settings)))
        guard = await enter(ClockGuard(session, clock))
        near = NearCache(lists, catalogue, entries=settings.near_cache_entries, public=settings.public_counts)
        rules = Rules(catalogue, registered_only=settings.targets == "registered")
        publish = Publish(events, debts, cells, clock)
        proposer = Proposer(cells, Known(), clock, rules, guard.trusted)
        limits = Limits(
            max_waiting=settings.max_waiting_taps,
            max_waiting_per_target=settings.max_waiting_per_target,
            deadline_s=settings.tap_deadline_s,
        )
        committer = CellCommitter(proposer, near, clock, metrics, random.Random(), publish, limits)
        stack.push_async_callback(committer.close)
        metrics.gauge("plaudit_open_commits", lambda: committer.open)
        absent: Any = _Absent()
        back = Back(
            commits=committer,
            near=near,
            own=lists,
            reactors=lists,
            directory=absent,
            remove=absent,
            inbox=absent,
            audience=absent,
            wording=absent,
            intake=absent,
            writable=lambda: (
                None if guard.trusted() else "the clock of this process is not that of the store"
            ),
        )
        yield await enter(front(settings, back, catalogue, clock, metrics))
