"""What the benchmark prints, keeps, and writes into docs/cluster-performance.md."""

import json
import os
import platform
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.cluster import mix
from benchmarks.cluster.engines import CASSANDRA_HEAP, KAFKA_HEAP
from tests.engines import jars

RESULTS = Path(__file__).parents[1] / "results" / "cluster.json"
DOCS = Path(__file__).parents[2] / "docs" / "cluster-performance.md"
Found = dict[str, dict[str, Any]]
COLUMNS = ("case", "taps/s", "p50 ms", "p99 ms", "failed", "CPU µs per tap, of each process")


# (what, ours, the other's, at least)
GOALS = (
    ("one target, 256 connections, to the plain design bare", "Plaudit, one, 256", "plain, one", 8.0),
    ("one target, 256 connections, to PostgreSQL", "Plaudit, one, 256", "PostgreSQL, one", 2.5),
    ("one target, 64 connections, to PostgreSQL", "Plaudit, one, 64", "PostgreSQL, one", 1.5),
    (
        "uniform, 256 connections, to the plain design in place",
        "Plaudit, uniform, 256",
        "plain in place, uniform",
        0.9,
    ),
    ("uniform, 256 connections, to the plain design bare", "Plaudit, uniform, 256", "plain, uniform", 0.6),
)


def keep(console: Console, found: Found) -> None:
    """Print what was found, put it beside what was found before, and write the page again."""
    kept: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"cases": {}}
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
    kept["cases"].update({name: {**figures, "at": now} for name, figures in found.items()})
    kept["machine"], kept["versions"] = _machine(), _versions()
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    table = Table(*COLUMNS, box=None)
    for line in _lines(found):
        table.add_row(*line)
    console.print(table)
    DOCS.write_text(_page(kept))


def _machine() -> str:
    return f"{os.cpu_count()} cores ({platform.machine()}), Linux {platform.release()}, shared by everything"


def _versions() -> dict[str, str]:
    packages = ("acsylla", "confluent-kafka", "granian", "uvloop")
    return {
        "Cassandra": f"{jars.CASSANDRA}, one node, heap {CASSANDRA_HEAP}, commit log synced before each answer",
        "Kafka": f"{jars.KAFKA}, one node, heap {KAFKA_HEAP}",
        "Python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def _lines(cases: Found) -> Iterator[tuple[str, ...]]:
    """A line per case that has a rate of taps, in `COLUMNS`."""
    for name, case in cases.items():
        if "rate" not in case:
            continue
        latency = [f"{case[key]:,.1f}" if key in case else "" for key in ("p50_ms", "p99_ms")]
        if "mean_ms" in case:
            latency[0] = f"{case['mean_ms']:,.1f} (mean)"
        cpu = case["cpu_us"]
        each = (
            ", ".join(f"{who} {us:,.0f}" for who, us in cpu.items())
            if isinstance(cpu, dict)
            else f"{cpu:,.0f}"
        )
        yield name, f"{case['rate']:,.0f}", *latency, f"{case['failed']:,}", each


def _ratios(cases: Found) -> Iterator[tuple[str, ...]]:
    """A line per goal whose two sides are measured."""
    for what, ours, other, at_least in GOALS:
        best = max((case["rate"] for name, case in cases.items() if name.startswith(f"{other}, ")), default=0)
        if best and ours in cases:
            ratio = cases[ours]["rate"] / best
            yield what, f"{ratio:.2f}", f"{at_least:g}", "yes" if ratio >= at_least else "no"


def _table(columns: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    columns = list(columns)
    rows = [columns, ["---"] * len(columns), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _page(kept: dict[str, Any]) -> str:
    cases: Found = kept["cases"]
    versions = ", ".join(f"{name} {which}" for name, which in kept["versions"].items())
    dates = sorted(case["at"] for case in cases.values())
    parts = [
        "# Performance of the cluster profile",
        "Measured by `make bench-cluster`, which writes this page. Ratios compare within one run; absolute figures "
        "belong to the machine.",
        f"{kept['machine']}. {versions}. Measured {dates[0]} to {dates[-1]} UTC.",
        "## What is compared",
        _WHAT,
        "## Taps",
        _table(COLUMNS, _lines(cases)),
    ]
    ratios = list(_ratios(cases))
    if ratios:
        parts += ["## Ratios", _table(("what", "ratio", "wanted at least", "reached"), ratios)]
    return "\n\n".join(parts) + "\n"


_WHAT = f"""\
Every engine gets the same taps: 60 % new reactions, 25 % removals and 15 % switches, the latter two of reactions that
were stored before and that no process has seen.

- **uniform**: over a million targets with {mix.PER_TARGET} reactions each. A case sends fewer taps than there are
  targets, so the {mix.TARGETS:,} targets that it would touch are filled and the others left out; each tap goes to
  another target (in PostgreSQL: to one of them at random).
- **one**: all on one target with {mix.VIRAL_ROWS:,} reactions. It is not split over lanes.
- **plain**: the plain design bare, one conditional write per tap (read row and header, then a conditional batch of
  both), 64 and 256 workers in a closed loop, no HTTP and no events; the driver and the table are ours.
- **plain in place**: the same instead of our commit, behind the same HTTP, Kafka and consumers.
- **PostgreSQL**: one function per toggle keeps row, counts and outbox row in one transaction, pgbench with 16 and 64
  clients, fsync on.
- **Plaudit**: taps over HTTP from wrk with 64 and 256 connections.

All share the machine's cores with whatever loads them. Java runs with the full compiler and is warmed up."""
