"""`python -m benchmarks.cells`: what commits of cells cost on one real Cassandra node, client included.

Production JVM flags (the full compiler), warmed up. Each case goes through the service's own proposer and adapter, but
for the last one, which is the textbook's: a conditional write per tap on one partition. Prints a table and keeps it
with hardware and versions in benchmarks/results/cells.json.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from plaudit.adapters.cassandra import CassandraCells, CassandraConfig, Session, migrate
from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Header, Row, Rules, Tap, Verb
from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.ports.cells import CellKey, Proposal
from plaudit.services.known import Known
from plaudit.services.propose import Proposer, Settled
from tests.engines.cassandra import Cassandra
from tests.engines.jars import CACHE, CASSANDRA

RESULTS = Path(__file__).parent / "results" / "cells.json"
HEAP = "1g"
LONE_WORKERS = 64
CELLS = 1_000_000

Step = Callable[[int], Awaitable[int]]
_users = count()


class Case(NamedTuple):
    """One line of the table. Rates are per second, times in milliseconds, CPU in microseconds of each row."""

    name: str
    commits: float
    rows: float
    p50_ms: float
    p99_ms: float
    client_us: float
    cassandra_us: float
    failed: int


class Bench:
    """The proposer on a live session."""

    def __init__(self, cells: CassandraCells, pid: int) -> None:
        self._cells = cells
        self._pid = pid
        self._proposer = Proposer(cells, Known(), SystemClock(), Rules(Catalogue()))
        self._random = random.Random(1)

    async def run(self, name: str, workers: int, step: Step, seconds: float) -> Case:
        """`step` over and over in each worker; it returns how many rows it wrote."""
        took: list[float] = []
        rows = failed = 0
        until_s = time.perf_counter() + seconds

        async def worker(n: int) -> None:
            nonlocal rows, failed
            while (began_s := time.perf_counter()) < until_s:
                try:
                    wrote = await step(n)
                except (OutcomeUnknown, Unavailable):
                    wrote = 0
                if wrote:
                    rows += wrote
                    took.append(time.perf_counter() - began_s)
                else:
                    failed += 1

        ours, theirs, began_s = time.process_time(), cpu_s(self._pid), time.perf_counter()
        await asyncio.gather(*map(worker, range(workers)))
        elapsed_s = time.perf_counter() - began_s
        took = sorted(took) or [0.0]
        each = 1e6 / max(rows, 1)
        return Case(
            name,
            len(took) / elapsed_s,
            rows / elapsed_s,
            took[len(took) // 2] * 1000,
            took[len(took) * 99 // 100] * 1000,
            (time.process_time() - ours) * each,
            (cpu_s(self._pid) - theirs) * each,
            failed,
        )

    async def lone(self, _: int) -> int:
        """A new user on one of a million targets: a read and a commit."""
        return await self._commit(CellKey(f"lone{self._random.randrange(CELLS)}"), 1)

    async def chain(self, n: int) -> int:
        """The same user again on a target of this process: a commit, and no read."""
        taps = [Tap("somebody", Verb.SET, next(_users) % 2 + 1, os.urandom(8))]
        return _rows(await self._proposer.attempt(CellKey(f"chain{n}"), taps))

    async def blind(self, _: int) -> int:
        """The condition alone: a commit on a target that is known to be new."""
        user = next(_users)
        header = Header(1, "post", (1,), 1, user, user, ((f"user{user}", 1),))
        row = Row(1, user, user, os.urandom(14))
        return int(
            await self._cells.propose(CellKey(f"blind{user}"), Proposal(0, header, {f"user{user}": row}))
        )

    async def crowd(self, n: int, users: int) -> int:
        """New users on one viral target: a read by name and a commit."""
        return await self._commit(CellKey(f"viral{n}-{users}"), users)

    async def _commit(self, key: CellKey, users: int) -> int:
        taps = [Tap(f"user{next(_users)}", Verb.TOGGLE, 1, os.urandom(8)) for _ in range(users)]
        return _rows(await self._proposer.attempt(key, taps))

    async def textbook(self, _: int) -> int:
        """A conditional write of its own for each tap, all on one target: read, propose, until it is applied."""
        user = f"user{next(_users)}"
        key = CellKey("textbook")
        while True:
            state = await self._cells.read(key, [user])
            old = state.header or Header()
            header = Header(old.seq + 1, "post", (old.total + 1,), old.rows + 1, old.seq, 1, ((user, 1),))
            row = Row(1, 1, old.seq + 1, os.urandom(14))
            if await self._cells.propose(key, Proposal(old.seq, header, {user: row})):
                return 1


def _rows(result: object) -> int:
    return len(result.answers) if isinstance(result, Settled) else 0


def cpu_s(pid: int) -> float:
    """The CPU time that a process has used (fields 14 and 15 of proc(5)/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(cassandra: Cassandra, seconds: float, warm_s: float, console: Console) -> list[Case]:
    """All cases, in one run on one node."""
    config = CassandraConfig(cassandra.hosts, cassandra.port, replication=1)
    async with Session(config) as session:
        await migrate(session)
        async with CassandraCells(session) as cells:
            bench = Bench(cells, cassandra.nodes[0].pid)
            console.print(f"warming up for {warm_s:.0f} s")
            await bench.run("warm-up", LONE_WORKERS, bench.lone, warm_s / 2)
            await bench.run("warm-up", 4, lambda n: bench.crowd(n + 100, 64), warm_s / 2)
            return [
                await bench.run("lone, nothing read", LONE_WORKERS, bench.blind, seconds),
                await bench.run("lone, known", LONE_WORKERS, bench.chain, seconds),
                await bench.run("lone, read first", LONE_WORKERS, bench.lone, seconds),
                await bench.run("4 cells x 64 users", 4, lambda n: bench.crowd(n, 64), seconds),
                await bench.run("1 cell x 128 users", 1, lambda n: bench.crowd(n, 128), seconds),
                await bench.run("textbook, 1 target", 16, bench.textbook, seconds),
            ]


def main() -> None:
    """Start a node, measure, stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--warm-s", type=float, default=60)
    arguments = parser.parse_args()
    console = Console()
    (CACHE / "runs").mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix="bench-", dir=CACHE / "runs"))
    cassandra = Cassandra(folder, 1, full_jit=True, heap=HEAP)
    try:
        cassandra.start()
        cases = asyncio.run(measure(cassandra, arguments.seconds, arguments.warm_s, console))
    finally:
        cassandra.stop()
        shutil.rmtree(folder, ignore_errors=True)
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, shared by client and Cassandra",
        "versions": {
            "cassandra": CASSANDRA,
            "acsylla": version("acsylla"),
            "python": platform.python_version(),
        },
        "heap": HEAP,
        "seconds": arguments.seconds,
        "warm_s": arguments.warm_s,
    }
    table = Table(
        "case",
        "commits/s",
        "rows/s",
        "p50 ms",
        "p99 ms",
        "client CPU µs/row",
        "Cassandra",
        "failed",
        box=None,
    )
    for c in cases:
        numbers = (c.commits, c.rows, c.p50_ms, c.p99_ms, c.client_us, c.cassandra_us, c.failed)
        table.add_row(c.name, *(f"{number:,.1f}" for number in numbers))
    console.print(table)
    RESULTS.write_text(json.dumps({**about, "cases": [case._asdict() for case in cases]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
