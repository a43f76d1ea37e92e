"""The engines of a run: one node each of Cassandra and Kafka with production JVM flags, and a Redis Cluster of six.

`Place` says where they are, so that parts of the benchmark may run in processes of their own.
"""

import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

from benchmarks.cluster import mix
from plaudit.adapters.cassandra import CassandraConfig
from tests.engines import jars
from tests.engines.cassandra import Cassandra
from tests.engines.kafka import Kafka
from tests.engines.redis import Redis

CASSANDRA_HEAP, KAFKA_HEAP = "3g", "1g"
# What the tests set small is as Cassandra has it, within what this machine holds; durability is the same.
CASSANDRA = {
    "commitlog_segment_size": "32MiB",
    "commitlog_total_space": "2GiB",
    "memtable_heap_space": "512MiB",
    "memtable_offheap_space": "512MiB",
    "file_cache_size": "512MiB",
    "concurrent_reads": 32,
    "concurrent_writes": 32,
}
PLACE = jars.CACHE / "cluster-benchmark.json"


class Place(NamedTuple):
    """Where the engines of a run are: addresses, process ids, folders with their data."""

    cassandra_port: int
    kafka: str
    redis: list[str]
    cassandra_pid: int
    kafka_pid: int
    redis_pids: list[int]
    folder: str
    jmx_port: int
    java: list[str]

    @property
    def config(self) -> CassandraConfig:
        """To connect to Cassandra."""
        return CassandraConfig(["127.0.0.1"], self.cassandra_port, replication=1)

    def redis_bytes(self, node: int) -> int:
        """What a node of Redis holds in memory, in bytes."""
        port = self.redis[node].rpartition(":")[2]
        said = subprocess.run(
            ["redis-cli", "-p", port, "INFO", "memory"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout
        line = next(line for line in said.splitlines() if line.startswith("used_memory_dataset:"))
        return int(line.partition(":")[2])

    def nodetool(self, *arguments: str) -> str:
        """What nodetool says. Raises `RuntimeError`."""
        command = [*self.java, "org.apache.cassandra.tools.NodeTool", "-p", str(self.jmx_port), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"nodetool {arguments}: {done.stdout}{done.stderr}")
        return done.stdout


class Unused:
    """What of the stored reactions no tap has touched yet; kept beside the engines, for whoever measures next."""

    def __init__(self, place: Place) -> None:
        self._file = Path(place.folder, "used.json")

    def phase(self, spread: mix.Spread) -> int:
        """A phase that nobody has sent a tap of. Raises `SystemExit` when there is none: start the engines afresh."""
        phase = self._add(spread, 1)
        if phase >= mix.PHASES[spread]:
            raise SystemExit("every stored reaction was used: start the engines afresh")
        return phase

    def viral(self, target: int, taps: int) -> int:
        """How many stored reactions of a viral target were used before this many taps on it."""
        expected = taps * (1 - mix.NEW)
        return self._add(f"viral {target}", round(expected + 6 * math.sqrt(expected)) if taps else 0)

    def _add(self, what: str, more: int) -> int:
        used = json.loads(self._file.read_text()) if self._file.exists() else {}
        before = int(used.get(what, 0))
        self._file.write_text(json.dumps({**used, what: before + more}))
        return before


@contextmanager
def engines() -> Iterator[Place]:
    """Start all engines, empty; stop and remove them at the end."""
    runs = jars.CACHE / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix="bench-", dir=runs))
    cassandra = Cassandra(folder, 1, full_jit=True, heap=CASSANDRA_HEAP, settings=CASSANDRA)
    kafka = Kafka(folder, 1, full_jit=True, heap=KAFKA_HEAP)
    redis = Redis(folder)
    started = (cassandra, kafka, redis)
    try:
        for engine in started:
            engine.start()
        place = _place(folder, cassandra, kafka, redis)
        PLACE.write_text(json.dumps(place._asdict()))
        yield place
    finally:
        PLACE.unlink(missing_ok=True)
        for engine in started:
            for node in engine.nodes:
                node.kill()
        shutil.rmtree(folder, ignore_errors=True)


def running() -> Place:
    """The engines that another process of this checkout has started. Raises `FileNotFoundError`."""
    return Place(**json.loads(PLACE.read_text()))


def _place(folder: Path, cassandra: Cassandra, kafka: Kafka, redis: Redis) -> Place:
    command = cassandra.nodes[0].command
    jmx = next(part for part in command if part.startswith("-Dcassandra.jmx.local.port="))
    flags = [part for part in command[:-1] if part != jmx and not part.startswith(("-Xms", "-Xmx"))]
    return Place(
        cassandra.port,
        kafka.bootstrap,
        [f"127.0.0.1:{port}" for port in redis.ports],
        cassandra.nodes[0].pid,
        kafka.nodes[0].pid,
        [node.pid for node in redis.nodes],
        str(folder),
        int(jmx.partition("=")[2]),
        [flags[0], "-Xmx128m", *flags[1:]],
    )


def folder_bytes(folder: Path) -> int:
    """How much the files below a folder hold."""
    return sum(os.path.getsize(Path(place, name)) for place, _, names in os.walk(folder) for name in names)
