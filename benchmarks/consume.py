"""`python -m benchmarks.consume`: what it costs to bring the log to a handler, on one real broker.

The loop with a handler that does nothing, and the counter updater on a Redis Cluster; events of many targets and of a
single one. CPU is this process's: the loop, the driver and its threads. Prints a table and keeps it with hardware and
versions in benchmarks/results/consume.json.
"""

import argparse
import asyncio
import cProfile
import json
import os
import platform
import pstats
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from plaudit.adapters.redis import RedisTotals, Session
from plaudit.domain.cell import Header, Transition
from plaudit.domain.events import Committed, committed
from plaudit.ports.consumer import Handler
from plaudit.services.update_counters import UpdateCounters
from tests.engines.running import Engines
from tests.support.log import Log, working
from tests.support.redis import config
from tests.support.wait import until

RESULTS = Path(__file__).parent / "results" / "consume.json"
PARTITIONS = 8
TARGETS = 10_000
START_US = 1_760_000_000_000_000


class Nothing:
    """A handler that does nothing."""

    async def handle(self, events: Sequence[Committed]) -> None: ...


class Counts:
    """Another handler, and how many events it was given."""

    def __init__(self, inner: Handler) -> None:
        self._inner = inner
        self.events = 0
        self.calls = 0

    async def handle(self, events: Sequence[Committed]) -> None:
        await self._inner.handle(events)
        self.events += len(events)
        self.calls += 1


class Taken(NamedTuple):
    """Events a second, CPU in microseconds of each, and how many came at once."""

    name: str
    events_s: float
    cpu_us: float
    at_once: float


def body(number: int, targets: int) -> bytes:
    """The event of a commit with one tap."""
    moved = Transition(f"user-{number}", 0, 1, START_US + number, START_US + number)
    header = Header(number + 1, "post", (number,), number, START_US, START_US, (("ada", 1),))
    return committed(f"post-{number % targets}", header, "tap", [moved])


async def measure(name: str, log: Log, handler: Handler, events: int, behind_s: float) -> Taken:
    """From the first event to the last; joining the group is not part of it."""
    counts = Counts(handler)
    async with working(log, counts, role=name.replace(" ", "-"), behind_s=behind_s):
        await until(lambda: counts.events > 0, "the first event")
        first, began_s, cpu_s = counts.events, time.perf_counter(), time.process_time()
        await until(lambda: counts.events >= events, "the last event", within_s=300)
        took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    done = events - first
    return Taken(name, done / took_s, cpu_s / done * 1e6, events / counts.calls)


async def run(engines: Engines, events: int) -> list[Taken]:
    """All of it."""
    found = []
    logs = {"many targets": Log(engines.kafka(), PARTITIONS), "one target": Log(engines.kafka(), PARTITIONS)}
    share = events // PARTITIONS
    for name, targets in (("many targets", TARGETS), ("one target", 1)):
        bodies = (body(number, targets) for number in range(events))
        for partition in range(PARTITIONS):
            logs[name].fill(partition if targets > 1 else 0, list(islice(bodies, share)))
    whole = share * PARTITIONS
    async with Session(config(engines.redis())) as session:
        updater = UpdateCounters(RedisTotals(session))
        for name, log in logs.items():
            found.append(await measure(f"nothing, {name}", log, Nothing(), whole, 0))
            found.append(await measure(f"counters, {name}", log, updater, whole, 60))
    return found


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.consume", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--profile", action="store_true", help="say where the time of the event loop goes")
    arguments = parser.parse_args()
    profile = cProfile.Profile()
    with Engines() as engines:
        if arguments.profile:
            profile.enable()
        found = asyncio.run(run(engines, arguments.events))
    if arguments.profile:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    table = Table("consumer", "events/s", "CPU µs per event", "events at once")
    for one in found:
        table.add_row(one.name, f"{one.events_s:,.0f}", f"{one.cpu_us:.1f}", f"{one.at_once:.0f}")
    Console().print(table)
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "machine": platform.platform(),
        "python": platform.python_version(),
        "confluent-kafka": version("confluent-kafka"),
        "events": arguments.events,
    }
    RESULTS.write_text(
        json.dumps({"about": about, "taken": [one._asdict() for one in found]}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
