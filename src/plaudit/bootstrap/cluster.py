"""Builds the cluster profile: any number of processes over Cassandra, Kafka and Redis Cluster.

Importing this needs the drivers of `plaudit[cluster]`.
"""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from plaudit.adapters.cassandra import Session, migrate
from plaudit.adapters.journal import FileJournal
from plaudit.adapters.kafka import KafkaAdmin
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import Engines, cassandra_config, engines, kafka_config
from plaudit.bootstrap.front import Back, Service, front
from plaudit.bootstrap.letters import letters
from plaudit.bootstrap.moving_cluster import make_intake
from plaudit.bootstrap.notifications import make_wording
from plaudit.bootstrap.removing import removing
from plaudit.bootstrap.roles import Role
from plaudit.bootstrap.splitting import split_hot, splitting
from plaudit.bootstrap.workers import Working, recover, working
from plaudit.domain.cell import Rules
from plaudit.domain.errors import Invalid
from plaudit.http.worker import worker_app
from plaudit.ports.clock import Clock
from plaudit.services.aging import AgingNearCache
from plaudit.services.clock_guard import ClockGuard
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.known import Known
from plaudit.services.own_state import Own
from plaudit.services.pace import Limits
from plaudit.services.propose import Proposer
from plaudit.services.refill import Refill
from plaudit.services.reread import Reread
from plaudit.services.root_users import RootUsers
from plaudit.settings import Settings
from plaudit.telemetry import Metrics

NEAR_MAX_AGE_S = 0.25


async def migrate_engines(settings: Settings) -> list[str]:
    """Create or upgrade the schema in Cassandra and the topics in Kafka; returns what was done now.

    Raises `PlauditError`.
    """
    async with Session(cassandra_config(settings)) as session:
        done = await migrate(session)
    admin = KafkaAdmin(kafka_config(settings))
    done += await admin.create()
    topic = await admin.describe()
    if topic is not None and topic.partitions != settings.kafka_partitions:
        raise Invalid(
            "invalid_setting", f"kafka_partitions: the topic has {topic.partitions}, so set it to that"
        )
    return done


@asynccontextmanager
async def cluster(settings: Settings, roles: Sequence[Role] = ()) -> AsyncIterator[Service]:
    """The API of the cluster profile, and these workers beside it. Everything is closed again in reverse order."""
    clock, metrics = SystemClock(), Metrics()
    async with AsyncExitStack() as stack:
        held = await stack.enter_async_context(engines(settings, clock))
        state = await stack.enter_async_context(working(settings, held, roles, clock, metrics))
        if "repair" not in roles:  # which does this too
            await stack.enter_async_context(recover(settings, held, metrics))
        yield await stack.enter_async_context(_api(settings, held, state, clock, metrics))
    _raise(state)


@asynccontextmanager
async def worker(settings: Settings, role: Role) -> AsyncIterator[Service]:
    """One worker, and what it answers on its own port."""
    clock, metrics = SystemClock(), Metrics()
    async with AsyncExitStack() as stack:
        held = await stack.enter_async_context(engines(settings, clock))
        state = await stack.enter_async_context(working(settings, held, [role], clock, metrics))

        async def nothing() -> None:
            """What is in hand is finished when the stack is closed."""

        yield Service(worker_app(metrics, state.unready), nothing)
    _raise(state)


def _raise(state: Working) -> None:
    if state.error is not None:
        raise state.error


@asynccontextmanager
async def _api(
    settings: Settings, held: Engines, state: Working, clock: Clock, metrics: Metrics
) -> AsyncIterator[Service]:
    catalogue = settings.catalogue()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        journal = stack.enter_context(FileJournal(settings.data))
        refill = await enter(Refill(held.totals, held.lists, metrics))
        near = AgingNearCache(
            refill,
            catalogue,
            entries=settings.near_cache_entries,
            public=settings.public_counts,
            max_age_s=NEAR_MAX_AGE_S,
            clock=clock,
            degraded=lambda: refill.degraded,
            busy=lambda: refill.busy,
        )
        await enter(Reread(near))
        own = await enter(Own(held.mine, held.indexed, held.lists, near, clock))
        metrics.gauge("plaudit_own_state_away", lambda: own.away)
        chance = random.SystemRandom()
        post = await enter(letters(held))
        taking = await enter(removing(held, post, near, clock, metrics))
        rules = Rules(catalogue, registered_only=settings.targets == "registered")
        roots = await enter(RootUsers(held.cells, held.cells))
        proposer = Proposer(
            *(held.cells, Known(), clock, rules, held.guard.trusted, journal, held.erased, roots)
        )
        limits = Limits(
            max_waiting=settings.max_waiting_taps,
            max_waiting_per_target=settings.max_waiting_per_target,
            deadline_s=settings.tap_deadline_s,
        )
        split = await enter(splitting(settings, held, clock, journal))
        hot = split_hot(settings, split, clock, metrics)
        committer = CellCommitter(
            proposer, near, clock, metrics, chance, held.publish, limits, wrote=own.wrote, hot=hot
        )
        stack.push_async_callback(committer.close)
        metrics.gauge("plaudit_open_commits", lambda: committer.open)
        metrics.gauge("plaudit_journal_open", lambda: journal.open)

        back = Back(
            commits=committer,
            near=near,
            own=own,
            reactors=held.lists,
            directory=taking.directory,
            remove=taking.remove,
            inbox=post.inbox,
            audience=post.audience,
            wording=make_wording(settings),
            intake=make_intake(held, taking, clock),
            writable=_writable(held.guard, state),
        )
        yield await enter(front(settings, back, catalogue, clock, metrics))


def _writable(guard: ClockGuard, state: Working) -> Callable[[], str | None]:
    def why() -> str | None:
        if not guard.trusted():
            return "the clock of this process is not that of the store"
        return state.unready()

    return why
