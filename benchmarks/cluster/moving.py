"""`python -m benchmarks.cluster.moving`: what importing into the cluster and exporting from it costs, by commands.

One node each of Cassandra and Kafka, warmed up by an import that is not counted, on the cores that the command has too;
no worker runs, so what is measured is the import alone. Ids of 10 characters, files by target. Prints a table for
docs/moving-data.md with processor time per reaction, and the share of the machine that others used meanwhile.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.cluster.engines import Place, engines
from benchmarks.cluster.processes import Meter
from benchmarks.transfer import write

PARTITIONS = 6
CASES = {
    "import, 128 reactions on each target": 128,
    "import, all on one target: one commit after the other": 0,
    "import, 10 on each target": 10,
}
AGAIN = "the same once more"
WARM = 10


class Cost(NamedTuple):
    """One command, start of the process included; microseconds of processor time per reaction."""

    what: str
    rows: int
    seconds: float
    plaudit_us: float
    cassandra_us: float
    kafka_us: float
    elsewhere: float

    def line(self) -> tuple[str, ...]:
        us = (f"{each:.0f} µs" for each in (self.plaudit_us, self.cassandra_us, self.kafka_us))
        return self.what, f"{self.rows / self.seconds:,.0f}", *us, f"{self.elsewhere:.0%}"


def make(path: Path, first: int, rows: int, per_target: int) -> None:
    """A file of so many reactions by target; `first` is the number of its first target."""
    each = per_target or rows
    write(path, [(first + n // each, n, n) for n in range(rows)])


def run(place: Place, env: dict[str, str], what: str, rows: int, *arguments: str) -> Cost:
    """One `plaudit` command. Raises `AssertionError` where it fails."""
    program = str(Path(sys.executable).with_name("plaudit"))
    quiet = [(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
    meter = Meter({"cassandra": [place.cassandra_pid], "kafka": [place.kafka_pid]})
    began_s = time.monotonic()
    child = os.posix_spawn(program, [program, *arguments], env, file_actions=quiet)
    _, status, used = os.wait4(child, 0)
    seconds = time.monotonic() - began_s
    assert status == 0, f"{what} ended with {status}"
    each, elsewhere = meter.each_us(rows), meter.elsewhere()
    own_us = (used.ru_utime + used.ru_stime) * 1e6 / rows
    return Cost(what, rows, seconds, own_us, each["cassandra"], each["kafka"], elsewhere)


def measure(place: Place, folder: Path, rows: int, warm: int) -> list[Cost]:
    """All of it, on engines that run."""
    env = {
        **os.environ,
        "PLAUDIT_DATA": str(folder),
        "PLAUDIT_CASSANDRA_HOSTS": '["127.0.0.1"]',
        "PLAUDIT_CASSANDRA_PORT": str(place.cassandra_port),
        "PLAUDIT_CASSANDRA_REPLICATION": "1",
        "PLAUDIT_KAFKA_BROKERS": f'["{place.kafka}"]',
        "PLAUDIT_KAFKA_PARTITIONS": str(PARTITIONS),
        "PLAUDIT_KAFKA_REPLICATION": "1",
        "PLAUDIT_REDIS_NODES": "[" + ",".join(f'"{node}"' for node in place.redis) + "]",
    }
    file, out = folder / "in.jsonl", folder / "out.jsonl"
    run(place, env, "migrate", 1, "migrate")
    make(file, 0, warm, WARM)
    run(place, env, "warm-up", warm, "import", str(file))
    costs, first = [], warm
    for what, per_target in CASES.items():
        make(file, first, rows, per_target)
        first += rows
        costs.append(run(place, env, what, rows, "import", str(file)))
    costs.append(run(place, env, AGAIN, rows, "import", str(file)))
    costs.append(run(place, env, "export", warm + len(CASES) * rows, "export", str(out)))
    return costs


def main() -> None:
    """Start the engines, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--warm", type=int, default=50_000)
    arguments = parser.parse_args()
    with engines() as place, tempfile.TemporaryDirectory() as folder:
        costs = measure(place, Path(folder), arguments.rows, arguments.warm)
    table = Table("what", "reactions/s", "Plaudit", "Cassandra", "Kafka", "others", box=None)
    for cost in costs:
        table.add_row(*cost.line())
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
