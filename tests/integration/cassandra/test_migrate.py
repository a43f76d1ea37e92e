"""`plaudit migrate`: creates, upgrades, and is run as often as one likes."""

import json

import pytest
from typer.testing import CliRunner

from plaudit.adapters.cassandra import CassandraCells, Session, migrate
from plaudit.adapters.cassandra.migrate import schema
from plaudit.cli import cli
from plaudit.domain.errors import Unavailable
from tests.engines.cassandra import Cassandra
from tests.engines.kafka import Kafka
from tests.support.cassandra import config

pytestmark = pytest.mark.timeout(300)

NAMES = [name for _, name, _ in schema()]


def test_versions_are_unique_and_every_table_says_what_it_is_for() -> None:
    versions = [version for version, _, _ in schema()]
    assert versions == sorted(set(versions))
    tables = [s for _, _, statements in schema() for s in statements if s.startswith("CREATE TABLE")]
    assert [t for t in tables if "comment" not in t and ".migration" not in t] == []
    assert all("IF NOT EXISTS" in s for _, _, statements in schema() for s in statements)


async def test_it_creates_and_then_has_nothing_to_do_also_half_way(cassandra: Cassandra) -> None:
    async with Session(config(cassandra, "migrated")) as session:
        assert await migrate(session) == NAMES
        assert await migrate(session) == []
        await session.change_schema("DELETE FROM migrated.migration WHERE version = 2")
        assert await migrate(session) == NAMES[1:2], "a migration that was interrupted goes on"
        async with CassandraCells(session):
            pass


async def test_without_the_schema_nothing_begins(cassandra: Cassandra) -> None:
    async with Session(config(cassandra, "nobody_made_it")) as session:
        with pytest.raises(Unavailable):
            async with CassandraCells(session):
                pass


async def test_the_ledger_repairs_nothing_when_it_reads(cassandra: Cassandra) -> None:
    async with Session(config(cassandra, "migrated")) as session:
        await migrate(session)
        text = "SELECT read_repair FROM system_schema.tables WHERE keyspace_name = 'migrated' AND table_name = 'cell'"
        [row] = (await session.read((await session.prepare(text)).bind([]))).all()
        assert row.as_tuple() == ("NONE",)


def test_the_command_says_what_it_did(
    cassandra: Cassandra, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAUDIT_KAFKA_BROKERS", json.dumps(kafka.bootstrap.split(",")))
    monkeypatch.setenv("PLAUDIT_KAFKA_TOPIC", "by_command")
    monkeypatch.setenv("PLAUDIT_KAFKA_PARTITIONS", "1")
    monkeypatch.setenv("PLAUDIT_KAFKA_REPLICATION", "1")
    monkeypatch.setenv("PLAUDIT_REDIS_NODES", '["127.0.0.1:1"]')
    monkeypatch.setenv("PLAUDIT_CASSANDRA_HOSTS", f'["{cassandra.hosts[0]}"]')
    monkeypatch.setenv("PLAUDIT_CASSANDRA_PORT", str(cassandra.port))
    monkeypatch.setenv("PLAUDIT_CASSANDRA_KEYSPACE", "by_command")
    monkeypatch.setenv("PLAUDIT_CASSANDRA_REPLICATION", "1")
    first, second = CliRunner().invoke(cli, ["migrate"]), CliRunner().invoke(cli, ["migrate"])
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert [line.split()[-1] for line in first.output.splitlines()] == [
        *NAMES,
        "by_command",
        "by_command.quarantine",
    ]
    assert second.output == "the schema is up to date\n"


def test_the_command_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(cli, ["migrate"])
    assert (result.exit_code, "cassandra_hosts" in result.output) == (2, True)
    monkeypatch.setenv("PLAUDIT_KAFKA_BROKERS", '["127.0.0.1:1"]')
    monkeypatch.setenv("PLAUDIT_REDIS_NODES", '["127.0.0.1:1"]')
    monkeypatch.setenv("PLAUDIT_CASSANDRA_HOSTS", '["127.0.0.1"]')
    monkeypatch.setenv("PLAUDIT_CASSANDRA_PORT", "9")
    result = CliRunner().invoke(cli, ["migrate"])
    assert (result.exit_code, "could not be read" in result.output) == (3, True)
