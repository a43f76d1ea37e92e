"""`make soak`: 70 % of the peak on zipf targets for twenty minutes, and a kill -9 every two.

The peak is measured first, by the same clients as fast as they can; then taps come at a rate, and their latency counts
from when they were due. In the end every user's state must be the file's, and memory, bytes for each
stored reaction and p99 must be what they were early on. Results go to benchmarks/results/soak.json, and those of a run
of ten minutes or more to docs/long-run.md. The exit code says whether all of it held.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import uvloop

from benchmarks.soak_client import Connection, Histogram, Load
from tests.support.audit import audit_file
from tests.support.server import ServerProcess

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs" / "long-run.md"
SHARE_OF_PEAK = 0.7
WINDOW_S = 10.0
WINDOWS_AT_LEAST = 12
DOCUMENTED_MINUTES = 10
# How much more the last quarter may have than the second.
FLAT = {"p99_ms": 1.5, "resident_mb": 1.2, "bytes_per_row": 1.3}


class Plan(NamedTuple):
    """What to do. A kill comes every `kill_every_s`, but never so late that nothing comes after it."""

    seconds: float
    kill_every_s: float
    connections: int = 128
    peak_s: float = 10.0

    @property
    def kills(self) -> int:
        """How many there are."""
        return int((self.seconds - 1) / self.kill_every_s)


class Window(NamedTuple):
    """What was seen in some seconds. `calm` are the latencies away from kills."""

    at_s: float
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # of the server, for each tap
    resident_mb: float
    rows: int
    bytes_per_row: float
    wal_mb: float
    errors: int
    calm: Histogram

    def line(self) -> str:
        """As it is printed."""
        return (
            f"{self.at_s:6.0f} s {self.rate:8,.0f}/s  p50 {self.p50_ms:6.1f} ms  p99 {self.p99_ms:7.1f} ms  "
            f"CPU {self.cpu_us:4.0f} us/tap  RSS {self.resident_mb:5.0f} MB  {self.rows:10,} rows  "
            f"{self.bytes_per_row:5.0f} bytes/row  WAL {self.wal_mb:5.1f} MB  {self.errors} errors"
        )


class Verdict(NamedTuple):
    """One thing that must hold."""

    what: str
    held: bool
    figures: str

    def line(self) -> str:
        """As it is printed."""
        return f"{'PASS' if self.held else 'FAIL'}  {self.what}: {self.figures}"


class Soak(NamedTuple):
    """What came of a run. `exact` must always hold, `flat` needs a run that is long enough to tell."""

    peak: float
    rate: float
    taps: int
    rows: int
    kills: list[float | None]  # seconds from each kill until nothing waited any more, if ever
    interrupted: int
    found_stored: int
    refused: int
    disturbed_p99_ms: float
    windows: list[Window]
    exact: list[Verdict]
    flat: list[Verdict]

    def summary(self) -> str:
        """The figures in a paragraph."""
        away = ", ".join("never" if seconds is None else f"{seconds:.1f}" for seconds in self.kills)
        return (
            f"{self.taps:,} taps and {self.rows:,} stored reactions at {self.rate:,.0f} taps/s "
            f"({SHARE_OF_PEAK:.0%} of {self.peak:,.0f}). {len(self.kills)} kills; seconds from each until nothing "
            f"waited any more: {away or 'none'}. {self.interrupted} answers got lost, {self.found_stored} of these "
            f"taps were found stored when repeated, {self.refused} taps were refused for a moment. p99 of the taps "
            f"that were due around kills: {self.disturbed_p99_ms:,.0f} ms."
        )

    def plain(self) -> dict[str, Any]:
        """As JSON keeps it."""
        windows = [{k: v for k, v in window._asdict().items() if k != "calm"} for window in self.windows]
        verdicts = {kind: [v._asdict() for v in found] for kind, found in self._verdicts().items()}
        return {**self._asdict(), "windows": windows, **verdicts}

    def _verdicts(self) -> dict[str, list[Verdict]]:
        return {"exact": self.exact, "flat": self.flat}


def resident_mb(server: ServerProcess) -> float:
    """Resident memory of the server, 0 while there is none."""
    try:
        status = Path(f"/proc/{server.pid}/status").read_text()
    except (AssertionError, OSError):
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1000 if found else 0.0


def cpu_s(server: ServerProcess) -> float:
    """CPU seconds the server has used since it was started, 0 while there is none."""
    try:
        fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    except (AssertionError, OSError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """Closes a window every few seconds."""

    def __init__(self, server: ServerProcess, load: Load) -> None:
        self._server = server
        self._load = load
        self._started_s = self._last_s = time.perf_counter()
        self._taps, self._cpu_s = load.tally.acknowledged, cpu_s(server)
        self.disturbed = Histogram()
        self.windows: list[Window] = []
        load.tally.calm, load.tally.disturbed = Histogram(), Histogram()

    def look(self) -> None:
        """Close a window and print it."""
        tally, now_s = self._load.tally, time.perf_counter()
        calm, disturbed, tally.calm, tally.disturbed = tally.calm, tally.disturbed, Histogram(), Histogram()
        self.disturbed.merge(disturbed)
        both = Histogram()
        both.merge(calm)
        both.merge(disturbed)
        sizes = {path.suffix: path.stat().st_size for path in self._server.data.glob("plaudit.db*")}
        cpu, taps = cpu_s(self._server), max(1, tally.acknowledged - self._taps)
        # A new process starts at 0, and what the killed one used since the last look is lost.
        used_s, self._cpu_s = (cpu - self._cpu_s if cpu >= self._cpu_s else cpu), cpu
        wal = sum(size for suffix, size in sizes.items() if suffix.endswith("-wal"))
        stored = wal + sizes.get(".db", 0)
        window = Window(
            now_s - self._started_s,
            taps / (now_s - self._last_s),
            both.quantile_ms(0.5),
            both.quantile_ms(0.99),
            used_s * 1e6 / taps,
            resident_mb(self._server),
            tally.rows,
            stored / max(1, tally.rows),
            wal / 1e6,
            tally.errors,
            calm,
        )
        self.windows.append(window)
        self._taps, self._last_s = tally.acknowledged, now_s
        print(window.line(), flush=True)

    async def keep_looking(self, every_s: float) -> None:
        """A window every so often, until cancelled."""
        while True:
            await asyncio.sleep(self._last_s + every_s - time.perf_counter())
            self.look()


async def keep_killing(server: ServerProcess, load: Load, plan: Plan) -> None:
    """kill -9 and start again, every so often, whether or not the clients have caught up since the last time."""
    started_s = time.perf_counter()
    for number in range(1, plan.kills + 1):
        await asyncio.sleep(started_s + number * plan.kill_every_s - time.perf_counter())
        load.disturb()
        server.kill()
        await asyncio.to_thread(server.start)


def differences(data: Path, connections: list[Connection]) -> list[str]:
    """Where the file and the journals of the clients differ."""
    expected = {
        connection.names(pair): reaction
        for connection in connections
        for pair, reaction in connection.journal.items()
        if reaction
    }
    wrong = []
    file = apsw.Connection(str(data / "plaudit.db"), flags=apsw.SQLITE_OPEN_READONLY)
    for user, target, reaction in file.execute(
        "SELECT r.user, t.id, r.reaction FROM reaction_row r JOIN target t ON t.no = r.target WHERE r.reaction > 0"
    ):
        journal = expected.pop((str(user), str(target)), 0)
        if journal != reaction:
            wrong.append(f"{user} on {target}: {reaction} in the file, {journal} in the journal")
    file.close()
    return wrong + [
        f"{user} on {target}: {code}, not in the file" for (user, target), code in expected.items()
    ]


def exactness(data: Path, load: Load) -> list[Verdict]:
    """Whether the clients' journals and the file agree, and the file with itself."""
    problems, wrong = load.tally.problems, differences(data, load.connections)
    try:
        audit_file(data / "plaudit.db")
        audit = ""
    except AssertionError as error:
        audit = str(error)
    return [
        Verdict("every answer is what the journal expects", not problems, "; ".join(problems) or "all are"),
        Verdict("every user's state is the file's", not wrong, "; ".join(wrong[:10]) or "all are"),
        Verdict("the counts are the rows", not audit, audit or "they are"),
    ]


def flatness(windows: list[Window], seconds: float) -> list[Verdict]:
    """The last quarter against the second. In the first, caches fill and a small file costs more for each row."""

    def figures(part: list[Window]) -> dict[str, float]:
        calm = Histogram()
        for window in part:
            calm.merge(window.calm)
        return {
            "p99_ms": calm.quantile_ms(0.99),
            "resident_mb": statistics.median([w.resident_mb for w in part if w.resident_mb] or [0]),
            "bytes_per_row": statistics.median([w.bytes_per_row for w in part] or [0]),
        }

    early = figures([w for w in windows if 0.25 < w.at_s / seconds <= 0.5])
    late = figures([w for w in windows if w.at_s / seconds > 0.75])
    return [
        Verdict(
            f"{name} of the last quarter at most {allowed} x that of the second",
            0 < late[name] <= early[name] * allowed,
            f"{early[name]:,.1f} and {late[name]:,.1f}: {late[name] / max(early[name], 1e-9):.2f} x",
        )
        for name, allowed in FLAT.items()
    ]


async def soak(data: Path, plan: Plan) -> Soak:
    """One run on a new data folder."""
    with ServerProcess(data, env={"PLAUDIT_RATE_LIMIT_PER_S": "0", "PLAUDIT_LOG_LEVEL": "warning"}) as server:
        load = Load(server.port, server.token(None, service=True), plan.connections)
        await load.connect()
        peak = await load.peak(plan.peak_s)
        rate = peak * SHARE_OF_PEAK
        print(f"peak {peak:,.0f} taps/s; from now on {rate:,.0f} taps/s", flush=True)
        watch = Watch(server, load)
        every_s = min(WINDOW_S, plan.seconds / WINDOWS_AT_LEAST)
        beside = [
            asyncio.create_task(watch.keep_looking(every_s)),
            asyncio.create_task(keep_killing(server, load, plan)),
        ]
        await load.pace(rate, plan.seconds)
        for task in beside:
            task.cancel()
        ended = await asyncio.gather(*beside, return_exceptions=True)
        await load.settle()
        load.close()
    broken = [error for error in ended if not isinstance(error, asyncio.CancelledError | None)]
    if broken:
        raise broken[0]
    tally = load.tally
    return Soak(
        peak,
        rate,
        tally.acknowledged,
        tally.rows,
        load.caught_up,
        tally.interrupted,
        tally.found_stored,
        tally.refused,
        watch.disturbed.quantile_ms(0.99),
        watch.windows,
        await asyncio.to_thread(exactness, data, load),
        flatness(watch.windows, plan.seconds),
    )


def machine() -> str:
    """Hardware and versions, without which no figure means anything."""
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, granian {version('granian')}, apsw {version('apsw')}. "
        "Clients on the same cores, every tap fsync'd."
    )


def write_docs(found: Soak, plan: Plan, where: str) -> None:
    """The page about a long run."""
    verdicts = "\n".join(f"- {verdict.line()}" for verdict in found.exact + found.flat)
    step = max(1, len(found.windows) // 12)
    table = "\n".join(window.line() for window in found.windows[step - 1 :: step])
    DOCS.write_text(
        "# A long run\n\n"
        f"Written by `make soak` on {datetime.now(UTC):%Y-%m-%d}: {plan.seconds / 60:.0f} minutes at "
        f"{SHARE_OF_PEAK:.0%} of the peak with zipf targets, {plan.connections} connections that own their users, and "
        f"a kill -9 every {plan.kill_every_s:.0f} s. Latency counts from when a tap was due.\n\n"
        f"{where}\n\n{found.summary()}\n\n{verdicts}\n\n```\n{table}\n```\n"
    )


def main() -> None:
    """Run, print, keep the result, and exit with 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--kill-every-s", type=float, default=120)
    parser.add_argument("--connections", type=int, default=128)
    options = parser.parse_args()
    plan = Plan(options.minutes * 60, options.kill_every_s, options.connections)
    where = machine()
    print(where)
    gc.disable()  # of the clients: a pause to look through millions of journal entries would look like the server's
    # On the disk of the checkout: a temporary folder in memory would make fsync free.
    with tempfile.TemporaryDirectory(dir=HERE, prefix=".run-") as folder:
        found = uvloop.run(soak(Path(folder) / "data", plan))
    print(found.summary())
    for verdict in found.exact + found.flat:
        print(verdict.line())
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    kept = {"machine": where, "at": f"{datetime.now(UTC):%Y-%m-%d}", "plan": plan._asdict(), **found.plain()}
    (results / "soak.json").write_text(json.dumps(kept, indent=2) + "\n")
    if options.minutes >= DOCUMENTED_MINUTES:
        write_docs(found, plan, where)
    sys.exit(not all(verdict.held for verdict in found.exact + found.flat))


if __name__ == "__main__":
    main()
