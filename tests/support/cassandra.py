"""A session on the tests' Cassandra, with the schema in it. Tests share the keyspace and use targets of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from unittest.mock import patch

import acsylla

from plaudit.adapters.cassandra import CassandraConfig, Session, migrate
from tests.engines.cassandra import Cassandra

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
