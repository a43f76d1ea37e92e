"""Apache Cassandra: one node, or a ring of three."""

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import acsylla

from tests.engines import agent, jars
from tests.engines.node import Node, accepts, free_ports, wait_for

DATACENTER = "datacenter1"
_TOKENS = {
    1: ["-9223372036854775808"],
    3: ["-9223372036854775808", "-3074457345618258603", "3074457345618258602"],
}
_LOG = """<configuration><appender name="O" class="ch.qos.logback.core.ConsoleAppender"><encoder>
<pattern>%-5level [%thread] %date{ISO8601} %F:%L - %msg%n</pattern></encoder></appender>
<root level="WARN"><appender-ref ref="O"/></root><logger name="org.apache.cassandra" level="INFO"/></configuration>
"""
_EXPORTS = [
    "java.base/jdk.internal.misc",
    "java.base/java.lang.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.management/com.sun.jmx.remote.security",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
    "jdk.attach/sun.tools.attach",
    "jdk.compiler/com.sun.tools.javac.file",
]
_OPENS = [
    *(f"java.base/java.{part}" for part in ["lang", "lang.module", "lang.reflect", "io", "nio", "util"]),
    "java.base/sun.nio.ch",
    *(
        f"java.base/jdk.internal.{part}"
        for part in ["loader", "ref", "reflect", "math", "module", "util.jar"]
    ),
    "jdk.management/com.sun.management.internal",
    "jdk.compiler/com.sun.tools.javac",
]
# -Dio.netty…: what Cassandra's own start script sets for Java 17. The tests' variant compiles with C1 only: on two
# cores the full compiler would take them away for the first two minutes.
_JVM = [
    "-Xss256k",
    "-XX:+UseG1GC",
    "-XX:+ParallelRefProcEnabled",
    "-XX:MaxGCPauseMillis=300",
    "-XX:+PerfDisableSharedMem",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.net.preferIPv4Stack=true",
    "-Dchronicle.analytics.disable=true",
    "-Djdk.attach.allowAttachSelf=true",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dio.netty.allocator.useCacheForAllThreads=true",
    "-Dio.netty.allocator.maxOrder=11",
    *(f"--add-exports={module}=ALL-UNNAMED" for module in _EXPORTS),
    *(f"--add-opens={module}=ALL-UNNAMED" for module in _OPENS),
]


class Cassandra:
    """A ring. Node n listens on 127.0.0.n, all on the same port."""

    def __init__(
        self,
        folder: Path,
        nodes: int,
        *,
        full_jit: bool = False,
        heap: str = "512m",
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self._more = settings or {}
        self.hosts = [f"127.0.0.{n + 1}" for n in range(nodes)]
        self.port, self._storage_port = free_ports(2, self.hosts)
        jmx = free_ports(nodes)
        self._drops: dict[int, frozenset[str]] = {}
        self.nodes = [
            self._node(folder / f"cassandra-{n + 1}", n, jmx[n], full_jit, heap) for n in range(nodes)
        ]

    def begin(self) -> None:
        """Start the first node, and the others if it answers: they ask it. Does not wait."""
        self.nodes[0].start()
        if accepts(self.hosts[0], self.port):
            for node in self.nodes[1:]:
                node.start()

    def start(self) -> None:
        """Start what is not running, and wait until every node takes part."""
        self.nodes[0].start()
        wait_for(lambda: accepts(self.hosts[0], self.port), "CQL of the first node", 240, self.nodes[:1])
        self.begin()
        self.wait()

    def wait(self, within_s: float = 240) -> None:
        """Until every node answers as coordinator, for all replicas. CQL is there before the ring has settled."""
        wait_for(
            lambda: all(accepts(host, self.port) for host in self.hosts),
            "CQL of every node",
            within_s,
            self.nodes,
        )
        if len(self.nodes) > 1:
            with ThreadPoolExecutor(1) as thread:  # whoever waits may have an event loop of their own
                thread.submit(asyncio.run, _settled(self.hosts, self.port, within_s)).result()

    def stop(self) -> None:
        """Stop all nodes."""
        for node in self.nodes:
            node.stop()

    @contextmanager
    def dropping(self, sender: int, verbs: Iterable[str], to: Iterable[int]) -> Iterator[None]:
        """Drop messages of these verbs (`org.apache.cassandra.net.Verb`) from one node to others, by their places."""
        before = self._drops.get(sender, frozenset())
        self._drop(sender, before | {f"{verb} {self.hosts[n]}" for verb in verbs for n in to})
        try:
            yield
        finally:
            self._drop(sender, before)

    def _drop(self, sender: int, lines: frozenset[str]) -> None:
        """Tell a node's agent, and wait until it does so."""
        self._drops[sender] = lines
        file = _dropped(self.nodes[sender].folder)
        part, seen = file.with_suffix(".part"), file.with_name(file.name + ".seen")
        part.write_text("".join(f"{line}\n" for line in lines))
        part.rename(file)
        wait_for(
            lambda: (frozenset(seen.read_text().splitlines()) if seen.exists() else frozenset()) == lines,
            "the agent",
            60,
            [self.nodes[sender]],
        )

    def _node(self, folder: Path, n: int, jmx: int, full_jit: bool, heap: str) -> Node:
        lib = jars.cassandra()
        conf = folder / "conf"
        (conf / "triggers").mkdir(parents=True, exist_ok=True)
        (conf / "cassandra.yaml").write_text(json.dumps(self._settings(n), indent=1))
        (conf / "logback.xml").write_text(_LOG)
        command = [jars.java(), *_JVM, *([] if full_jit else ["-XX:TieredStopAtLevel=1"])]
        command += [f"-Xms{heap}", f"-Xmx{heap}", f"-javaagent:{lib}/jamm-0.4.0.jar"]
        if len(self.hosts) > 1:
            command.append(f"-javaagent:{agent.jar()}={_dropped(folder)}")
        defines = {
            "cassandra.config": f"file://{conf}/cassandra.yaml",
            "cassandra.storagedir": folder,
            "cassandra.logdir": folder / "log",
            "logback.configurationFile": f"file://{conf}/logback.xml",
            "cassandra.triggers_dir": conf / "triggers",
            "cassandra-foreground": "yes",
            "cassandra.jmx.local.port": jmx,
            "cassandra.libjemalloc": "-",
            "cassandra.skip_wait_for_gossip_to_settle": 0,
            "cassandra.superuser_setup_delay_ms": 0,
            "cassandra.ring_delay_ms": 5000,
            "cassandra.shutdown_announce_in_ms": 0,
        }
        command += [f"-D{key}={value}" for key, value in defines.items()]
        command += ["-cp", f"{conf}:{lib}/*", "org.apache.cassandra.service.CassandraDaemon"]
        return Node(folder.name, folder, command, {"MALLOC_ARENA_MAX": "4"})

    def _settings(self, n: int) -> dict[str, object]:
        host, nodes = self.hosts[n], len(self.hosts)
        seed = f"{self.hosts[0]}:{self._storage_port}"
        seeds = {
            "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
            "parameters": [{"seeds": seed}],
        }
        settings: dict[str, object] = {
            "cluster_name": "plaudit-tests",
            "num_tokens": 1,
            "initial_token": _TOKENS[nodes][n],
            "auto_bootstrap": False,
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "endpoint_snitch": "SimpleSnitch",
            "seed_provider": [seeds],
            "listen_address": host,
            "rpc_address": host,
            "storage_port": self._storage_port,
            "native_transport_port": self.port,
            # What production runs with: ports/cells.py relies on the first two.
            "paxos_variant": "v2",
            "commitlog_sync": "batch",
            # A commit reads its users by name, and most have no row: to know that, one block of rows is decoded.
            "column_index_size": "1KiB",
            "commitlog_segment_size": "16MiB",
            "commitlog_total_space": "256MiB",
            "commitlog_disk_access_mode": "legacy",
            "storage_compatibility_mode": "NONE",
            "sstable": {"selected_format": "bti"},
            "uuid_sstable_identifiers_enabled": True,
            # Small, for a test machine.
            "memtable_allocation_type": "offheap_objects",
            "memtable_heap_space": "128MiB",
            "memtable_offheap_space": "128MiB",
            "memtable_flush_writers": 1,
            "concurrent_reads": 16,
            "concurrent_writes": 16,
            "concurrent_compactors": 1,
            "key_cache_size": "0MiB",
            "counter_cache_size": "0MiB",
            "file_cache_size": "64MiB",
            "cas_contention_timeout": "1000ms" if nodes > 1 else "10000ms",
            # A machine that stands still takes longer than this, and a node that is alone has nobody who may be slow.
            "write_request_timeout": "2000ms" if nodes > 1 else "10000ms",
            "read_request_timeout": "2000ms" if nodes > 1 else "10000ms",
            "dynamic_snitch": False,
            "auto_snapshot": False,
            "disk_failure_policy": "die",
            "commit_failure_policy": "die",
        }
        if nodes > 1:
            settings |= {"phi_convict_threshold": 5, "block_for_peers_timeout_in_secs": -1}
        return {**settings, **self._more}


def _dropped(folder: Path) -> Path:
    return folder / "dropped"


async def _settled(hosts: list[str], port: int, within_s: float) -> None:
    """Write and read at ALL through each node in turn."""
    async with asyncio.timeout(within_s):
        for host in hosts:
            while not await _takes_part(host, port, len(hosts)):
                await asyncio.sleep(0.2)


async def _takes_part(host: str, port: int, nodes: int) -> bool:
    keyspace = "engines_probe"
    try:
        cluster = acsylla.create_cluster(
            [host],
            port=port,
            consistency="ALL",
            whitelist_hosts=host,
            request_timeout=15,
            log_level="disabled",
        )
        session = await cluster.create_session()
        try:
            peers = await session.query(
                "SELECT peer FROM system.peers_v2", consistency=acsylla.Consistency.ONE
            )
            if peers.count() != nodes - 1:
                return False
            for statement in (
                f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = "
                f"{{'class': 'NetworkTopologyStrategy', '{DATACENTER}': {nodes}}}",
                f"CREATE TABLE IF NOT EXISTS {keyspace}.t (k int PRIMARY KEY)",
                f"INSERT INTO {keyspace}.t (k) VALUES (1)",
                f"SELECT k FROM {keyspace}.t WHERE k = 1",
            ):
                await session.query(statement)
        finally:
            await session.close()
    except acsylla.errors.CassException:
        return False
    return True
