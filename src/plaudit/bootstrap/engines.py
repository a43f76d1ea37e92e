"""The engines of the cluster profile, as the settings name them, opened once per process.

Importing this needs the drivers of `plaudit[cluster]`.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

from plaudit.adapters.cassandra import (
    CassandraCells,
    CassandraConfig,
    CassandraDebts,
    CassandraJobs,
    CassandraLists,
    CassandraUsers,
    Session,
)
from plaudit.adapters.kafka import KafkaConfig, KafkaEvents
from plaudit.adapters.redis import RedisConfig, RedisIndexed, RedisMine, RedisTotals
from plaudit.adapters.redis import Session as RedisSession
from plaudit.domain.errors import Invalid
from plaudit.ports.clock import Clock
from plaudit.services.clock_guard import ClockGuard
from plaudit.services.erased import Erased
from plaudit.services.publish import Publish
from plaudit.settings import Settings


class Engines(NamedTuple):
    """What every process of the cluster holds open."""

    session: Session
    redis: RedisSession
    kafka: KafkaConfig
    cells: CassandraCells
    lists: CassandraLists
    debts: CassandraDebts
    users: CassandraUsers
    jobs: CassandraJobs
    totals: RedisTotals
    mine: RedisMine
    indexed: RedisIndexed
    publish: Publish
    erased: Erased
    guard: ClockGuard
    noticed: list[Callable[[str], None]]
    """Called with each user whose mark of erasure is new here."""


@asynccontextmanager
async def engines(settings: Settings, clock: Clock) -> AsyncIterator[Engines]:
    """Connected to all three. Raises `Unavailable`, and `Invalid` with the name of a setting that cannot work."""
    kafka = kafka_config(settings)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        session = await enter(Session(cassandra_config(settings)))
        redis = await enter(RedisSession(redis_config(settings)))
        cells = await enter(CassandraCells(session))
        lists = await enter(CassandraLists(session))
        debts = await enter(CassandraDebts(session, clock))
        users = await enter(CassandraUsers(session, clock))
        jobs = await enter(CassandraJobs(session, clock))
        events = await enter(KafkaEvents(kafka))
        guard = await enter(ClockGuard(session, clock))
        noticed: list[Callable[[str], None]] = []
        erased = await enter(Erased(users, clock, partial(_each, noticed)))
        yield Engines(
            session=session,
            redis=redis,
            kafka=kafka,
            cells=cells,
            lists=lists,
            debts=debts,
            users=users,
            jobs=jobs,
            totals=RedisTotals(redis),
            mine=RedisMine(redis, clock),
            indexed=RedisIndexed(redis, kafka.partitions),
            publish=Publish(events, debts, cells, clock),
            erased=erased,
            guard=guard,
            noticed=noticed,
        )


def _each(told: list[Callable[[str], None]], user: str) -> None:
    for tell in told:
        tell(user)


def cassandra_config(settings: Settings) -> CassandraConfig:
    """Raises `Invalid` with the name of a file that cannot be read."""
    return CassandraConfig(
        hosts=settings.cassandra_hosts,
        port=settings.cassandra_port,
        keyspace=settings.cassandra_keyspace,
        datacenter=settings.cassandra_datacenter,
        replication=settings.cassandra_replication,
        username=settings.cassandra_username,
        password=_secret(settings.cassandra_password),
        tls_ca=_pem("cassandra_tls_ca", settings.cassandra_tls_ca),
        tls_cert=_pem("cassandra_tls_cert", settings.cassandra_tls_cert),
        tls_key=_pem("cassandra_tls_key", settings.cassandra_tls_key),
    )


def kafka_config(settings: Settings) -> KafkaConfig:
    """Raises `Invalid` with the name of a file that cannot be read."""
    for name in ("kafka_tls_ca", "kafka_tls_cert", "kafka_tls_key"):
        _pem(name, getattr(settings, name))  # the driver reads it itself, and says less about what is wrong
    return KafkaConfig(
        brokers=settings.kafka_brokers,
        topic=settings.kafka_topic,
        partitions=settings.kafka_partitions,
        replication=settings.kafka_replication,
        group_protocol=settings.kafka_group_protocol,
        username=settings.kafka_username,
        password=_secret(settings.kafka_password),
        tls_ca=settings.kafka_tls_ca,
        tls_cert=settings.kafka_tls_cert,
        tls_key=settings.kafka_tls_key,
    )


def redis_config(settings: Settings) -> RedisConfig:
    """Raises `Invalid` with the name of a file that cannot be read."""
    return RedisConfig(
        nodes=settings.redis_nodes,
        username=settings.redis_username,
        password=_secret(settings.redis_password),
        tls_ca=_pem("redis_tls_ca", settings.redis_tls_ca),
    )


def _secret(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _pem(name: str, file: str | None) -> str | None:
    """The text of a PEM file that a setting names. Raises `Invalid`."""
    if file is None:
        return None
    try:
        return Path(file).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise Invalid("invalid_setting", f"{name}: cannot be read: {error}") from error
