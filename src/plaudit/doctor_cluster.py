"""What `plaudit doctor` looks at in the cluster profile: versions, settings and clocks of the three engines.

Everything here only reads. Each finding says what to change, and why.
"""

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

import msgspec

from plaudit.adapters.cassandra import CassandraConfig, Session
from plaudit.adapters.cassandra.inspect import CassandraFacts, inspect
from plaudit.adapters.redis.inspect import RedisFacts
from plaudit.doctor import Finding
from plaudit.domain.errors import PlauditError
from plaudit.ports.clock import Clock

MOST_OFF_S = 1.0  # beyond it a process stops committing
PAXOS_V2_SINCE = (4, 1)
REDIS_SINCE = (7,)
DAY_S = 24 * 60 * 60
SHORTEST_RETENTION_S = 2 * DAY_S
LISTS = ("reactors", "reactions_by_user")
POLICIES = ("volatile-lru", "noeviction")
INDEX_KIB = 1  # docs/decisions/0040
UNITS = {"B": 1 / 1024, "KiB": 1, "MiB": 1024}


class Topic(Protocol):
    """The topic of events as it is. `retention_s`: None for ever. `replication`: of the partition with the fewest."""

    @property
    def partitions(self) -> int:
        """How many."""

    @property
    def replication(self) -> int:
        """Replicas."""

    @property
    def min_insync(self) -> int:
        """`min.insync.replicas`."""

    @property
    def retention_s(self) -> float | None:
        """How long an event is kept, in seconds."""

    @property
    def brokers(self) -> int:
        """How many are there."""


async def examine_cluster(
    cassandra: CassandraConfig,
    topic: Callable[[], Awaitable[Topic | None]],
    redis: Callable[[], Awaitable[RedisFacts]],
    clock: Clock,
    *,
    partitions: int,
) -> list[Finding]:
    """Check all three engines, each by itself: one that is away does not hide what is wrong with the others.

    `topic` and `redis` ask Kafka and Redis and raise `Unavailable`; `partitions` is what the settings say.
    """
    findings: list[Finding] = []
    retention_s: float | None = 0.0
    try:
        found = await topic()
        retention_s = found.retention_s if found is not None else 0.0
        findings += judge_topic(found, partitions)
    except PlauditError as error:
        findings.append(_away("kafka", "kafka_brokers", error))
    try:
        async with Session(cassandra) as session:
            facts = await inspect(session)
            began_us = clock.now_us()
            facts = msgspec.structs.replace(facts, now_us=await session.now_us())
            # The moment of theirs, where that may be: how long it took to ask says nothing of clocks.
            ours_us = min(max(facts.now_us, began_us), clock.now_us())
        findings = [*judge_cassandra(facts, cassandra, retention_s, ours_us), *findings]
    except PlauditError as error:
        findings.insert(0, _away("cassandra", "cassandra_hosts", error))
    try:
        findings += judge_redis(await redis())
    except PlauditError as error:
        findings.append(_away("redis", "redis_nodes", error))
    return findings


def judge_cassandra(
    facts: CassandraFacts, config: CassandraConfig, retention_s: float | None, ours_us: float
) -> Iterator[Finding]:
    """What Cassandra's facts mean. `retention_s` of the topic; `ours_us` is when they were asked for, by our clock."""
    yield _versions(facts)
    yield from _schema(facts, config.keyspace)
    if facts.replicas is not None:
        yield from _replication(facts, config)
    yield _paxos(facts)
    yield _commit_log(facts)
    yield _row_index(facts)
    yield from _tables(facts, config.keyspace, retention_s)
    off_s = abs(facts.now_us - ours_us) / 1e6
    detail = f"{off_s:.2f} s between Cassandra's and ours"
    if off_s > MOST_OFF_S:
        detail += f"; beyond {MOST_OFF_S:.0f} s no taps are taken here: run NTP (chrony) on both"
    yield Finding("clocks", "fault" if off_s > MOST_OFF_S else "ok", detail)


def judge_topic(topic: Topic | None, partitions: int) -> Iterator[Finding]:
    """What the topic's facts mean."""
    if topic is None:
        yield Finding("topic", "fault", "there is none, so events are only owed: run `plaudit migrate`")
        return
    detail = f"{topic.partitions} partitions, {topic.brokers} brokers"
    if topic.partitions != partitions:
        detail += (
            f"; kafka_partitions says {partitions}: set it to what there is, own state and erasures go by it"
        )
    yield Finding("topic", "fault" if topic.partitions != partitions else "ok", detail)
    yield _insync(topic)
    if topic.retention_s is None:
        yield Finding("retention", "ok", "events are kept for ever")
    else:
        short = topic.retention_s < SHORTEST_RETENTION_S
        detail = f"events are kept for {topic.retention_s / DAY_S:.1f} days"
        if short:
            detail += (
                "; workers that are away for longer miss some, until an audit finds it: retention.ms ≥ 2 days"
            )
        yield Finding("retention", "note" if short else "ok", detail)


def judge_redis(facts: RedisFacts) -> Iterator[Finding]:
    """What the facts of Redis mean."""
    yield _redis_versions(facts)
    fine = facts.state == "ok"
    advice = "" if fine else "; some slots have no master: see `redis-cli --cluster check`"
    yield Finding("redis cluster", "ok" if fine else "fault", f"state {facts.state}{advice}")
    alone = sum(not node.replicas for node in facts.nodes)
    if alone:
        detail = f"{alone} masters have no replica; while one is away its totals are read from the ledger"
        yield Finding("redis replicas", "note", detail)
    bad = sorted({node.policy for node in facts.nodes} - set(POLICIES))
    if bad:
        detail = (
            f"{', '.join(bad)}; it may drop open windows of notifications and totals in use: "
            "CONFIG SET maxmemory-policy volatile-lru (or noeviction)"
        )
        yield Finding("redis eviction", "fault", detail)
    else:
        yield Finding("redis eviction", "ok", ", ".join(sorted({node.policy for node in facts.nodes})))
    if not all(node.appends for node in facts.nodes):
        detail = "off; a master that restarts is empty, and open windows of notifications go: appendonly yes"
        yield Finding("redis append-only", "note", detail)
    if any(not node.max_bytes for node in facts.nodes):
        detail = "maxmemory is not set; Redis then grows until the system ends it: set it to what it may use"
        yield Finding("redis memory", "note", detail)


def _away(check: str, setting: str, error: PlauditError) -> Finding:
    return Finding(check, "fault", f"cannot be reached ({setting}): {error}")


def _versions(facts: CassandraFacts) -> Finding:
    versions = sorted({node.version for node in facts.nodes})
    detail = f"{', '.join(versions)}, {len(facts.nodes)} nodes"
    if any(_number(version) < PAXOS_V2_SINCE for version in versions):
        return Finding("cassandra", "fault", f"{detail}; Plaudit needs 4.1 or newer, and is tested with 5.0")
    if len(versions) > 1:
        return Finding("cassandra", "note", f"{detail}; finish the upgrade before the schema is changed")
    return Finding("cassandra", "ok", detail)


def _schema(facts: CassandraFacts, keyspace: str) -> Iterator[Finding]:
    if facts.replicas is None:
        yield Finding("schema", "fault", f"no keyspace {keyspace}: run `plaudit migrate`")
    elif facts.missing:
        detail = (
            f"{len(facts.missing)} files are not applied, first {facts.missing[0]}: run `plaudit migrate`"
        )
        yield Finding("schema", "fault", detail)
    else:
        yield Finding("schema", "ok", f"up to date in {keyspace}")


def _replication(facts: CassandraFacts, config: CassandraConfig) -> Iterator[Finding]:
    """QUORUM and SERIAL are of all replicas in all data centres together."""
    replicas = facts.replicas or {}
    there = {node.datacenter for node in facts.nodes}
    detail = ", ".join(f"{number} in {name}" for name, number in sorted(replicas.items()))
    alter = f"ALTER KEYSPACE {config.keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy', …}}"
    total = sum(replicas.values())
    unknown = sorted(set(replicas) - there)
    if unknown:
        advice = f"there is no data centre {unknown[0]}, so no quorum: {alter}, then a full repair"
        yield Finding("replication", "fault", f"{detail}; {advice}")
    elif total < 3:
        why = "the loss of one stops taps" if total == 2 else "the loss of its disk is the loss of everything"
        yield Finding("replication", "fault" if total == 2 else "note", f"{detail}; {why}. 3: {alter}")
    elif len(replicas) > 1:
        advice = (
            "every tap waits for a quorum over all of them: right where they are ≤ 2 ms apart. Never LOCAL_QUORUM or "
            "LOCAL_SERIAL while more than one takes taps: two of them would each count, and taps would be lost"
        )
        yield Finding("replication", "note", f"{detail}; {advice}")
    else:
        yield Finding("replication", "ok", f"{detail}; QUORUM and SERIAL")
    name = config.datacenter
    if name is not None and name not in there:
        detail = f"cassandra_datacenter says {name}; there is {', '.join(sorted(there))}"
        yield Finding("data centre", "fault", detail)
    racks = {node.rack for node in facts.nodes}
    if total >= 3 and len(racks) < 3:
        detail = (
            f"{len(racks)} for {total} replicas; name zones as racks, so that the loss of one leaves a quorum"
        )
        yield Finding("zones", "note", detail)


def _paxos(facts: CassandraFacts) -> Finding:
    variant = facts.settings.get("paxos_variant", "v1")
    if variant == "v2":
        return Finding("paxos", "ok", "v2")
    advice = "twice the round trips per tap, more time-outs: set paxos_variant: v2 on every node, one by one"
    return Finding("paxos", "fault", f"{variant}; {advice}")


def _commit_log(facts: CassandraFacts) -> Finding:
    """Cassandra acknowledges after the sync with `batch` and `group`; with `group` a sync waits for its window."""
    sync = facts.settings.get("commitlog_sync", "unknown")
    detail = f"synced by {sync}"
    if sync == "batch":
        return Finding("commit log", "ok", detail)
    if sync == "group":
        window = facts.settings.get("commitlog_sync_group_window", "unknown")
        advice = (
            f"as safe, but each write waits for the end of a window (commitlog_sync_group_window, {window}) and holds "
            "a thread meanwhile, and a tap makes several in a row; Plaudit is tested with commitlog_sync: batch"
        )
        return Finding("commit log", "note", f"{detail}; {advice}")
    advice = "acknowledged before it is on disk, so a power cut in two zones forgets taps: set commitlog_sync: batch"
    return Finding("commit log", "fault", f"{detail}; {advice}")


def _row_index(facts: CassandraFacts) -> Finding:
    """`column_index_size`, which is written `1KiB`; empty or `null` where the format of the tables decides."""
    told = facts.settings.get("column_index_size", "")
    found = re.fullmatch(r"(\d+)(B|KiB|MiB)", told)
    if found is not None and int(found[1]) * UNITS[found[2]] <= INDEX_KIB:
        return Finding("row index", "ok", told)
    advice = (
        f"a tap on a big target decodes that much for each user it names: set column_index_size: {INDEX_KIB}KiB "
        "on every node, one by one; tables follow as they are compacted"
    )
    return Finding("row index", "note", f"{told if found is not None else 'Cassandra’s default'}; {advice}")


def _tables(facts: CassandraFacts, keyspace: str, retention_s: float | None) -> Iterator[Finding]:
    cell = facts.tables.get("cell")
    if cell is not None:
        fine = cell.read_repair.upper() == "NONE"
        advice = (
            "; it writes back only the rows that were read, a new header beside old rows: "
            f"ALTER TABLE {keyspace}.cell WITH read_repair = 'NONE', then restart Plaudit"
        )
        detail = f"{cell.read_repair} on cell{'' if fine else advice}"
        yield Finding("read repair", "ok" if fine else "fault", detail)
    for name in LISTS:
        table = facts.tables.get(name)
        if table is not None and (retention_s is None or table.gc_grace_s < retention_s):
            kept = "for ever" if retention_s is None else f"{retention_s / DAY_S:.1f} days"
            detail = (
                f"{table.gc_grace_s / DAY_S:.1f} days of {name}, but events are kept {kept}: replayed ones bring back "
                f"what was removed. ALTER TABLE {keyspace}.{name} WITH gc_grace_seconds = …, or a shorter retention.ms"
            )
            yield Finding("deletions", "fault", detail)


def _insync(topic: Topic) -> Finding:
    detail = f"{topic.replication} replicas, {topic.min_insync} in sync"
    if topic.replication < 3:
        return Finding("events", "note", f"{detail}; 3 and 2 survive the loss of a broker")
    if topic.min_insync < 2:
        advice = "an acknowledged event may be on one broker alone: min.insync.replicas=2 on the topic"
        return Finding("events", "fault", f"{detail}; {advice}")
    if topic.min_insync >= topic.replication:
        advice = "one broker away, and every event is owed: min.insync.replicas one less than the replicas"
        return Finding("events", "fault", f"{detail}; {advice}")
    return Finding("events", "ok", detail)


def _redis_versions(facts: RedisFacts) -> Finding:
    versions = sorted({node.version for node in facts.nodes})
    detail = f"{', '.join(versions)}, {len(facts.nodes)} masters"
    numbers = [_number(version) for version in versions]
    if any(number and number < REDIS_SINCE for number in numbers):
        advice = "Plaudit needs 7 or newer: upgrade every node, replicas first, and let them take over"
        return Finding("redis", "fault", f"{detail}; {advice}")
    if not all(numbers):
        return Finding("redis", "note", f"{detail}; it does not say its version, which has to be 7 or newer")
    return Finding("redis", "ok", detail)


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))
