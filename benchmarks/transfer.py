"""`python -m benchmarks.transfer`: what moving a million reactions in and out costs, through the commands.

Ids of 10 characters, ten reactions on each target on average. The same reactions come once in the order of their times,
which is the hard one (almost every line is about another target), and once by target, as an export has them. Prints a
table and keeps it with hardware and versions in benchmarks/results/transfer.json.
"""

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
REACTIONS = ("like", "love", "haha", "wow", "sad", "angry")
PER_TARGET = 10
START = datetime(2024, 1, 1, tzinfo=UTC)
COLUMNS = ("what", "seconds", "per second", "peak MB", "bytes on disk each")


class Cost(NamedTuple):
    """What one command cost, start of the process included."""

    what: str
    seconds: float
    rows: int
    peak_mb: float
    disk_bytes: int

    def line(self) -> tuple[str, ...]:
        each = f"{self.disk_bytes / self.rows:.1f}" if self.disk_bytes else ""
        return (
            self.what,
            f"{self.seconds:.1f}",
            f"{self.rows / self.seconds:,.0f}",
            f"{self.peak_mb:.0f}",
            each,
        )


def reactions(rows: int) -> list[tuple[int, int, int]]:
    """(target, user, when) in the order of time, no pair twice."""
    chance = random.Random(1)
    pairs: dict[tuple[int, int], None] = {}
    while len(pairs) < rows:
        pairs[chance.randrange(rows // PER_TARGET), chance.randrange(rows // PER_TARGET)] = None
    return [(target, user, i) for i, (target, user) in enumerate(pairs)]


def write(path: Path, found: list[tuple[int, int, int]]) -> None:
    with path.open("w") as file:
        for target, user, i in found:
            at = (START + timedelta(seconds=30 * i, milliseconds=i % 1000)).isoformat()
            file.write(
                f'{{"target_id":"t{target:09d}","user_id":"u{user:09d}",'
                f'"reaction":"{REACTIONS[i % 6]}","created_at":"{at}"}}\n'
            )


def make(rows: int, by_time: Path, by_target: Path) -> None:
    found = reactions(rows)
    write(by_time, found)
    write(by_target, sorted(found))


def run(what: str, data: Path, rows: int, *arguments: str) -> Cost:
    """Run `plaudit` on that data."""
    program = str(Path(sys.executable).with_name("plaudit"))
    began = time.perf_counter()
    quiet = [(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
    env = {**os.environ, "PLAUDIT_DATA": str(data)}
    child = os.posix_spawn(program, [program, *arguments], env, file_actions=quiet)
    _, status, used = os.wait4(child, 0)
    seconds = time.perf_counter() - began
    assert status == 0, f"{what} ended with {status}"
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    log = data / "plaudit.db-wal"
    assert not log.exists() or log.stat().st_size == 0, "what was measured is all there is"
    imported = arguments[0] == "import"
    return Cost(
        what, seconds, rows, used.ru_maxrss / unit, (data / "plaudit.db").stat().st_size if imported else 0
    )


def measure(rows: int, folder: Path) -> list[Cost]:
    """All commands, one after the other."""
    by_time, by_target, out = folder / "time.jsonl", folder / "target.jsonl", folder / "out.jsonl"
    # In a process of its own: what a parent holds counts as the peak of its children.
    maker = get_context("spawn").Process(target=make, args=(rows, by_time, by_target))
    maker.start()
    maker.join()
    assert maker.exitcode == 0
    data = folder / "data"
    return [
        run("import, in the order of time", data, rows, "import", str(by_time)),
        run("import, by target", folder / "grouped", rows, "import", str(by_target)),
        run("import of what is there already", data, rows, "import", str(by_target)),
        run("export", data, rows, "export", str(out)),
        run("backup", data, rows, "backup", str(folder / "backup")),
    ]


def main() -> None:
    """Measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, apsw {version('apsw')}, msgspec {version('msgspec')}; {rows:,} reactions "
        f"on {rows // PER_TARGET:,} targets by {rows // PER_TARGET:,} users"
    )
    # On the disk of the checkout: a temporary folder in memory would make fsync free.
    with tempfile.TemporaryDirectory(dir=HERE, prefix=".run-") as folder:
        costs = measure(rows, Path(folder))
    table = Table(*COLUMNS, title=machine)
    for cost in costs:
        table.add_row(*cost.line())
    Console(width=120).print(table)
    kept = {"machine": machine, "at": f"{datetime.now(UTC):%Y-%m-%d}", "costs": [c._asdict() for c in costs]}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "transfer.json").write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
