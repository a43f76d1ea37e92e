"""What a Cassandra cluster says about itself: for `plaudit doctor`. Only reads."""

from collections.abc import Mapping, Sequence
from typing import Any

import acsylla
import msgspec

from plaudit.adapters.cassandra.migrate import APPLIED, schema
from plaudit.adapters.cassandra.session import Session

LOCAL = "SELECT release_version, data_center, rack FROM system.local"
PEERS = "SELECT release_version, data_center, rack FROM system.peers_v2"
SETTINGS = "SELECT name, value FROM system_views.settings"
KEYSPACE = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?"
TABLES = """
SELECT table_name, read_repair, gc_grace_seconds FROM system_schema.tables WHERE keyspace_name = ?
"""


class Node(msgspec.Struct, frozen=True):
    """A node: its version, and where it stands."""

    version: str
    datacenter: str
    rack: str


class Table(msgspec.Struct, frozen=True):
    """Options of a table."""

    read_repair: str
    gc_grace_s: int


class CassandraFacts(msgspec.Struct, frozen=True):
    """`settings` are those of the node that answered. `replicas` by data centre; None: there is no such keyspace.
    `missing`: files of the schema that were not applied."""

    nodes: Sequence[Node]
    settings: Mapping[str, str]
    replicas: Mapping[str, int] | None
    tables: Mapping[str, Table]
    missing: Sequence[str]
    now_us: int


async def inspect(session: Session) -> CassandraFacts:
    """Ask everything. Raises `Unavailable`."""
    keyspace = session.config.keyspace
    nodes = [Node(*row) for query in (LOCAL, PEERS) for row in await _ask(session, query)]
    settings = {name: value or "" for name, value in await _ask(session, SETTINGS)}
    found = await _ask(session, KEYSPACE, keyspace)
    tables = {name: Table(repair, gc) for name, repair, gc in await _ask(session, TABLES, keyspace)}
    applied = {row[0] for row in await _ask(session, APPLIED)} if "migration" in tables else set()
    missing = [name for version, name, _ in schema() if version not in applied]
    replicas = {
        datacenter: int(number)
        for replication, *_ in found
        for datacenter, number in replication.items()
        if datacenter not in ("class", "replication_factor")
    }
    return CassandraFacts(
        *(nodes, settings, replicas if found else None, tables, missing, await session.now_us())
    )


async def _ask(session: Session, query: str, *values: Any) -> list[tuple[Any, ...]]:
    statement = await session.prepare(query, acsylla.Consistency.ONE)
    return [row.as_tuple() for row in (await session.read(statement.bind(list(values)))).all()]
