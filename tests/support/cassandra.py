"""A session on the tests' Cassandra, with the schema in it. Tests share the keyspace and use targets of their own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any, cast
from unittest.mock import patch

import acsylla

from plaudit.adapters.cassandra import CassandraCells, CassandraConfig, CassandraLists, Session, migrate
from plaudit.domain import removal
from plaudit.domain.catalogue import NONE, Catalogue, Registration
from plaudit.domain.cell import Rules, Transition
from plaudit.domain.events import Committed
from plaudit.ports.cells import CellKey, Cells, Proposal
from plaudit.ports.clock import Clock
from plaudit.ports.directory import Directory
from plaudit.ports.ledger import CellResult, CellTaps, Target
from plaudit.services.known import Known
from plaudit.services.propose import Proposer, Settled
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


def fresh_target() -> str:
    """An id that no other test of this run has."""
    return f"t{next(_targets)}"


class CellLedger:
    """The ledger and the directory of the cluster profile, as far as they are built, with the index applied at once."""

    def __init__(self, session: Session, cells: Cells, lists: CassandraLists, clock: Clock) -> None:
        self._session = session
        self._cells = cells
        self._lists = lists
        self._proposer = Proposer(cells, Known(), clock, Rules(Catalogue()))

    async def commit(self, work: Sequence[CellTaps]) -> list[CellResult]:
        return list(await asyncio.gather(*map(self._commit, work)))

    async def _commit(self, cell: CellTaps) -> CellResult:
        key, users = CellKey(cell.target), dict.fromkeys(tap.user for tap in cell.taps)
        before = await self._cells.settle(key, users)
        result = await self._proposer.attempt(key, cell.taps)
        assert isinstance(result, Settled), "nobody else writes here"
        after = await self._cells.settle(key, users)
        moves = []
        for user, row in after.rows.items():
            was = before.rows[user].reaction if user in before.rows else NONE
            if was != row.reaction:
                moves.append(Transition(user, was, row.reaction, row.created_at, row.updated_at))
        event = Committed(cell.target, 0, "post", 1, "tap", after.seq, (), 0, 0, (), tuple(moves))
        await self._lists.apply([event])
        return CellResult(result.target, list(result.answers))

    async def register(self, target: str, registration: Registration) -> Target:
        state = await self._cells.settle(CellKey(target), [])
        header = removal.register(state.header, registration.type)
        assert await self._cells.propose(CellKey(target), Proposal(state.seq, header, {}, registration))
        return Target(header, registration)


@asynccontextmanager
async def cassandra_stores(cassandra: Cassandra, clock: Clock) -> AsyncIterator[Stores]:
    """The ports that the cluster profile has so far, on empty tables. There are no others."""
    async with (
        open_session(cassandra) as session,
        CassandraCells(session) as cells,
        CassandraLists(session) as lists,
    ):
        for table in ("cell", "reactors", "reactions_by_user"):
            await session.change_schema(f"TRUNCATE plaudit.{table}")
        ledger = CellLedger(session, cells, lists, clock)
        absent: Any = None
        yield Stores(
            ledger=ledger,
            counters=lists,
            own=lists,
            reactors=lists,
            reactions=lists,
            directory=cast("Directory", ledger),
            removals=absent,
            jobs=absent,
            log=absent,
            batches=absent,
            inbox=absent,
            audience=absent,
            deliveries=absent,
            intake=absent,
            source=absent,
            copies=absent,
        )
