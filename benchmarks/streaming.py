"""`python -m benchmarks.streaming`: what thousands of listeners of one viral target cost, and how late they are told.

One server and one target that is tapped all the time, with more and more listeners. Beside it the same open loop of
counts and of taps on other targets is offered each time: what those pay is compared with the first line, which has no
listener. Results go to benchmarks/results/streaming.json, and into docs/streaming.md between its marks.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.load import HERE, Server, running
from benchmarks.open_loop import OpenLoop, open_loop, tap_requests
from plaudit.http.auth import issue
from plaudit.http.server import free_port

SECRET = "benchmark-" * 4
LISTENERS = (0, 100, 1_000, 5_000, 10_000)
OTHER_COUNTS_PER_S = 300
OTHER_TAPS_PER_S = 100
ROUNDS = 3
DOCS = HERE.parent / "docs" / "streaming.md"
MARKS = re.compile(r"(<!-- figures -->\n).*?(<!-- end -->)", re.DOTALL)
COLUMNS = (
    *("listeners", "events/s", "seen after: p50 ms", "p99 ms", "worst ms", "KB each"),
    *("server CPU", "counts p99 ms", "taps p99 ms"),
)


class Line(NamedTuple):
    """One number of listeners. CPU in seconds per second, memory in KB for each listener."""

    listeners: int
    events_per_s: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    kb_each: float
    cpu: float
    counts: OpenLoop
    taps: OpenLoop
    closed: int

    def cells(self) -> tuple[str, ...]:
        """As the table shows it, in `COLUMNS`."""
        seen = (f"{self.p50_ms:.0f}", f"{self.p99_ms:.0f}", f"{self.worst_ms:.0f}", f"{self.kb_each:.0f}")
        return (
            f"{self.listeners:,}",
            f"{self.events_per_s:,.0f}",
            *(seen if self.listeners else ("", "", "", "")),
            f"{self.cpu:.2f}",
            f"{self.counts.p99_ms:.1f}",
            f"{self.taps.p99_ms:.1f}",
        )


def measure(server: Server, listeners: int, options: argparse.Namespace, token: str, seed: int) -> Line:
    """Have so many listen while the target is tapped and others call."""
    before_mb = server.resident_mb()
    command = [sys.executable, "-m", "benchmarks.stream_client", "--port", str(server.port), "--token", token]
    command += ["--listeners", str(listeners), "--taps-per-s", str(options.taps_per_s)]
    command += ["--seconds", str(options.seconds + 4), "--seed", str(seed)]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdin is not None
    assert client.stdout is not None
    try:
        assert client.stdout.readline() == "listening\n"
        client.stdin.write("\n")
        client.stdin.flush()
        time.sleep(2)
        cpu_s = server.cpu_s()
        counts, taps = others(server, options.seconds, token)
        cpu = (server.cpu_s() - cpu_s) / options.seconds
        after_mb = server.resident_mb()
        seen = json.loads(client.stdout.readline())
        client.wait(60)
    finally:
        client.kill()
    kb_each = (after_mb - before_mb) * 1000 / max(1, listeners)
    rate = seen["events"] / (options.seconds + 4) if listeners else 0.0
    figures = (seen["p50_ms"], seen["p99_ms"], seen["worst_ms"])
    return Line(listeners, rate, *figures, kb_each, cpu, counts, taps, seen["closed"])


def others(server: Server, seconds: float, token: str) -> tuple[OpenLoop, OpenLoop]:
    """What others who call for counts, and who tap, see: of three rounds in turn the one with the median p99."""
    asked, tapped = [_counts(n) for n in range(1000)], tap_requests(2000, 1000, token)
    counts, taps = [], []
    for _ in range(ROUNDS):
        counts.append(open_loop(server.port, OTHER_COUNTS_PER_S, seconds / 2 / ROUNDS, 32, asked))
        taps.append(open_loop(server.port, OTHER_TAPS_PER_S, seconds / 2 / ROUNDS, 32, tapped))
    return _median(counts), _median(taps)


def _median(rounds: list[OpenLoop]) -> OpenLoop:
    return sorted(rounds, key=lambda each: each.p99_ms)[len(rounds) // 2]


def _counts(number: int) -> bytes:
    ids = ",".join(f"p{(number * 20 + n) % 1000:09d}" for n in range(20))
    return f"GET /api/v1/reactions/counts?target_ids={ids} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def main() -> None:
    """Measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12, help="length of one line")
    parser.add_argument("--taps-per-s", type=int, default=400, help="on the viral target")
    parser.add_argument("--listeners", type=int, nargs="*", default=LISTENERS)
    parser.add_argument("--keep", action="store_true", help="write results and docs")
    options = parser.parse_args()
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, granian {version('granian')}; listeners and other callers on the same "
        f"cores; {options.taps_per_s} taps/s on the target all listen to, beside it "
        f"{OTHER_COUNTS_PER_S} calls/s for the counts of 20 and {OTHER_TAPS_PER_S} taps/s on other targets in turn, "
        f"the median of {ROUNDS} rounds; {options.seconds:g} s each"
    )
    console = Console(width=140)
    console.print(machine)
    table = Table(*COLUMNS)
    port, lines = free_port("127.0.0.1"), []
    env = {"PLAUDIT_AUTH_SECRET": SECRET, "PLAUDIT_RATE_LIMIT_PER_S": "0", "PLAUDIT_LOG_LEVEL": "warning"}
    token = issue(SECRET, user=None, service=True, grants=[], ttl_s=36_000, now_s=int(time.time()))
    plaudit = [str(Path(sys.executable).with_name("plaudit")), "serve", "--port", str(port)]
    for number, listeners in enumerate(options.listeners):
        # A fresh server each: memory that the last line gave back would hide what this one takes.
        with (
            tempfile.TemporaryDirectory(dir=HERE, prefix=".run-") as data,
            running(plaudit, port, PLAUDIT_DATA=data, **env) as server,
        ):
            lines.append(measure(server, listeners, options, token, number * 1_000_000))
        table.add_row(*lines[-1].cells())
    console.print(table)
    console.print([line.closed for line in lines])
    if options.keep:
        keep(machine, lines)


def keep(machine: str, lines: list[Line]) -> None:
    """Write the results, and the table into the page."""
    plain: list[dict[str, Any]] = [
        {**line._asdict(), "counts": line.counts._asdict(), "taps": line.taps._asdict()} for line in lines
    ]
    found = {"machine": machine, "at": f"{datetime.now(UTC):%Y-%m-%d}", "lines": plain}
    (HERE / "results" / "streaming.json").write_text(json.dumps(found, indent=2) + "\n")
    rows = ["| " + " | ".join(row) + " |" for row in (COLUMNS, ("---",) * len(COLUMNS))]
    rows += ["| " + " | ".join(line.cells()) + " |" for line in lines]
    text = "\n".join([f"{machine}.\n", *rows])
    DOCS.write_text(MARKS.sub(lambda found: f"{found[1]}{text}\n{found[2]}", DOCS.read_text()))


if __name__ == "__main__":
    main()
