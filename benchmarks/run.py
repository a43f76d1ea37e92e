"""`make bench`: taps and reads against the floor of the same server, in alternating rounds of one run.

The floor (benchmarks/floor.py) is the same server with the same settings that reads the body and answers constant
bytes. Figures compare within one run; on another machine only the ratios mean something. Everything listens on
loopback and is bounded in time. Results go to benchmarks/results/ and, with `--full`, into docs/performance.md.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from benchmarks.fill import PER_TARGET, fill
from benchmarks.load import HERE, Round, Server, load, medians, running
from benchmarks.open_loop import open_loop, tap_requests
from benchmarks.report import Store, print_store, write_docs
from plaudit.http.auth import issue
from plaudit.http.server import free_port

SECRET = "benchmark-" * 4
FLOOR_POST, FLOOR_GET = "floor POST", "floor JSON"


class Case(NamedTuple):
    """One thing to measure. `floor` names the case it is compared with; that one runs against the floor itself."""

    name: str
    floor: str
    script: str
    spread: str
    call: str = ""
    connections: int = 64


TAPS = [
    Case(FLOOR_POST, "", "taps.lua", "uniform"),
    Case("taps, uniform", FLOOR_POST, "taps.lua", "uniform"),
    Case("taps, zipf", FLOOR_POST, "taps.lua", "zipf"),
    Case("taps, one target", FLOOR_POST, "taps.lua", "one"),
]
READS = [
    Case(FLOOR_GET, "", "reads.lua", "hot", "counts"),
    Case("counts of 20, hot", FLOOR_GET, "reads.lua", "hot", "counts"),
    Case("counts of 20, zipf", FLOOR_GET, "reads.lua", "zipf", "counts"),
    Case("counts of 20, cold", FLOOR_GET, "reads.lua", "uniform", "counts"),
    Case("feed of 20, zipf", FLOOR_GET, "reads.lua", "zipf", "feed"),
    Case("reactors page", FLOOR_GET, "reads.lua", "uniform", "reactors"),
]
CONNECTIONS = [
    Case(f"{name}, {connections} connections", "", "taps.lua", spread, "", connections)
    for connections in (1, 256)
    for name, spread in ((FLOOR_POST, "uniform"), ("taps, uniform", "uniform"), ("taps, one target", "one"))
]
CONNECTIONS = [
    case
    if case.name.startswith("floor")
    else case._replace(floor=f"{FLOOR_POST}, {case.connections} connections")
    for case in CONNECTIONS
]


def measure(
    cases: list[Case], rounds: int, seconds: int, rows: int, floor: Server, server: Server
) -> dict[str, Round]:
    """Every case in turn, `rounds` times, after one warm-up each; the medians."""
    token = issue(SECRET, user=None, service=True, grants=[], ttl_s=36_000, now_s=int(time.time()))
    found: dict[str, list[Round]] = {case.name: [] for case in cases}
    for number in range(rounds + 1):
        for case in cases:
            result = load(
                server if case.floor else floor,
                case.script,
                connections=case.connections,
                seconds=seconds if number else 1,
                TOKEN=token,
                SEED=number + 1000 * len(found[case.name]) + cases.index(case) * 100,
                SPREAD=case.spread,
                CALL=case.call,
                ROWS=rows,
                TARGETS=rows // PER_TARGET,
                BENCHMARKS=HERE,
            )
            if number:
                found[case.name].append(result)
    return {name: medians(results) for name, results in found.items()}


def store(rows: int, cases: list[Case], options: argparse.Namespace, folder: Path) -> Store:
    """Fill a store, measure the cases on it, and offer it 70 % of its peak in an open loop."""
    data = folder / f"data-{rows}"
    started = time.monotonic()
    fill(data, rows)
    filled_s = time.monotonic() - started
    disk_bytes = sum(file.stat().st_size for file in data.glob("plaudit.db*"))
    floor_port, port = free_port("127.0.0.1"), free_port("127.0.0.1")
    settings = {
        "PLAUDIT_DATA": str(data),
        "PLAUDIT_AUTH_SECRET": SECRET,
        "PLAUDIT_RATE_LIMIT_PER_S": "0",
        "PLAUDIT_LOG_LEVEL": "warning",
    }
    plaudit = [str(Path(sys.executable).with_name("plaudit")), "serve", "--port", str(port)]
    with (
        running([sys.executable, "-m", "benchmarks.floor", str(floor_port)], floor_port) as floor,
        running(plaudit, port, **settings) as server,
    ):
        found = measure(cases, options.rounds, options.seconds, rows, floor, server)
        peak = found["taps, uniform"].rate
        token = issue(SECRET, user=None, service=True, grants=[], ttl_s=36_000, now_s=int(time.time()))
        count = int(peak * 0.7 * options.seconds * 2)
        requests = tap_requests(count, rows // PER_TARGET, token)
        opened = open_loop(port, peak * 0.7, options.seconds * 2, 256, requests)
        resident_mb = server.resident_mb()
    shutil.rmtree(data)
    floors = {case.name: case.floor for case in cases}
    return Store(rows, disk_bytes / rows, filled_s, resident_mb, found, floors, opened)


def main() -> None:
    """Measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="length of one round")
    parser.add_argument(
        "--full", action="store_true", help="100 K, 1 M and 10 M reactions; writes docs/performance.md"
    )
    options = parser.parse_args()
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, granian {version('granian')}, apsw {version('apsw')}. "
        f"Load from wrk on the same cores, 64 connections if not said otherwise, medians of {options.rounds} rounds of "
        f"{options.seconds} s, every tap fsync'd, rate limit off."
    )
    sizes = {100_000: TAPS + READS[:2]}
    if options.full:
        sizes = {100_000: TAPS + READS, 1_000_000: TAPS + READS + CONNECTIONS, 10_000_000: TAPS + READS}
    console = Console(width=120)
    console.print(machine)
    stores: list[Store] = []
    # On the disk of the checkout: a temporary folder in memory would make fsync free.
    with tempfile.TemporaryDirectory(dir=HERE, prefix=".run-") as folder:
        for rows, cases in sizes.items():
            stores.append(store(rows, cases, options, Path(folder)))
            print_store(console, stores[-1])
            keep(machine, stores, full=options.full)  # after each size: the last one takes the longest


def keep(machine: str, stores: list[Store], *, full: bool) -> None:
    """Write down what was measured so far."""
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    kept = {"machine": machine, "at": f"{datetime.now(UTC):%Y-%m-%d}", "stores": [s.plain() for s in stores]}
    (results / f"{'full' if full else 'quick'}.json").write_text(json.dumps(kept, indent=2) + "\n")
    if full:
        write_docs(machine, stores)


if __name__ == "__main__":
    main()
