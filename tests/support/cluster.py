"""The cluster profile in real processes: API processes and workers over the tests' own engines."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from tests.engines.cassandra import Cassandra
from tests.engines.kafka import Kafka
from tests.engines.redis import Redis
from tests.support.server import PLAUDIT, ServerProcess

ROLES = ("counters", "index", "notify", "flush", "repair")
SECRET = "a secret that is only good enough for tests"
PARTITIONS = 6
START_WITHIN_S = 120.0  # all at once, while the engines of a small machine are warming up

_names = count(1)


def settings_of(cassandra: Cassandra, kafka: Kafka, redis: Redis) -> dict[str, Any]:
    """Settings of a cluster of its own on shared engines: a keyspace and a topic that nobody else uses.

    Redis is shared as it is: its keys are targets and users, so tests use ids of their own.
    """
    name = f"c{next(_names)}"
    return {
        "auth_secret": SECRET,
        "rate_limit_per_s": 0,
        "cassandra_hosts": cassandra.hosts,
        "cassandra_port": cassandra.port,
        "cassandra_keyspace": name,
        "cassandra_replication": len(cassandra.hosts),
        "kafka_brokers": kafka.bootstrap.split(","),
        "kafka_topic": f"plaudit.{name}",
        "kafka_partitions": PARTITIONS,
        "kafka_replication": len(kafka.nodes),
        "redis_nodes": [f"127.0.0.1:{port}" for port in redis.ports],
    }


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """The same for a process of its own."""
    return {
        f"PLAUDIT_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.items()
    }


def migrate(folder: Path, env: Mapping[str, str]) -> None:
    """Run `plaudit migrate`. Raises `AssertionError` with what it said."""
    done = subprocess.run(
        [PLAUDIT, "migrate"], cwd=folder, env=dict(env), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def processes(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    apis: int = 1,
    workers: Sequence[str] = ROLES,
    everything: bool = False,
) -> Iterator[tuple[list[ServerProcess], dict[str, ServerProcess]]]:
    """A running cluster: API processes, and one worker of each role. `everything`: the API processes are all roles."""
    env = environment(settings)
    migrate(folder, env)
    started = [ServerProcess(folder / f"api{n}", env=env, everything=everything) for n in range(apis)]
    working = {role: ServerProcess(folder / role, env=env, worker=role) for role in workers}
    everyone = [*started, *working.values()]
    with ExitStack() as stack:
        for process in everyone:
            stack.push(process)
        with ThreadPoolExecutor(len(everyone)) as threads:
            list(threads.map(partial(ServerProcess.start, within_s=START_WITHIN_S), everyone))
        yield started, working
