"""The engines themselves: real, whole, and killable one by one."""

import subprocess
import sys
from pathlib import Path

import acsylla
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.engines.cassandra import Cassandra
from tests.engines.jars import CASSANDRA
from tests.engines.kafka import Kafka
from tests.engines.node import wait_for
from tests.engines.redis import Redis
from tests.support.redis import master_of

RECONNECT = {"reconnect.backoff.max.ms": 200}

pytestmark = pytest.mark.timeout(300)


async def test_cassandra_is_the_version_that_the_cluster_is_built_on(cassandra: Cassandra) -> None:
    session = await acsylla.create_cluster(
        cassandra.hosts, port=cassandra.port, log_level="critical"
    ).create_session()
    try:
        row = (await session.query("SELECT release_version FROM system.local")).first()
        assert row is not None
        assert row.release_version == CASSANDRA
        settings = await session.query("SELECT name, value FROM system_views.settings")
        found = {line.name: line.value for line in settings}
        assert (found["paxos_variant"], found["commitlog_sync"]) == ("v2", "batch")
    finally:
        await session.close()


def test_a_broker_is_killed_and_comes_back_with_what_it_acknowledged(kafka: Kafka) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_topics([NewTopic("engines", 1, 1)])["engines"].result(60)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "acks": "all", "log_level": 0} | RECONNECT)
    producer.produce("engines", b"before")
    assert producer.flush(60) == 0
    kafka.nodes[0].kill()
    assert not kafka.nodes[0].running
    kafka.start()
    producer.produce("engines", b"after")
    assert producer.flush(60) == 0


def test_a_master_that_dies_is_replaced_and_joins_again_as_replica(redis: Redis) -> None:
    node = master_of(redis, "a")
    redis.nodes[node].kill()
    another = (node + 1) % len(redis.nodes)
    wait_for(lambda: master_of(redis, "a", another) != node, "a new master", 60)
    redis.start()
    wait_for(lambda: "role:slave" in redis.ask(node, "INFO", "replication"), "its new role", 60)


def test_a_frozen_node_is_silent_until_it_thaws(redis: Redis) -> None:
    redis.nodes[5].freeze()
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["redis-cli", "-p", str(redis.ports[5]), "PING"], timeout=0.5, capture_output=True)
    redis.nodes[5].thaw()
    assert redis.ask(5, "PING") == "PONG\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")
def test_nothing_outlives_tests_that_are_killed(redis: Redis, tmp_path: Path) -> None:
    script = (
        "import time; from pathlib import Path; from tests.engines.running import Engines\n"
        "with Engines() as engines:\n"
        "    pids = ' '.join(str(node.pid) for node in engines.redis().nodes)\n"
        f"    Path({str(tmp_path / 'pids')!r}).write_text(pids)\n"
        "    time.sleep(600)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    wait_for(
        lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text() != "", "its engines", 60
    )
    pids = (tmp_path / "pids").read_text().split()
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    run.kill()
    run.wait()
    wait_for(lambda: not any(_alive(pid) for pid in pids), "the kernel to end them", 60)


def _alive(pid: str) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
