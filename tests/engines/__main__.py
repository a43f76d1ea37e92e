"""Start real servers for experiments, say where they listen, and stop them again: `make engines`."""

import argparse
import json
import signal
import sys

from tests.engines.jars import Missing
from tests.engines.running import Engines

KINDS = ("cassandra", "kafka", "redis")


def main() -> None:
    """Run until interrupted."""
    parser = argparse.ArgumentParser(prog="make engines", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"which ones: {', '.join(KINDS)} (all)")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1, help="of Cassandra and Kafka each")
    arguments = parser.parse_args()
    kinds = arguments.kinds or list(KINDS)
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"no such engine: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with Engines() as engines:
            for kind in kinds:
                print(where(engines, kind, arguments.nodes), flush=True)
            if set(kinds) == set(KINDS):
                print(exports(engines, arguments.nodes), flush=True)
            print("Ctrl-C stops them; their data goes with them", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        pass
    except Missing as error:
        what, how = error.args
        sys.exit(f"{what} is not installed; {how}")


def where(engines: Engines, kind: str, nodes: int) -> str:
    """Start one kind, and say where it listens."""
    if kind == "cassandra":
        cassandra = engines.cassandra(nodes)
        return f"cassandra {','.join(cassandra.hosts)} port {cassandra.port}"
    if kind == "kafka":
        return f"kafka     {engines.kafka(nodes).bootstrap}"
    return f"redis     {','.join(f'127.0.0.1:{port}' for port in engines.redis().ports)}"


def exports(engines: Engines, nodes: int) -> str:
    """The settings with which Plaudit finds them, to be pasted into a shell."""
    cassandra, kafka = engines.cassandra(nodes), engines.kafka(nodes)
    settings = {
        "CASSANDRA_HOSTS": json.dumps(cassandra.hosts),
        "CASSANDRA_PORT": str(cassandra.port),
        "CASSANDRA_REPLICATION": str(nodes),
        "KAFKA_BROKERS": json.dumps(kafka.bootstrap.split(",")),
        "KAFKA_PARTITIONS": "6",
        "KAFKA_REPLICATION": str(nodes),
        "REDIS_NODES": json.dumps([f"127.0.0.1:{port}" for port in engines.redis().ports]),
    }
    return "\n".join(["", *(f"export PLAUDIT_{name}='{value}'" for name, value in settings.items()), ""])


main()
