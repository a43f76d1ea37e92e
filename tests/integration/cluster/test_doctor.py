"""The doctor on real engines: what is right is said to be, and each wrong setting is found."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from plaudit.adapters.cassandra import CassandraConfig, Session
from plaudit.adapters.cassandra.inspect import CassandraFacts, Node, Table
from plaudit.adapters.kafka import KafkaAdmin, KafkaConfig
from plaudit.adapters.redis import RedisConfig
from plaudit.adapters.redis import Session as RedisSession
from plaudit.adapters.redis.inspect import RedisFacts, RedisNode
from plaudit.adapters.redis.inspect import inspect as inspect_redis
from plaudit.adapters.system import SystemClock
from plaudit.doctor import Finding
from plaudit.doctor_cluster import DAY_S, Topic, examine_cluster, judge_cassandra, judge_redis, judge_topic
from plaudit.domain.errors import Unavailable
from plaudit.ports.clock import Clock
from tests.conftest import needs
from tests.engines.cassandra import DATACENTER, Cassandra
from tests.engines.kafka import Kafka
from tests.engines.redis import Redis
from tests.support.cassandra import config, open_session
from tests.support.redis import open_session as open_redis
from tests.support.town import LaterClock

pytestmark = pytest.mark.timeout(300)

KEYSPACE = "doctored"


class FixedTopic:
    """A topic as it might be; the defaults are fine."""

    def __init__(
        self,
        *,
        partitions: int = 6,
        replication: int = 3,
        min_insync: int = 2,
        retention_s: float | None = 7 * DAY_S,
        brokers: int = 3,
    ) -> None:
        self.partitions, self.replication, self.min_insync = partitions, replication, min_insync
        self.retention_s, self.brokers = retention_s, brokers


@pytest.fixture
async def session(cassandra: Cassandra, anyio_backend: str) -> AsyncIterator[Session]:
    async with open_session(cassandra, keyspace=KEYSPACE) as opened:
        yield opened


class SlowerClock(SystemClock):
    """The system's clock, where five seconds pass from one look to the next."""

    def __init__(self) -> None:
        self._ahead_us = 0

    def now_us(self) -> int:
        now_us = super().now_us() + self._ahead_us
        self._ahead_us += 5_000_000
        return now_us


def seen(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.state for finding in findings}


async def examine(
    cassandra: CassandraConfig, redis: Redis, topic: Topic | None = None, clock: Clock | None = None
) -> list[Finding]:
    async def the_topic() -> Topic | None:
        return topic or FixedTopic()

    async def the_redis() -> RedisFacts:
        async with open_redis(redis) as opened:
            return await inspect_redis(opened)

    return await examine_cluster(cassandra, the_topic, the_redis, clock or SystemClock(), partitions=6)


async def test_what_is_right_is_said_to_be(session: Session, redis: Redis) -> None:
    findings = await examine(session.config, redis)
    assert not [finding for finding in findings if finding.state == "fault"]
    assert [f.check for f in findings if f.state == "note"] == ["replication"], "one replica, for trying out"
    assert {"cassandra", "schema", "paxos", "commit log", "row index", "read repair", "clocks"} <= seen(
        findings
    ).keys()
    assert {"topic", "events", "retention", "redis", "redis cluster", "redis eviction"} <= seen(
        findings
    ).keys()


async def test_wrong_tables_replicas_and_clocks_are_found(session: Session, redis: Redis) -> None:
    replicas = f"{{'class': 'NetworkTopologyStrategy', '{DATACENTER}': %s}}"
    for what, option, wrong, right in (
        (f"TABLE {KEYSPACE}.cell", "read_repair", "'BLOCKING'", "'NONE'"),
        (f"TABLE {KEYSPACE}.reactors", "gc_grace_seconds", "3600", "864000"),
        (f"KEYSPACE {KEYSPACE}", "replication", replicas.replace("%s", "2"), replicas.replace("%s", "1")),
    ):
        await session.change_schema(f"ALTER {what} WITH {option} = {wrong}")
        try:
            findings = await examine(session.config, redis)
        finally:
            await session.change_schema(f"ALTER {what} WITH {option} = {right}")
        faults = [finding for finding in findings if finding.state == "fault"]
        assert len(faults) == 1, wrong
        assert "ALTER" in faults[0].detail, "it says what to do"
    findings = await examine(session.config, redis, clock=LaterClock(5))
    assert [f.check for f in findings if f.state == "fault"] == ["clocks"]
    findings = await examine(session.config, redis, clock=SlowerClock())
    assert not [finding for finding in findings if finding.state == "fault"], "slow to answer, and no more"


async def test_a_schema_that_is_missing_or_behind_is_found(session: Session, redis: Redis) -> None:
    findings = await examine(session.config._replace(keyspace="nowhere"), redis)
    assert "plaudit migrate" in next(f.detail for f in findings if f.check == "schema" and f.state == "fault")
    await session.change_schema(f"DELETE FROM {KEYSPACE}.migration WHERE version = 6")
    findings = await examine(session.config, redis)
    assert "006_audit.cql" in next(f.detail for f in findings if f.check == "schema" and f.state == "fault")


async def test_wrong_settings_of_a_node_are_found(tmp_path: Path, redis: Redis) -> None:
    wrong = {
        "column_index_size": "4KiB",
        "paxos_variant": "v1",
        "commitlog_sync": "periodic",
        "commitlog_sync_period": "10000ms",
    }
    with needs():
        node = Cassandra(tmp_path, 1, settings=wrong)
    node.start()
    try:
        findings = await examine(config(node), redis)
    finally:
        for one in node.nodes:
            one.kill()
    faults = {finding.check: finding.detail for finding in findings if finding.state == "fault"}
    assert faults.keys() == {"schema", "paxos", "commit log"}
    index = next(finding for finding in findings if finding.check == "row index")
    assert (index.state, index.detail.startswith("4KiB; ")) == ("note", True)
    assert "paxos_variant: v2" in faults["paxos"]
    assert "commitlog_sync: batch" in faults["commit log"]


async def test_wrong_settings_of_redis_are_found(session: Session, redis: Redis) -> None:
    for setting, wrong, right, check in (
        ("maxmemory-policy", "allkeys-lru", "noeviction", "redis eviction"),
        ("appendonly", "no", "yes", "redis append-only"),
        ("maxmemory", "0", "256mb", "redis memory"),
    ):
        for node in range(6):
            redis.ask(node, "CONFIG", "SET", setting, wrong)
        try:
            findings = await examine(session.config, redis)
        finally:
            for node in range(6):
                redis.ask(node, "CONFIG", "SET", setting, right)
        assert seen(findings)[check] != "ok"


async def test_a_real_topic_is_looked_at(session: Session, redis: Redis, kafka: Kafka) -> None:
    admin = KafkaAdmin(KafkaConfig([kafka.bootstrap], "doctored", partitions=3, replication=1))

    async def the_redis() -> RedisFacts:
        async with open_redis(redis) as opened:
            return await inspect_redis(opened)

    for partitions, there, wanted in (
        (3, False, {"topic": "fault"}),
        (3, True, {"topic": "ok", "events": "note", "retention": "ok"}),
        (6, True, {"topic": "fault", "events": "note", "retention": "ok"}),
    ):
        if there:
            await admin.create()
        findings = await examine_cluster(
            session.config, admin.describe, the_redis, SystemClock(), partitions=partitions
        )
        assert {check: state for check, state in seen(findings).items() if check in wanted} == wanted
        assert "deletions" not in seen(findings)


async def test_an_engine_that_is_away_does_not_hide_the_others(session: Session) -> None:
    async def away() -> Topic | None:
        raise Unavailable("nobody answers")

    async def no_redis() -> RedisFacts:
        async with RedisSession(RedisConfig(["127.0.0.1:1"])) as opened:
            return await inspect_redis(opened)

    findings = await examine_cluster(session.config, away, no_redis, SystemClock(), partitions=6)
    assert {f.check for f in findings if f.state == "fault"} == {"kafka", "redis"}
    assert seen(findings)["paxos"] == "ok"
    nobody = session.config._replace(port=1)
    findings = await examine_cluster(nobody, away, no_redis, SystemClock(), partitions=6)
    assert {f.check for f in findings if f.state == "fault"} == {"cassandra", "kafka", "redis"}


def test_a_wrong_topic_is_found() -> None:
    for topic, check, state in (
        (None, "topic", "fault"),
        (FixedTopic(partitions=5), "topic", "fault"),
        (FixedTopic(min_insync=1), "events", "fault"),
        (FixedTopic(min_insync=3), "events", "fault"),
        (FixedTopic(replication=1, min_insync=1), "events", "note"),
        (FixedTopic(retention_s=3600), "retention", "note"),
    ):
        assert seen(list(judge_topic(topic, 6)))[check] == state
    assert set(seen(list(judge_topic(FixedTopic(), 6))).values()) == {"ok"}


@pytest.mark.parametrize(
    ("versions", "state", "says"),
    [
        (["Redis 7.0.15"], "ok", "Redis 7.0.15, 1 masters"),
        (["Redis 8.2.1", "Valkey 7.2.5"], "ok", "Redis 8.2.1, Valkey 7.2.5, 2 masters"),
        (["Redis 7.0.15", "Redis 6.2.14"], "fault", "upgrade every node"),
        (["Redis 10.0.0"], "ok", "Redis 10.0.0, 1 masters"),
        (["Redis unknown"], "note", "does not say its version"),
    ],
)
def test_what_versions_of_redis_mean(versions: list[str], state: str, says: str) -> None:
    nodes = [RedisNode(version, "noeviction", 1, appends=True, replicas=1) for version in versions]
    [found] = [finding for finding in judge_redis(RedisFacts(nodes, "ok")) if finding.check == "redis"]
    assert (found.state, says in found.detail) == (state, True), found.detail


@pytest.mark.parametrize(
    ("sync", "state", "says"),
    [
        ("batch", "ok", "synced by batch"),
        ("group", "note", "(commitlog_sync_group_window, 15ms)"),
        ("periodic", "fault", "set commitlog_sync: batch"),
        ("unknown", "fault", "set commitlog_sync: batch"),
    ],
)
def test_what_the_sync_of_the_commit_log_means(sync: str, state: str, says: str) -> None:
    settings = {"commitlog_sync": sync, "commitlog_sync_group_window": "15ms"}
    facts = CassandraFacts([Node("5.0.8", "one", "a")], settings, None, {}, [], 0)
    findings = judge_cassandra(facts, CassandraConfig(["a"]), 0.0, 0)
    [found] = [finding for finding in findings if finding.check == "commit log"]
    assert (found.state, says in found.detail) == (state, True), found.detail


def judged(
    replicas: dict[str, int], *nodes: Node, retention_s: float | None = 0.0, index: str = "1KiB"
) -> dict[str, str]:
    tables = {"cell": Table("NONE", 864000), "reactors": Table("BLOCKING", 864000)}
    settings = {"paxos_variant": "v2", "commitlog_sync": "batch", "column_index_size": index}
    facts = CassandraFacts(nodes, settings, replicas, tables, [], 0)
    return seen(list(judge_cassandra(facts, CassandraConfig(["a"], datacenter="one"), retention_s, 0)))


def test_what_replicas_zones_and_versions_mean() -> None:
    zones = [Node("5.0.8", "one", f"zone{n}") for n in range(3)]
    other = [Node("5.0.8", "two", f"zone{n}") for n in range(3)]
    assert set(judged({"one": 3}, *zones).values()) == {"ok"}
    assert judged({"one": 2}, *zones)["replication"] == "fault", "the loss of one stops taps"
    assert judged({"one": 3, "two": 3}, *zones, *other)["replication"] == "note"
    assert judged({"two": 3}, *other)["data centre"] == "fault"
    assert judged({"one": 3}, *[Node("5.0.8", "one", "rack1")] * 3)["zones"] == "note"
    assert judged({"one": 3}, *zones, Node("4.0.9", "one", "zone0"))["cassandra"] == "fault"
    assert judged({"one": 3}, *zones, Node("5.1.0", "one", "zone0"))["cassandra"] == "note"
    assert judged({"one": 3}, *zones, retention_s=None)["deletions"] == "fault"
    for index, state in (("512B", "ok"), ("4KiB", "note"), ("1MiB", "note"), ("null", "note"), ("", "note")):
        assert judged({"one": 3}, *zones, index=index)["row index"] == state, index
