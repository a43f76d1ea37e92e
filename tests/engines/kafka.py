"""Apache Kafka without ZooKeeper: one combined node, or three."""

import shlex
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.engines import jars
from tests.engines.node import Node, free_ports, wait_for

_CLUSTER_ID = "plauditPlauditPlauditA"  # 22 characters of base64url
_JVM = ["-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-Djava.awt.headless=true"]
_JVM += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]


class Kafka:
    """Brokers that are their own controllers. `full_jit`: as in production; else they are there sooner."""

    def __init__(self, folder: Path, nodes: int, *, full_jit: bool = False, heap: str = "384m") -> None:
        ports = free_ports(2 * nodes)
        self._brokers, self._controllers = ports[:nodes], ports[nodes:]
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in self._brokers)
        compiler = [] if full_jit else ["-XX:TieredStopAtLevel=1"]
        self._java = [jars.java(), *_JVM, *compiler, f"-Xms{heap}", f"-Xmx{heap}", "-cp", f"{jars.kafka()}/*"]
        self.nodes = [self._node(folder / f"kafka-{n + 1}", n) for n in range(nodes)]

    def begin(self) -> None:
        """Start what is not running, and do not wait."""
        for node in self.nodes:
            node.start()

    def start(self) -> None:
        """Start what is not running, and wait until all know each other."""
        self.begin()
        self.wait()

    def wait(self, within_s: float = 180) -> None:
        """Until every broker is listed."""
        admin = AdminClient(
            {"bootstrap.servers": self.bootstrap, "reconnect.backoff.max.ms": 200, "log_level": 0}
        )

        def listed() -> bool:
            try:
                return len(admin.list_topics(timeout=5).brokers) == len(self.nodes)
            except KafkaException:
                return False

        wait_for(listed, "every broker listed", within_s, self.nodes)

    def stop(self) -> None:
        """Stop all nodes."""
        for node in self.nodes:
            node.stop()

    def _node(self, folder: Path, n: int) -> Node:
        nodes = len(self._brokers)
        quorum = min(2, nodes)
        voters = ",".join(f"{i + 1}@127.0.0.1:{port}" for i, port in enumerate(self._controllers))
        broker = f"127.0.0.1:{self._brokers[n]}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": n + 1,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://{broker},CONTROLLER://127.0.0.1:{self._controllers[n]}",
            "advertised.listeners": f"PLAINTEXT://{broker}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": folder / "data",
            "num.network.threads": 2,
            "num.io.threads": 4,
            "auto.create.topics.enable": "false",
            "default.replication.factor": nodes,
            "min.insync.replicas": quorum,
            "offsets.topic.replication.factor": nodes,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": nodes,
            "transaction.state.log.min.isr": quorum,
            "transaction.state.log.num.partitions": 2,
            "share.coordinator.state.topic.replication.factor": nodes,
            "share.coordinator.state.topic.min.isr": quorum,
            "group.initial.rebalance.delay.ms": 0,
            "group.consumer.min.session.timeout.ms": 6000,
            "group.consumer.session.timeout.ms": 6000,
            "group.consumer.min.heartbeat.interval.ms": 500,
            "group.consumer.heartbeat.interval.ms": 1000,
            "log.segment.bytes": 64 * 1024 * 1024,
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
            "unclean.leader.election.enable": "false",
        }
        # A dead broker stalls every partition until it is fenced out, and its own restart until it is forgotten.
        settings |= {"broker.session.timeout.ms": 2000, "broker.heartbeat.interval.ms": 500}
        if nodes > 1:
            settings |= {
                "controller.quorum.fetch.timeout.ms": 1000,
                "controller.quorum.election.timeout.ms": 500,
            }
        folder.mkdir(parents=True, exist_ok=True)
        properties = folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        java, data, file = map(shlex.join, (self._java, [f"{folder}/data"], [str(properties)]))
        # A new node gives itself its storage first.
        line = f"""[ -e {data} ] || {java} kafka.tools.StorageTool format -t {_CLUSTER_ID} -c {file} &&
            exec {java} kafka.Kafka {file}"""
        return Node(folder.name, folder, ["sh", "-c", line])
