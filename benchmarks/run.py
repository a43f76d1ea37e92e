"""`make bench`: taps against the floor of the same server, in alternating rounds of one run.

Prints a table and writes it with hardware and versions to benchmarks/results/. Figures compare within one run; on
another machine only the ratios mean something. Everything listens on loopback and is bounded in time.
"""

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from plaudit.http.auth import issue
from plaudit.http.server import free_port

HERE = Path(__file__).parent
SECRET = "benchmark-" * 4
USERS = 1_000
RESULT = re.compile(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)")


class Round(NamedTuple):
    """One round of one case. Rates per second, latencies in milliseconds, CPU in microseconds per request."""

    rate: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_us: float


class Server(NamedTuple):
    """A server process under load."""

    pid: int
    port: int

    def cpu_s(self) -> float:
        """CPU seconds it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: list[str], port: int, **env: str) -> Iterator[Server]:
    """The server that `command` starts, until the block ends."""
    process = subprocess.Popen(command, env={**os.environ, **env}, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield Server(process.pid, port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def load(server: Server, tokens: Path, *, targets: int, connections: int, seconds: int, seed: int) -> Round:
    """Load the server with wrk for some seconds."""
    before = server.cpu_s()
    run = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "-s",
            str(HERE / "taps.lua"),
            f"http://127.0.0.1:{server.port}",
        ],
        env={**os.environ, "TOKENS": str(tokens), "TARGETS": str(targets), "SEED": str(seed)},
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 30,
    )
    found = RESULT.search(run.stdout)
    if found is None:
        raise RuntimeError(f"wrk printed no result:\n{run.stdout}{run.stderr}")
    requests, duration_us, broken, refused, p50_us, p99_us = map(int, found.groups())
    cpu_us = (server.cpu_s() - before) * 1e6 / max(1, requests)
    return Round(requests / duration_us * 1e6, p50_us / 1e3, p99_us / 1e3, broken + refused, cpu_us)


def measure(rounds: int, seconds: int, connections: int, folder: Path) -> dict[str, list[Round]]:
    """All cases in turn, `rounds` times."""
    tokens = folder / "tokens"
    now = int(time.time())
    tokens.write_text(
        "".join(
            issue(SECRET, user=f"user{n}", service=False, grants=[], ttl_s=7200, now_s=now) + "\n"
            for n in range(USERS)
        )
    )
    floor_port, port = free_port("127.0.0.1"), free_port("127.0.0.1")
    found: dict[str, list[Round]] = {
        "floor POST": [],
        "taps, uniform over 1 M targets": [],
        "taps, one target": [],
    }
    plaudit = [str(Path(sys.executable).with_name("plaudit")), "serve", "--port", str(port)]
    settings = {
        "PLAUDIT_DATA": str(folder / "data"),
        "PLAUDIT_AUTH_SECRET": SECRET,
        "PLAUDIT_RATE_LIMIT_PER_S": "0",
        "PLAUDIT_LOG_LEVEL": "warning",
    }
    with (
        running([sys.executable, "-m", "benchmarks.floor", str(floor_port)], floor_port) as floor,
        running(plaudit, port, **settings) as server,
    ):
        cases = zip(found.values(), [(floor, 1_000_000), (server, 1_000_000), (server, 1)], strict=True)
        for results, (where, targets) in [*cases] * 1:
            load(where, tokens, targets=targets, connections=connections, seconds=2, seed=0)  # warm up
            del results
        for number in range(1, rounds + 1):
            cases = zip(found.values(), [(floor, 1_000_000), (server, 1_000_000), (server, 1)], strict=True)
            for results, (where, targets) in cases:
                results.append(
                    load(
                        where, tokens, targets=targets, connections=connections, seconds=seconds, seed=number
                    )
                )
    return found


def main() -> None:
    """Measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="length of one round")
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    # On the disk of the checkout: a temporary folder in memory would make fsync free.
    with tempfile.TemporaryDirectory(dir=HERE, prefix=".run-") as folder:
        found = measure(options.rounds, options.seconds, options.connections, Path(folder))
    cases = {
        name: Round(*(statistics.median(values) for values in zip(*rounds, strict=True)))
        for name, rounds in found.items()
    }
    floor = cases["floor POST"].rate
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, granian {version('granian')}, apsw {version('apsw')}; "
        f"wrk on the same cores; {options.connections} connections, median of {options.rounds} rounds of "
        f"{options.seconds} s, every tap fsync'd"
    )
    table = Table(
        "case", "per second", "of the floor", "p50 ms", "p99 ms", "CPU µs each", "errors", caption=machine
    )
    for name, case in cases.items():
        table.add_row(
            name,
            f"{case.rate:,.0f}",
            f"{case.rate / floor:.2f}",
            f"{case.p50_ms:.1f}",
            f"{case.p99_ms:.1f}",
            f"{case.cpu_us:.0f}",
            f"{case.errors:.0f}",
        )
    Console(width=120).print(table)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    kept = {
        "machine": machine,
        "at": f"{datetime.now(UTC):%Y-%m-%d}",
        "cases": {n: c._asdict() for n, c in cases.items()},
    }
    (results / "taps.json").write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
