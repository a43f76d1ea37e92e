"""A session on the tests' Cassandra, with the schema in it. Tests share the keyspace and use targets of their own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random
from typing import Any, cast
from unittest.mock import patch

import acsylla

from plaudit.adapters.cassandra import (
    CassandraAudience,
    CassandraCells,
    CassandraConfig,
    CassandraDebts,
    CassandraInbox,
    CassandraIndex,
    CassandraJobs,
    CassandraLists,
    CassandraOwners,
    CassandraSweep,
    CassandraTold,
    CassandraUsers,
    Pushes,
    Session,
    migrate,
)
from plaudit.bootstrap.letters import Letters
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Rules
from plaudit.domain.events import Committed, decode
from plaudit.ports.cells import CellKey
from plaudit.ports.clock import Clock
from plaudit.ports.index import Index
from plaudit.ports.ledger import CellResult, CellTaps, Target
from plaudit.ports.log import EventLog
from plaudit.ports.own import OwnLedger
from plaudit.services.alter import Alter
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.directory import CellDirectory
from plaudit.services.erased import Erased
from plaudit.services.follow import Follow
from plaudit.services.intake import CellIntake
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.pace import Limits
from plaudit.services.propose import Proposer
from plaudit.services.publish import Publish
from plaudit.services.removals import CellRemovals
from plaudit.services.source import CellSource
from plaudit.services.split import Split
from plaudit.telemetry import Metrics
from tests.engines.cassandra import Cassandra
from tests.support.stores import Stores

_targets = count(1)


def config(cassandra: Cassandra, keyspace: str = "plaudit") -> CassandraConfig:
    """How to reach it, with a replica on every node."""
    return CassandraConfig(cassandra.hosts, cassandra.port, keyspace, replication=len(cassandra.hosts))


@asynccontextmanager
async def open_session(
    cassandra: Cassandra, through: int | None = None, keyspace: str = "plaudit"
) -> AsyncIterator[Session]:
    """A session, migrated; through one node alone, if one is named by its place."""
    create = acsylla.create_cluster
    if through is not None:
        create = partial(create, whitelist_hosts=cassandra.hosts[through])
    session = Session(config(cassandra, keyspace))
    with patch.object(acsylla, "create_cluster", create):
        await session.__aenter__()
    try:
        await migrate(session)
        yield session
    finally:
        await session.__aexit__()


async def emptied(session: Session, tables: Iterable[str]) -> None:
    """Empty these tables of the keyspace, all at once: each is flushed to disk before it is dropped."""
    keyspace = session.config.keyspace
    await asyncio.gather(*(session.change_schema(f"TRUNCATE {keyspace}.{table}") for table in tables))


def fresh_target() -> str:
    """An id that no other test of this run has."""
    return f"t{next(_targets)}"


class IndexedLog:
    """A log of events whose one reader is never behind: the lists have an event before its commit is answered."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.bodies: list[bytes] = []

    async def publish(self, key: CellKey, event: bytes) -> None:
        self.bodies.append(event)
        await self._index.apply([decode(event)])

    async def read(self, consumer: str, limit: int) -> list[tuple[int, bytes]]:
        """See `plaudit.ports.log.EventLog`, for a consumer that acknowledges nothing."""
        return list(enumerate(self.bodies, 1))[:limit]

    def of(self, target: str) -> list[Committed]:
        """The events of one target, oldest first."""
        return [event for event in map(decode, self.bodies) if event.target == target]

    def newest(self, target: str) -> Committed:
        """What a consumer that applies an event if it is newer ends with."""
        return max(self.of(target), key=lambda event: event.seq)


class Mortal:
    """A part as a process has it that dies after so many requests, of whichever part: none of them is ever answered
    after that, and the one under way is carried out or not."""

    def __init__(self, part: Any, request: Callable[[], Awaitable[None]]) -> None:
        self._part = part
        self._request = request

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._part, name)
        if name == "walk_marks":
            return call  # pages, and no single answer

        async def mortal(*values: Any, **named: Any) -> Any:
            await self._request()
            result = await call(*values, **named)
            await self._request()
            return result

        return mortal


class Process:
    """One process of the cluster profile, as far as the ledger goes. It dies after `dies_after` requests."""

    def __init__(self, parts: "Cluster", in_force_after_s: float, dies_after: int | None) -> None:
        self.dead = asyncio.Event()
        self._left = dies_after
        clock, random = parts.clock, Random(0)
        cells, users = self._mortal(parts.cells), self._mortal(parts.users)
        jobs, debts, log, lists = map(self._mortal, (parts.jobs, parts.debts, parts.log, parts.lists))
        self.erased = Erased(users, clock, lambda user: self.directory.forget(user))
        near = NearCache(lists, Catalogue(), entries=1000, public=True)
        proposer = Proposer(cells, Known(), clock, Rules(Catalogue()), erased=self.erased)
        publish = Publish(log, debts, cells, clock)
        limits = Limits(deadline_s=60, answer_within_s=60)
        self.committer = CellCommitter(proposer, near, clock, Metrics(), random, publish, limits)
        self._alter = Alter(cells, publish, clock, random, note=self._mortal(parts.letters.owners).note)
        self.directory = CellDirectory(self._alter, users, users, clock)
        self.removals = CellRemovals(
            self._alter,
            cells,
            cells,
            publish,
            jobs,
            users,
            lists,
            clock,
            forget=[self._forget],
            take_back=self._mortal(parts.letters).take_back,
            in_force_after_s=in_force_after_s,
        )
        follow = Follow(self._alter)
        self.intake = CellIntake(
            *(cells, cells, publish, users, self.removals, self.erased, follow, clock, random)
        )
        self.source = CellSource(cells, parts.sweep, users, users, self.erased)

    async def split(self, target: str, lanes: int = 4) -> None:
        """Split a target."""
        await Split(self._alter, lanes).split(target)

    async def kill(self) -> None:
        """End without a word."""
        await self.committer.close()
        await self._alter.drain(0)

    async def stop(self) -> None:
        """End in order."""
        await self.committer.drain()
        await self._alter.drain()

    async def _forget(self, user: str) -> None:
        self.directory.forget(user)

    def _mortal(self, part: Any) -> Any:
        return part if self._left is None else Mortal(part, self._request)

    async def _request(self) -> None:
        assert self._left is not None
        if self._left == 0:
            self.dead.set()
            await asyncio.Event().wait()
        self._left -= 1


@dataclass(frozen=True)
class Cluster:
    """What many processes share: the store, and a log that is indexed at once."""

    session: Session
    clock: Clock
    cells: CassandraCells
    lists: CassandraLists
    index: CassandraIndex
    users: CassandraUsers
    jobs: CassandraJobs
    debts: CassandraDebts
    sweep: CassandraSweep
    letters: Letters
    log: IndexedLog
    _started: list[Process] = field(default_factory=list)

    async def process(self, *, in_force_after_s: float = 0.0, dies_after: int | None = None) -> Process:
        """A process that knows who was erased until now, and asks when it is told to."""
        process = Process(self, in_force_after_s, dies_after)
        if dies_after is None:
            await process.erased.refresh()
            self._started.append(process)
        return process

    async def stop(self) -> None:
        """Stop every process that lives."""
        for process in self._started:
            await process.stop()


async def among(users: CassandraUsers, names: Collection[str]) -> Collection[str]:
    """Those of these users who were erased."""
    marked = await asyncio.gather(*map(users.marked_at, names))
    return {name for name, at in zip(names, marked, strict=True) if at is not None}


@asynccontextmanager
async def letters(session: Session, users: CassandraUsers) -> AsyncIterator[Letters]:
    """The stores of messages."""
    erased = partial(among, users)
    async with (
        Pushes(session) as pushes,
        CassandraInbox(session, pushes, erased) as inbox,
        CassandraAudience(session, erased) as audience,
        CassandraTold(session) as told,
        CassandraOwners(session) as owners,
    ):
        yield Letters(pushes, inbox, audience, told, owners)


@asynccontextmanager
async def cluster(cassandra: Cassandra, clock: Clock) -> AsyncIterator[Cluster]:
    """The parts over one session."""
    async with (
        open_session(cassandra) as session,
        CassandraCells(session) as cells,
        CassandraLists(session) as lists,
        CassandraIndex(session) as index,
        CassandraUsers(session, clock) as users,
        CassandraJobs(session, clock) as jobs,
        CassandraDebts(session, clock) as debts,
        CassandraSweep(session) as sweep,
        letters(session, users) as opened,
    ):
        log = IndexedLog(index)
        parts = Cluster(session, clock, cells, lists, index, users, jobs, debts, sweep, opened, log)
        yield parts
        await parts.stop()


class OfLedger:
    """Own state where nothing is kept near the readers."""

    def __init__(self, ledger: OwnLedger) -> None:
        self._ledger = ledger
        self.reacted = ledger.reacted

    async def mine(self, user: str, targets: Sequence[str]) -> dict[str, int]:
        states = await self._ledger.states(user, targets)
        return {target: state.reaction for target, state in states.items() if state.reaction}


class QueuedLedger:
    """The ledger's port in front of the cluster profile's committer: what is handed over together rides together."""

    def __init__(self, process: Process) -> None:
        self._committer = process.committer
        self._erased = process.erased

    async def commit(self, work: Sequence[CellTaps]) -> list[CellResult]:
        waiting = [[self._committer.submit(cell.target, tap) for tap in cell.taps] for cell in work]
        await self._erased.refresh()  # the clock of a test jumps over many of them
        results = []
        for futures in waiting:
            done = await asyncio.gather(*futures)
            target = done[-1].shown.target if done else Target()
            results.append(CellResult(target, [each.answer for each in done]))
        return results


TABLES = (
    "cell",
    "reactors",
    "reactions_by_user",
    "profile",
    "erased_user",
    "erased_lately",
    "job",
    "job_by_subject",
    "unfinished_job",
    "inbox",
    "told",
    "told_of",
    "former_owner",
)


@asynccontextmanager
async def cassandra_stores(cassandra: Cassandra, clock: Clock) -> AsyncIterator[Stores]:
    """The ports that the cluster profile has so far, on empty tables. There are no others."""
    async with cluster(cassandra, clock) as parts:
        await emptied(parts.session, TABLES)
        process = await parts.process()
        absent: Any = None
        yield Stores(
            ledger=QueuedLedger(process),
            counters=parts.lists,
            own=OfLedger(parts.lists),
            reactors=parts.lists,
            reactions=parts.lists,
            directory=process.directory,
            removals=process.removals,
            jobs=parts.jobs,
            log=cast("EventLog", parts.log),
            batches=absent,
            inbox=parts.letters.inbox,
            audience=parts.letters.audience,
            deliveries=absent,
            intake=process.intake,
            source=process.source,
            copies=absent,
            settle=process.erased.refresh,
        )
