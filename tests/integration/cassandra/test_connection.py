"""How we come in: over TLS with certificates on both sides, with name and password; and what time it is there."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plaudit.adapters.cassandra import CassandraConfig, Session
from plaudit.adapters.system import SystemClock
from plaudit.cli import cli
from plaudit.domain.errors import Unavailable
from plaudit.services.clock_guard import ClockGuard
from tests.conftest import needs
from tests.engines.cassandra import Cassandra
from tests.engines.kafka import Kafka
from tests.engines.running import Engines
from tests.support.cassandra import open_session
from tests.support.certificates import Authority

pytestmark = pytest.mark.timeout(300)

ADDRESS = "127.0.0.1"


class Secured:
    """A node that lets nobody in without certificate and password, and what it takes to get in."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority("plaudit tests")
        self.certificate, self.key = self.authority.issue("plaudit", ADDRESS)
        certificate, key = self.authority.issue("cassandra", ADDRESS)
        pem = {"private_key": key + certificate, "trusted_certificates": self.authority.certificate}
        factory = "org.apache.cassandra.security.PEMBasedSslContextFactory"
        encryption = {
            "enabled": True,
            "optional": False,
            "require_client_auth": True,
            "ssl_context_factory": {"class_name": factory, "parameters": pem},
        }
        settings = {"authenticator": "PasswordAuthenticator", "client_encryption_options": encryption}
        self.cassandra = Cassandra(folder, 1, settings=settings)

    def config(self, **changed: str | None) -> CassandraConfig:
        return CassandraConfig(
            self.cassandra.hosts,
            self.cassandra.port,
            replication=1,
            username="cassandra",
            password="cassandra",
            tls_ca=self.authority.certificate,
            tls_cert=self.certificate,
            tls_key=self.key,
        )._replace(**changed)  # type: ignore[arg-type] # each test changes texts only


@pytest.fixture(scope="module")
def secured(engines: Engines) -> Iterator[Secured]:
    with needs():
        node = Secured(engines.folder / "secured")
        node.cassandra.start()
    try:
        until_s = time.monotonic() + 60
        while not asyncio.run(lets_in(node.config())):  # the first role comes a moment after the port
            assert time.monotonic() < until_s, node.cassandra.nodes[0].tail()
        yield node
    finally:
        node.cassandra.nodes[0].kill()


async def lets_in(config: CassandraConfig) -> bool:
    try:
        async with Session(config) as session:
            await session.now_us()
    except Unavailable:
        return False
    return True


@pytest.mark.parametrize(
    "changed",
    [
        {"password": "wrong"},
        {"username": None, "password": None},
        {"tls_cert": None, "tls_key": None},
        {"tls_ca": None, "tls_cert": None, "tls_key": None},
        {"tls_ca": Authority("somebody else").certificate},
    ],
    ids=["wrong password", "no password", "no certificate of ours", "no TLS", "not the authority we trust"],
)
async def test_nobody_comes_in_with_half_of_it(secured: Secured, changed: dict[str, str | None]) -> None:
    assert not await lets_in(secured.config(**changed))
    assert await lets_in(secured.config())


def test_the_command_comes_in_with_what_the_settings_say(
    secured: Secured, kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = secured.config()
    monkeypatch.setenv("PLAUDIT_REDIS_NODES", '["127.0.0.1:1"]')
    monkeypatch.setenv("PLAUDIT_KAFKA_BROKERS", json.dumps(kafka.bootstrap.split(",")))
    monkeypatch.setenv("PLAUDIT_KAFKA_TOPIC", "secured")
    monkeypatch.setenv("PLAUDIT_KAFKA_PARTITIONS", "1")
    monkeypatch.setenv("PLAUDIT_KAFKA_REPLICATION", "1")
    for name, text in (("ca", config.tls_ca), ("cert", config.tls_cert), ("key", config.tls_key)):
        (tmp_path / name).write_text(text or "")
        monkeypatch.setenv(f"PLAUDIT_CASSANDRA_TLS_{name.upper()}", str(tmp_path / name))
    for name, value in {
        "HOSTS": f'["{ADDRESS}"]',
        "PORT": str(config.port),
        "REPLICATION": "1",
        "USERNAME": "cassandra",
        "PASSWORD": "cassandra",
    }.items():
        monkeypatch.setenv(f"PLAUDIT_CASSANDRA_{name}", value)
    result = CliRunner().invoke(cli, ["migrate"])
    assert result.exit_code == 0, result.output
    os.remove(tmp_path / "key")
    result = CliRunner().invoke(cli, ["migrate"])
    assert (result.exit_code, "cassandra_tls_key" in result.output) == (2, True)


async def test_the_clocks_of_one_machine_are_one(cassandra: Cassandra) -> None:
    async with open_session(cassandra) as session:
        began_s = time.monotonic()
        async with ClockGuard(session, SystemClock()) as guard:
            took_s = time.monotonic() - began_s
            assert guard.trusted()
            assert abs(guard.ahead_s) < took_s / 2 + 0.5, "no more than the time of asking leaves open"
