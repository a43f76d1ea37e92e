"""Creates and upgrades the schema: the numbered files of schema/, each applied once, in order.

Every statement may be run again, so an interrupted migration is simply run again. Two at once are not guarded against:
Cassandra itself may then make one table twice. Run it from one place.
"""

import asyncio
import re
from importlib.resources import files

import acsylla

from plaudit.adapters.cassandra.session import Session
from plaudit.domain.errors import Unavailable

APPLIED = "SELECT version FROM $keyspace.migration"
APPLY = "INSERT INTO $keyspace.migration (version, name, applied_at) VALUES (?, ?, toTimestamp(now()))"
DATACENTER = "SELECT data_center FROM system.local"
TABLES = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'migration'"

HERE = "SELECT schema_version FROM system.local"
THERE = "SELECT schema_version FROM system.peers_v2"
AGREED_WITHIN_S = 30

_COMMENT = re.compile(r"--.*")


def schema() -> list[tuple[int, str, list[str]]]:
    """(version, name, statements) of every file, in order."""
    found = []
    for file in files("plaudit.adapters.cassandra").joinpath("schema").iterdir():
        if file.name.endswith(".cql"):
            text = _COMMENT.sub("", file.read_text(encoding="utf-8"))
            statements = [statement.strip() for statement in text.split(";") if statement.strip()]
            found.append((int(file.name.split("_")[0]), file.name, statements))
    return sorted(found)


async def migrate(session: Session) -> list[str]:
    """Bring the schema up to date; returns the names of the files that were applied now.

    Raises `Unavailable`: some of it may be done, run it again.
    """
    config = session.config
    datacenter = config.datacenter or await _datacenter(session)
    replication = f"{{'class': 'NetworkTopologyStrategy', '{datacenter}': {config.replication}}}"
    applied = await _applied(session)
    done = []
    for version, name, statements in schema():
        if version in applied:
            continue
        for statement in statements:
            text = statement.replace("$keyspace", config.keyspace).replace("$replication", replication)
            await session.change_schema(text)
        await _agreed(session)  # or a node that has not heard of the table refuses the line about it
        await session.write((await session.prepare(APPLY)).bind([version, name]))
        done.append(name)
    return done


async def _agreed(session: Session) -> None:
    """Wait until every node that is up has the schema: one that lacks a column refuses to prepare what names it.

    Raises `Unavailable`: they do not agree; `nodetool describecluster` says who does not.
    """
    local, peers = [await session.prepare(query, acsylla.Consistency.ONE) for query in (HERE, THERE)]
    for _ in range(AGREED_WITHIN_S * 5):
        found = [*(await session.read(local.bind([]))).all(), *(await session.read(peers.bind([]))).all()]
        if len({str(row.as_tuple()[0]) for row in found if row.as_tuple()[0] is not None}) == 1:
            return
        await asyncio.sleep(0.2)
    raise Unavailable(
        "the nodes do not agree on the schema; see `nodetool describecluster`, then migrate again"
    )


async def _applied(session: Session) -> set[int]:
    tables = await session.prepare(TABLES, acsylla.Consistency.ONE)
    if (await session.read(tables.bind([session.config.keyspace]))).first() is None:
        return set()
    found = await session.read((await session.prepare(APPLIED)).bind([]))
    return {row.as_tuple()[0] for row in found.all()}


async def _datacenter(session: Session) -> str:
    statement = await session.prepare(DATACENTER, acsylla.Consistency.ONE)
    return str((await session.read(statement.bind([]))).first().as_tuple()[0])
