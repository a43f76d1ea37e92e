"""Builds the workers: whoever derives something from the log, and whoever looks after what is left behind."""

import asyncio
import logging
import math
import random
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from plaudit.adapters.cassandra import CassandraCounts, CassandraIndex, CassandraLeases, CassandraSweep
from plaudit.adapters.journal import FileJournals
from plaudit.adapters.kafka import KafkaAdmin, KafkaConsumer, KafkaQuarantine
from plaudit.adapters.redis import RedisKept
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import Engines, engines
from plaudit.bootstrap.letters import letters, notifier
from plaudit.bootstrap.removing import removing
from plaudit.bootstrap.roles import Role
from plaudit.domain.errors import PlauditError
from plaudit.ports.clock import Clock
from plaudit.ports.consumer import Handler, Quarantine
from plaudit.services.alter import Alter
from plaudit.services.audit_cells import AuditWorker, CellAuditor
from plaudit.services.compare import Derived, Drift
from plaudit.services.consume import Consume
from plaudit.services.directory import CellDirectory
from plaudit.services.flush import Flush
from plaudit.services.index import IndexReactions
from plaudit.services.leftovers import Leftovers
from plaudit.services.near import NearCache
from plaudit.services.rebuild import Rebuild
from plaudit.services.recover import Recover
from plaudit.services.sweep import Sweep
from plaudit.services.update_counters import UpdateCounters
from plaudit.settings import Settings
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.worker")

# A failover of Redis may forget what it has acknowledged: whoever writes there goes back by so much.
BEHIND_S = 60.0
# The notifier goes back over the first window and the second. Longer ones need no more: the watch that a failover left
# is older by moments, and takes in what is read again.
WINDOW_S = 330.0
LOOK_FOR_JOBS_EVERY_S = 10.0
ASK_LAG_EVERY_S = 10.0
NEAR_ENTRIES = 100  # nobody reads here
# The watch of a crowd is packed once for all its events that are handled together: with a million windows open, over
# targets by Zipf's law, 33 to 38 µs of the processor for each reaction instead of 54.
NOTIFIED_AT_ONCE = 2_000


class Work(NamedTuple):
    """A role that follows the log; `at_once`: so many events at most are handled together."""

    handler: Handler
    behind_s: float = 0.0
    epoch: Callable[[], Awaitable[object]] | None = None
    reached: Callable[..., Awaitable[None]] | None = None
    at_once: int = 500


class Working:
    """Roles at work in this process. A role that cannot go on ends the process, gently, and is the reason it gives."""

    def __init__(self) -> None:
        self.following: list[Consume] = []
        self.error: BaseException | None = None

    def unready(self) -> str | None:
        """Why this process is no good at the moment, or None."""
        for consume in self.following:
            if (why := consume.unready()) is not None:
                return why
        return None

    def ended(self, task: asyncio.Task[None]) -> None:
        """Called when a role has ended."""
        if not task.cancelled() and (error := task.exception()) is not None and self.error is None:
            self.error = error
            log.critical("%s ends: %s", task.get_name(), error)
            signal.raise_signal(signal.SIGTERM)


@asynccontextmanager
async def working(
    settings: Settings, held: Engines, roles: Sequence[Role], clock: Clock, metrics: Metrics
) -> AsyncIterator[Working]:
    """These roles, until closed: what is in hand is finished then."""
    state = Working()
    async with AsyncExitStack() as stack:
        if "audit" in roles:
            auditor = await stack.enter_async_context(_auditor(settings, held, clock, metrics, repair=True))
            await stack.enter_async_context(AuditWorker(auditor))
        if "repair" in roles:
            await _repair(stack, settings, held, clock, metrics)
        if following := [role for role in roles if role not in {"audit", "repair"}]:
            quarantine = await stack.enter_async_context(KafkaQuarantine(held.kafka))
            for role in following:
                work = await _work(stack, role, settings, held, clock, metrics)
                await _follow(stack, state, role, work, held, quarantine, clock, metrics)
        try:
            yield state
        finally:
            for consume in state.following:  # all at once: the stack waits for one after the other
                consume.stop()


async def _work(
    stack: AsyncExitStack, role: Role, settings: Settings, held: Engines, clock: Clock, metrics: Metrics
) -> Work:
    """What a role makes of events."""
    if role == "counters":
        return Work(UpdateCounters(held.totals), BEHIND_S, held.redis.epoch)
    if role == "index":
        lists = await stack.enter_async_context(CassandraIndex(held.session))
        index = IndexReactions(lists, held.mine, held.indexed, clock)
        return Work(index, BEHIND_S, held.redis.epoch, index.reached)
    if role == "notify":
        alter = Alter(held.cells, held.publish, clock, random.SystemRandom())
        directory = CellDirectory(alter, held.users, held.users, clock)
        held.noticed.append(directory.forget)
        handler = await stack.enter_async_context(notifier(settings, held, directory, clock, metrics))
        # Totals and own state that somebody empties are read from the ledger; open windows are nowhere else.
        return Work(handler, WINDOW_S, RedisKept(held.redis).epoch, handler.reached, NOTIFIED_AT_ONCE)
    counts = await stack.enter_async_context(CassandraCounts(held.session))
    flush = await stack.enter_async_context(Flush(counts, held.lists, clock))
    return Work(flush, flush.behind_s, flush.epoch)


async def _follow(
    stack: AsyncExitStack,
    state: Working,
    role: Role,
    work: Work,
    held: Engines,
    quarantine: Quarantine,
    clock: Clock,
    metrics: Metrics,
) -> None:
    consumer = await stack.enter_async_context(KafkaConsumer(held.kafka, held.kafka.group(role)))
    consume = Consume(
        consumer,
        work.handler,
        clock,
        metrics,
        role=role,
        quarantine=quarantine,
        behind_s=work.behind_s,
        epoch=work.epoch,
        reached=work.reached,
        at_once=work.at_once,
    )
    await stack.enter_async_context(consume)
    task = asyncio.create_task(consume.run(), name=f"worker {role}")
    task.add_done_callback(state.ended)
    state.following.append(consume)


async def _repair(
    stack: AsyncExitStack, settings: Settings, held: Engines, clock: Clock, metrics: Metrics
) -> None:
    """Pays what is owed to the log, finishes what killed processes with this data folder had under way, and carries out
    the jobs they left."""
    enter = stack.enter_async_context
    leases = await enter(CassandraLeases(held.session, secrets.token_hex(8)))
    await enter(Sweep(held.publish, held.debts, leases, metrics, random.SystemRandom()))
    await enter(recover(settings, held, metrics))
    near = NearCache(held.lists, settings.catalogue(), entries=NEAR_ENTRIES, public=settings.public_counts)
    post = await enter(letters(held))
    await enter(removing(held, post, near, clock, metrics, look_every_s=LOOK_FOR_JOBS_EVERY_S))


def recover(settings: Settings, held: Engines, metrics: Metrics) -> Recover:
    """Finishes what killed processes with this data folder had under way."""
    return Recover(FileJournals(settings.data), held.cells, held.publish, metrics, random.SystemRandom())


@asynccontextmanager
async def _auditor(
    settings: Settings, held: Engines, clock: Clock, metrics: Metrics, **options: Any
) -> AsyncIterator[CellAuditor]:
    catalogue = settings.catalogue()
    near = NearCache(held.lists, catalogue, entries=NEAR_ENTRIES, public=settings.public_counts)
    async with (
        CassandraSweep(held.session) as sweep,
        CassandraCounts(held.session) as counts,
        _lag(held) as lag_s,
        letters(held) as post,
        removing(held, post, near, clock, metrics) as taking,
    ):
        derived = Derived(held.totals, counts, sweep)
        yield CellAuditor(
            *(held.cells, sweep, sweep, derived, held.publish, clock, metrics),
            leftovers=Leftovers(held.erased, taking.removals),
            jobs=held.jobs,
            reactions=[reaction.code for reaction in catalogue.reactions],
            lag_s=lag_s,
            **options,
        )


@asynccontextmanager
async def _lag(held: Engines) -> AsyncIterator[Callable[[], float]]:
    """How far the slowest follower that an audit looks at is behind, in seconds, asked now and then."""
    admin = KafkaAdmin(held.kafka)
    behind = math.inf  # until somebody says otherwise nothing is old enough to be held against anybody

    async def ask() -> None:
        nonlocal behind
        try:
            lags = [await admin.lag(held.kafka.group(role)) for role in ("counters", "index")]
            behind = max((lag.seconds for found in lags for lag in found.values()), default=0.0)
        except PlauditError as error:
            behind = math.inf
            log.warning("how far the workers are behind cannot be asked: %s", error)

    async def go_on() -> None:
        while True:
            await asyncio.sleep(ASK_LAG_EVERY_S)
            await ask()

    await ask()
    task = asyncio.create_task(go_on())
    try:
        yield lambda: behind
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def auditing(
    settings: Settings, repair: bool, rows_per_s: float, report: Callable[[Drift], None]
) -> AsyncIterator[CellAuditor]:
    """For the command."""
    clock = SystemClock()
    async with (
        engines(settings, clock) as held,
        _auditor(
            settings, held, clock, Metrics(), repair=repair, rows_per_s=rows_per_s, report=report
        ) as auditor,
    ):
        yield auditor


@asynccontextmanager
async def rebuilding(settings: Settings, rows_per_s: float) -> AsyncIterator[Rebuild]:
    """For the command."""
    clock = SystemClock()
    async with (
        engines(settings, clock) as held,
        CassandraSweep(held.session) as sweep,
        CassandraIndex(held.session) as index,
        CassandraCounts(held.session) as counts,
    ):
        yield Rebuild(
            *(held.cells, sweep, sweep, sweep, held.totals, index, counts, held.indexed, clock),
            rows_per_s=rows_per_s,
        )
