"""An API process with every worker in it, as in `serve --all`, does no work twice and opens nothing twice."""

import asyncio
import threading
from pathlib import Path

import pytest

from plaudit.bootstrap import migrate
from plaudit.bootstrap.cluster import cluster
from plaudit.bootstrap.roles import ROLES, Role
from plaudit.services.recover import Recover
from plaudit.settings import Settings
from tests.engines.cassandra import Cassandra
from tests.engines.kafka import Kafka
from tests.engines.redis import Redis
from tests.support.cluster import settings_of

pytestmark = pytest.mark.timeout(300)


def at_recovery() -> int:
    """How many in this process look for what dead ones left."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return names.count(Recover._run.__qualname__)


def producers() -> int:
    """How many producers of Kafka this process has."""
    return [thread.name for thread in threading.enumerate()].count("kafka-events")


@pytest.mark.parametrize(("roles", "topics"), [((), 1), (("repair",), 1), (ROLES, 2)])
async def test_one_looks_for_what_dead_processes_left_and_one_produces_for_each_topic(
    cassandra: Cassandra,
    kafka: Kafka,
    redis: Redis,
    tmp_path: Path,
    anyio_backend: str,
    roles: tuple[Role, ...],
    topics: int,
) -> None:
    settings = Settings(data=tmp_path, **settings_of(cassandra, kafka, redis))
    await migrate(settings)
    async with cluster(settings, roles):
        assert (at_recovery(), producers()) == (1, topics)
    assert (at_recovery(), producers()) == (0, 0)
