"""Builds the embedded profile: one process, one SQLite file."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from plaudit.adapters.sqlite import (
    Database,
    Numbers,
    SqliteAudience,
    SqliteAudit,
    SqliteCopies,
    SqliteDirectory,
    SqliteInbox,
    SqliteIntake,
    SqliteJobs,
    SqliteLedger,
    SqliteLists,
    SqliteLog,
    SqliteRemovals,
)
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.front import Back, Service, front
from plaudit.bootstrap.notifications import notifications
from plaudit.bootstrap.process import SWITCH_INTERVAL_S
from plaudit.domain.cell import Rules
from plaudit.ports.clock import Clock
from plaudit.ports.ledger import Ledger
from plaudit.services.audit import Auditor
from plaudit.services.commit import Committer
from plaudit.services.near import NearCache
from plaudit.services.remove import Remove
from plaudit.settings import Settings
from plaudit.telemetry import Metrics

LOOK_EVERY_S = 60.0  # for jobs of whose begin nobody was told, and for old receipts


@asynccontextmanager
async def embedded(settings: Settings) -> AsyncIterator[Service]:
    """The embedded profile. Everything is closed again in reverse order."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    clock = SystemClock()
    catalogue = settings.catalogue()
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(settings.data))
        numbers = Numbers(database)
        lists = SqliteLists(database)
        near = NearCache(lists, catalogue, entries=settings.near_cache_entries, public=settings.public_counts)
        database.landed_late, database.found_damage = near.forget_all, metrics.found_damage
        rules = Rules(catalogue, registered_only=settings.targets == "registered")
        committer = _committer(settings, SqliteLedger(database, clock, rules, numbers), near, clock, metrics)
        remove = Remove(
            SqliteRemovals(database, clock, numbers),
            SqliteJobs(database),
            near,
            clock,
            metrics,
            look_every_s=LOOK_EVERY_S,
        )
        await stack.enter_async_context(remove)
        wording = await stack.enter_async_context(notifications(settings, database, numbers, clock, metrics))
        await stack.enter_async_context(Auditor(SqliteAudit(database), SqliteLog(database), metrics))
        backups = SqliteCopies(settings.data, clock)
        metrics.gauge("plaudit_last_backup_timestamp_seconds", backups.last_backup_s)
        back = Back(
            commits=committer,
            near=near,
            own=lists,
            reactors=lists,
            directory=SqliteDirectory(database, numbers),
            remove=remove,
            inbox=SqliteInbox(database),
            audience=SqliteAudience(database),
            wording=wording,
            intake=SqliteIntake(database, clock, numbers),
            writable=lambda: None if database.writable else "the database refuses writes",
        )
        yield await stack.enter_async_context(front(settings, back, catalogue, clock, metrics))


def _committer(
    settings: Settings, ledger: Ledger, near: NearCache, clock: Clock, metrics: Metrics
) -> Committer:
    return Committer(
        ledger,
        near,
        clock,
        metrics,
        max_waiting=settings.max_waiting_taps,
        max_waiting_per_target=settings.max_waiting_per_target,
        deadline_s=settings.tap_deadline_s,
    )
