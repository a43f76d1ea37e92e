"""TLS to Redis Cluster: the authority is checked, and so is the name."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from plaudit.adapters.redis import RedisConfig, RedisTotals, Session
from plaudit.domain.errors import Unavailable
from tests.conftest import missing
from tests.engines.node import Node, accepts, free_ports, wait_for
from tests.support.certificates import Authority
from tests.support.redis import Watched, state

pytestmark = pytest.mark.timeout(120)

ADDRESS = "127.0.0.1"


@pytest.fixture
def authority() -> Authority:
    return Authority("the authority of these tests")


@pytest.fixture
def port(tmp_path: Path, authority: Authority) -> Iterator[int]:
    """A cluster of one node that speaks nothing but TLS."""
    server, client = shutil.which("redis-server"), shutil.which("redis-cli")
    if server is None or client is None:
        missing("Redis", "'make test' as root on Debian installs it (redis-server)")
    certificate, key = authority.issue("redis", ADDRESS)
    texts = {"ca.pem": authority.certificate, "cert.pem": certificate, "key.pem": key}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    port, bus = free_ports(2)
    secured = ["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "ca.pem"]
    command = [server, "--port", "0", "--tls-port", str(port), "--cluster-port", str(bus), "--bind", ADDRESS]
    command += ["--dir", str(tmp_path), "--cluster-enabled", "yes", "--tls-cluster", "yes", *secured]
    # A node that has met no other says its address to nobody.
    command += ["--cluster-announce-ip", ADDRESS, "--cluster-announce-tls-port", str(port)]
    node = Node("redis", tmp_path / "node", [*command, "--tls-auth-clients", "no"])
    node.start()
    try:
        wait_for(lambda: accepts(ADDRESS, port), "Redis listens", 60, [node])
        ask = [client, "--tls", "--cacert", str(tmp_path / "ca.pem"), "-p", str(port), "CLUSTER"]
        subprocess.run([*ask, "ADDSLOTSRANGE", "0", "16383"], check=True, capture_output=True)

        def served() -> bool:
            told = subprocess.run([*ask, "INFO"], check=True, capture_output=True, text=True).stdout
            return "cluster_state:ok" in told

        wait_for(served, "every slot is served", 60, [node])
        yield port
    finally:
        node.stop()


async def test_who_is_signed_by_the_authority_is_trusted(port: int, authority: Authority) -> None:
    async with Session(RedisConfig([f"{ADDRESS}:{port}"], tls_ca=authority.certificate)) as session:
        totals = RedisTotals(session)
        await totals.put({"a": state(1)})
        assert await totals.get(["a"]) == {"a": state(1)}
        await Watched(session).connected()
        assert await totals.get(["a"]) == {"a": state(1)}
        assert await session.epoch() == await session.epoch()


async def test_nobody_else_is(port: int) -> None:
    other = Authority("another authority")
    async with Session(RedisConfig([f"{ADDRESS}:{port}"], tls_ca=other.certificate)) as session:
        with pytest.raises(Unavailable):
            await session.mget(["a"])
