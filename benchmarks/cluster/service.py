"""The cluster profile as it is deployed: an API process, and each consumer in a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.cluster import mix
from benchmarks.cluster.engines import Place, Unused
from benchmarks.load import Server, running, wrk
from plaudit.http.auth import issue
from plaudit.http.server import free_port

SECRET = "benchmark-" * 4
PLAUDIT = str(Path(sys.executable).with_name("plaudit"))
PARTITIONS = 8
# Whoever follows the log, and whoever pays what is owed to it. The auditor follows nothing, and would spend the whole
# run on telling derived stores of what the fill wrote into the ledger alone.
ROLES = ("counters", "index", "notify", "flush", "repair")


def settings(place: Place, name: str) -> dict[str, Any]:
    """The settings of a process, by name: each keeps its own data folder."""
    return {
        "data": str(Path(place.folder, name)),
        "auth_secret": SECRET,
        "rate_limit_per_s": 0,
        "log_level": "warning",
        "cassandra_hosts": ["127.0.0.1"],
        "cassandra_port": place.cassandra_port,
        "cassandra_replication": 1,
        "kafka_brokers": [place.kafka],
        "kafka_partitions": PARTITIONS,
        "kafka_replication": 1,
        "redis_nodes": place.redis,
    }


def environment(place: Place, name: str) -> dict[str, str]:
    """The same as environment variables."""
    return {
        f"PLAUDIT_{key.upper()}": value if isinstance(value, str) else json.dumps(value)
        for key, value in settings(place, name).items()
    }


def migrate(place: Place) -> None:
    """Create what the service needs and is not there. Raises `CalledProcessError`."""
    subprocess.run(
        [PLAUDIT, "migrate"],
        env={**os.environ, **environment(place, "api")},
        check=True,
        stdout=subprocess.DEVNULL,
    )


@contextmanager
def api(place: Place, *, plain: bool = False, name: str = "api") -> Iterator[Server]:
    """An API process; `plain`: with the plain design in the place of our commit."""
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "benchmarks.cluster.in_place"] if plain else [PLAUDIT, "serve"]
    env = {**environment(place, name), "PLAUDIT_PORT": str(port)}
    with running(command, port, **env) as server:
        yield server


@contextmanager
def workers(place: Place) -> Iterator[dict[str, Server]]:
    """Every consumer and every other worker, by role, each a process of its own."""
    with ExitStack() as stack:
        started = {}
        for role in ROLES:
            port = free_port("127.0.0.1")
            env = {**environment(place, f"worker-{role}"), "PLAUDIT_WORKER_PORT": str(port)}
            started[role] = stack.enter_context(running([PLAUDIT, "worker", role], port, **env))
        yield started


def token() -> str:
    """A token of a host app, good for the whole run."""
    return issue(SECRET, user=None, service=True, grants=[], ttl_s=36_000, now_s=int(time.time()))


class Load:
    """wrk, sending the taps of one phase."""

    def __init__(self, place: Place, spread: mix.Spread, target: int = 0) -> None:
        self._unused = Unused(place)
        self._spread = spread
        self._phase = self._unused.phase(spread)
        self._target = target
        self._sent = 0

    def run(self, server: Server, connections: int, seconds: float, rate: float = 0) -> dict[str, float]:
        """Load for some seconds, with so many taps a second, or as many as are answered. Latencies in milliseconds."""
        env = {
            "TOKEN": token(),
            "SPREAD": self._spread,
            "PHASE": self._phase,
            "TARGET": self._target,
            "START": self._sent,
            "USED": self._unused.viral(self._target, 0),
            "TARGETS": mix.TARGETS,
            "PER_TARGET": mix.PER_TARGET,
            "VIRAL_ROWS": mix.VIRAL_ROWS,
            "RATE": rate,
        }
        url = f"http://127.0.0.1:{server.port}"
        taps, duration_us, broken, refused, p50_us, p99_us = wrk(
            url, "cluster/taps.lua", connections=connections, seconds=seconds, env=env, timeout_s=12
        )
        self._sent += taps + connections
        if self._spread == "one":
            self._unused.viral(self._target, taps + connections)
        return {
            "rate": (taps - refused) / duration_us * 1e6,
            "p50_ms": p50_us / 1e3,
            "p99_ms": p99_us / 1e3,
            "connections": connections,
            "taps": taps - refused,
            "failed": broken + refused,
        }
