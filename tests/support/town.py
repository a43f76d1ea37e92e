"""A small installation of the cluster profile around an auditor: real stores, and events applied as they come."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

from plaudit.adapters.cassandra import (
    CassandraCells,
    CassandraCounts,
    CassandraDebts,
    CassandraIndex,
    CassandraJobs,
    CassandraLists,
    CassandraSweep,
    Session,
)
from plaudit.adapters.redis import RedisIndexed, RedisTotals
from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Answer, Rules
from plaudit.domain.events import Committed, decode
from plaudit.ports.cells import CellKey
from plaudit.ports.clock import Clock
from plaudit.ports.ledger import Target
from plaudit.ports.own import Indexed
from plaudit.ports.totals import Totals
from plaudit.services.alter import Alter
from plaudit.services.audit_cells import CellAuditor
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.compare import Derived, Drift
from plaudit.services.flush import Flush
from plaudit.services.known import Known
from plaudit.services.leftovers import Leftovers
from plaudit.services.near import NearCache
from plaudit.services.pace import Limits
from plaudit.services.propose import Proposer
from plaudit.services.publish import Publish
from plaudit.services.rebuild import Rebuild
from plaudit.services.split import Split
from plaudit.telemetry import Metrics
from tests.engines.cassandra import Cassandra
from tests.engines.redis import Redis
from tests.support.cassandra import emptied, fresh_target, open_session
from tests.support.redis import open_session as open_redis
from tests.support.taps import HAHA, LIKE, LOVE, NONE, set_to

KEYSPACE = "audited"
TABLES = ("cell", "reactors", "reactions_by_user", "reaction_counts", "sweep_place")


class LaterClock(SystemClock):
    """The system's clock, ahead by some time: for an auditor to whom nothing is recent."""

    def __init__(self, ahead_s: float = 3600) -> None:
        self._ahead_us = round(ahead_s * 1_000_000)

    def now_us(self) -> int:
        return super().now_us() + self._ahead_us


class Town:
    """Every store of the profile. While it is `deaf`, events are lost."""

    def __init__(
        self,
        session: Session,
        cells: CassandraCells,
        lists: CassandraLists,
        index: CassandraIndex,
        counts: CassandraCounts,
        sweep: CassandraSweep,
        debts: CassandraDebts,
        jobs: CassandraJobs,
        totals: Totals,
        indexed: Indexed,
    ) -> None:
        self.session, self.cells, self.lists, self.index, self.counts = session, cells, lists, index, counts
        self.sweep, self.debts, self.jobs = sweep, debts, jobs
        self.totals, self.indexed = totals, indexed
        self.deaf = False
        self._applying: dict[asyncio.Task[None], float] = {}
        self.under_way: dict[str, float] = {}
        """When taps began that have no answer yet, by who taps; of commits that are not published yet."""
        self.flush = Flush(counts, lists, SystemClock())
        self.metrics = Metrics()

    async def publish(self, key: CellKey, event: bytes) -> None:
        """The log and its readers in one: see `plaudit.ports.events.Events`. Whoever stops waiting is heard all the
        same, as by a log."""
        if not self.deaf:
            applying = asyncio.create_task(self._apply([decode(event)]))
            self._applying[applying] = time.monotonic()
            applying.add_done_callback(self._applying.pop)
            await asyncio.shield(applying)

    async def _apply(self, events: list[Committed]) -> None:
        await self.index.apply(events)
        await self.totals.apply(events)
        await self.flush.handle(events)

    def lag_s(self) -> float:
        """How long the oldest event waits, or may, that is not applied yet."""
        now_s = time.monotonic()
        return now_s - min([now_s, *self._applying.values(), *self.under_way.values()])

    async def settled(self) -> None:
        """Everything is applied and flushed."""
        while self._applying:
            await asyncio.gather(*self._applying)
        await self.flush.flush()

    def publisher(self) -> Publish:
        return Publish(self, self.debts, self.cells, SystemClock())

    def process(self) -> CellCommitter:
        """One API process's committer."""
        clock = SystemClock()
        near = NearCache(self.lists, Catalogue(), entries=1000, public=True)
        proposer = Proposer(self.cells, Known(), clock, Rules(Catalogue()))
        limits = Limits(deadline_s=60, answer_within_s=60)
        return CellCommitter(proposer, near, clock, self.metrics, Random(0), self.publisher(), limits)

    async def tap(self, target: str, **wishes: int) -> None:
        """Each user's wish on a target, one after the other."""
        process = self.process()
        for user, reaction in wishes.items():
            assert isinstance((await process.submit(target, set_to(user, reaction))).answer, Answer)

    async def inhabited(self, targets: int = 3) -> list[str]:
        """Some targets with reactions, everything derived in step."""
        names = [fresh_target() for _ in range(targets)]
        for name in names:
            await self.tap(name, ann=LIKE, bob=LOVE, cid=HAHA, dan=LIKE)
            await self.tap(name, bob=LIKE, cid=NONE)
        await self.settled()
        return names

    async def split(self, target: str, lanes: int = 4) -> None:
        """Split a target."""
        alter = Alter(self.cells, self.publisher(), SystemClock(), Random(0))
        await Split(alter, lanes).split(target)

    async def header(self, target: str) -> Target:
        """The target as its root has it."""
        state = await self.cells.settle(CellKey(target), [])
        return Target(state.header, state.registration)

    def auditor(
        self,
        report: Callable[[Drift], None],
        *,
        repair: bool = False,
        leftovers: Leftovers | None = None,
        clock: Clock | None = None,
        grace_s: float = 60,
    ) -> CellAuditor:
        """An auditor to whom nothing is recent, but by its own clock."""
        return CellAuditor(
            self.cells,
            self.sweep,
            self.sweep,
            Derived(self.totals, self.counts, self.sweep),
            self.publisher(),
            clock or LaterClock(),
            self.metrics,
            repair=repair,
            leftovers=leftovers,
            jobs=self.jobs,
            rows_per_s=1_000_000,
            grace_s=grace_s,
            lag_s=self.lag_s,
            report=report,
        )

    def rebuild(self) -> Rebuild:
        return Rebuild(
            *(self.cells, self.sweep, self.sweep, self.sweep, self.totals, self.index, self.counts),
            self.indexed,
            SystemClock(),
        )

    async def audit(self, *, repair: bool = False) -> list[Drift]:
        """What an audit of everything finds, in the order of stores, targets, users."""
        drift: list[Drift] = []
        await self.auditor(drift.append, repair=repair).everything("test")
        return sorted(drift, key=lambda d: (d.store, d.target, d.user or "", d.what))

    async def run(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """Any statement."""
        statement = await self.session.prepare(query)
        return [row.as_tuple() for row in (await self.session.read(statement.bind(list(values)))).all()]


@asynccontextmanager
async def open_town(cassandra: Cassandra, redis: Redis, *, empty: bool = True) -> AsyncIterator[Town]:
    """A town in a keyspace of its own, because an audit looks at everything; by default with empty tables."""
    async with (
        open_session(cassandra, keyspace=KEYSPACE) as session,
        CassandraCells(session) as cells,
        CassandraLists(session) as lists,
        CassandraIndex(session) as index,
        CassandraCounts(session) as counts,
        CassandraSweep(session) as sweep,
        CassandraDebts(session, SystemClock()) as debts,
        CassandraJobs(session, SystemClock()) as jobs,
        open_redis(redis) as redis_session,
    ):
        await emptied(session, TABLES if empty else ())
        totals, indexed = RedisTotals(redis_session), RedisIndexed(redis_session, 1)
        yield Town(session, cells, lists, index, counts, sweep, debts, jobs, totals, indexed)
