"""`python -m benchmarks.beside`: what the notifier costs taps on the same process, in one run.

The same filled store twice: once nobody owns its targets, so that nobody is told, once every target has an owner, so
that every tap is folded into a window. Taps from wrk over all targets, 64 connections, alternating rounds; then an open
loop at a steady rate on each. Prints both and keeps them in benchmarks/results/beside.json.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import apsw
from rich.console import Console
from rich.table import Table

from benchmarks.fill import PER_TARGET, fill
from benchmarks.load import HERE, Round, load, medians, running
from benchmarks.open_loop import open_loop, tap_requests
from plaudit.http.auth import issue
from plaudit.http.server import free_port
from plaudit.services.behind import EVERY_S

SECRET = "benchmark-" * 4
ROWS = 100_000


def own(data: Path) -> None:
    """Give every target an owner, as its registration would."""
    connection = apsw.Connection(str(data / "plaudit.db"))
    connection.execute("UPDATE target SET registered = 1, owner = 'owner-' || no")
    connection.close()


def caught_up(ports: list[int]) -> None:
    """Wait until the notifiers of these servers have read everything, so that none works beside another's round."""
    deadline = time.monotonic() + 120
    time.sleep(2 * EVERY_S)  # then what is told is of after the round
    while True:
        time.sleep(1)
        pages = [urlopen(f"http://127.0.0.1:{port}/metrics").read() for port in ports]
        if all(b"plaudit_notifier_behind 0.0" in page for page in pages):
            return
        assert time.monotonic() < deadline


def measure(folder: Path, rounds: int, seconds: int, offered: float) -> dict[str, dict[str, Any]]:
    """Both stores in turn."""
    plain, owned = folder / "unowned", folder / "owned"
    fill(plain, ROWS)
    shutil.copytree(plain, owned)
    own(owned)
    token = issue(SECRET, user=None, service=True, grants=[], ttl_s=36_000, now_s=int(time.time()))
    found: dict[str, list[Round]] = {"unowned": [], "owned": []}
    results: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        servers = {}
        for data in (plain, owned):
            port = free_port("127.0.0.1")
            env = {
                "PLAUDIT_DATA": str(data),
                "PLAUDIT_AUTH_SECRET": SECRET,
                "PLAUDIT_RATE_LIMIT_PER_S": "0",
                "PLAUDIT_LOG_LEVEL": "warning",
            }
            command = [str(Path(sys.executable).with_name("plaudit")), "serve", "--port", str(port)]
            servers[data.name] = stack.enter_context(running(command, port, **env))
        for number in range(rounds + 1):
            for name, server in servers.items():
                caught_up([each.port for each in servers.values()])
                result = load(
                    server,
                    "taps.lua",
                    connections=64,
                    seconds=seconds if number else 1,
                    TOKEN=token,
                    SEED=number,
                    SPREAD="uniform",
                    CALL="",
                    ROWS=ROWS,
                    TARGETS=ROWS // PER_TARGET,
                    BENCHMARKS=HERE,
                )
                if number:
                    found[name].append(result)
        for name, server in servers.items():
            caught_up([each.port for each in servers.values()])
            requests = tap_requests(int(offered * seconds * 2), ROWS // PER_TARGET, token)
            opened = open_loop(server.port, offered, seconds * 2, 64, requests)
            results[name] = {**medians(found[name])._asdict(), "open_loop": opened._asdict()}
    return results


def main() -> None:
    """Measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--offered", type=float, default=800.0, help="taps a second of the open loop")
    options = parser.parse_args()
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}; wrk on the same cores"
    )
    with tempfile.TemporaryDirectory(dir=HERE, prefix=".run-") as folder:
        results = measure(Path(folder), options.rounds, options.seconds, options.offered)
    heads = ("targets", "taps/s", "p50 ms", "p99 ms", "CPU µs each", "open loop p50 ms", "p99 ms", "errors")
    table = Table(*heads, title=machine)
    for name, result in results.items():
        opened = result["open_loop"]
        figures = (result["p50_ms"], result["p99_ms"], result["cpu_us"], opened["p50_ms"], opened["p99_ms"])
        errors = f"{result['errors'] + opened['errors']:.0f}"
        table.add_row(name, f"{result['rate']:,.0f}", *(f"{figure:,.1f}" for figure in figures), errors)
    Console(width=120).print(table)
    kept = {"machine": machine, "at": f"{datetime.now(UTC):%Y-%m-%d}", "results": results}
    (HERE / "results" / "beside.json").write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
