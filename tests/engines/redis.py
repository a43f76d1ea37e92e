"""Redis Cluster: three masters with a replica each."""

import shutil
import subprocess
from pathlib import Path

from tests.engines.jars import Missing
from tests.engines.node import Node, accepts, free_ports, wait_for

NODES = 6
_SETTINGS = {
    "bind": "127.0.0.1",
    "cluster-enabled": "yes",
    "cluster-config-file": "nodes.conf",
    "cluster-node-timeout": 1000,
    "cluster-require-full-coverage": "no",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": 0,
    "maxmemory": "256mb",
    "maxmemory-policy": "noeviction",
}


class Redis:
    """The first three nodes begin as masters."""

    def __init__(self, folder: Path) -> None:
        server, client = shutil.which("redis-server"), shutil.which("redis-cli")
        if server is None or client is None:
            raise Missing("Redis", "'make test' as root on Debian installs it (redis-server)")
        self._client = client
        ports = free_ports(2 * NODES)
        self.ports, buses = ports[:NODES], ports[NODES:]
        self.nodes: list[Node] = []
        for n, (port, bus) in enumerate(zip(self.ports, buses, strict=True)):
            place = folder / f"redis-{n + 1}"
            command = [server, "--port", str(port), "--cluster-port", str(bus), "--dir", str(place)]
            for key, value in _SETTINGS.items():
                command += [f"--{key}", str(value)]
            self.nodes.append(Node(place.name, place, command))

    def begin(self) -> None:
        """Start what is not running, and do not wait."""
        for node in self.nodes:
            node.start()

    def start(self) -> None:
        """Start what is not running, and wait until masters and replicas have found each other."""
        fresh = not (self.nodes[0].folder / "nodes.conf").exists()
        self.begin()
        wait_for(
            lambda: all(accepts("127.0.0.1", port) for port in self.ports), "Redis listens", 60, self.nodes
        )
        if fresh:
            addresses = [f"127.0.0.1:{port}" for port in self.ports]
            self._ask(0, "--cluster", "create", *addresses, "--cluster-replicas", "1", "--cluster-yes")
        self.wait()

    def wait(self, within_s: float = 60) -> None:
        """Until every slot is served and every replica is in sync."""
        wait_for(self._whole, "a whole Redis Cluster", within_s, self.nodes)

    def ask(self, node: int, *command: str) -> str:
        """Ask one node, as redis-cli would. Raises `RuntimeError`."""
        return self._ask(node, *command)

    def stop(self) -> None:
        """Stop all nodes."""
        for node in self.nodes:
            node.stop()

    def _whole(self) -> bool:
        for n in range(NODES):
            try:
                if "cluster_state:ok" not in self._ask(n, "CLUSTER", "INFO"):
                    return False
                role = self._ask(n, "INFO", "replication")
            except RuntimeError:
                return False
            if not (
                "master_link_status:up" in role if "role:slave" in role else "connected_slaves:1" in role
            ):
                return False
        return True

    def _ask(self, node: int, *command: str) -> str:
        call = [self._client, "-p", str(self.ports[node]), *command]
        done = subprocess.run(call, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"redis-cli {command}: {done.stdout}{done.stderr}")
        return done.stdout
