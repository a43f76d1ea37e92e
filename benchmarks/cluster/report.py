"""What the benchmark prints, keeps, and writes into docs/cluster-performance.md."""

import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.cluster import mix
from benchmarks.cluster.engines import CASSANDRA_HEAP, KAFKA_HEAP
from tests.engines import jars

RESULTS = Path(__file__).parents[1] / "results" / "cluster.json"
DOCS = Path(__file__).parents[2] / "docs" / "cluster-performance.md"
Found = dict[str, dict[str, Any]]
COLUMNS = (
    "case",
    "seconds",
    "taps/s",
    "p50 ms",
    "p99 ms",
    "failed",
    "worst lag",
    "elsewhere",
    "CPU µs per tap, of each process",
)
RATIOS = ("what", "ratio", "wanted at least", "elsewhere, ours and the other's", "reached")
WANTED = ("what", "measured", "wanted", "elsewhere", "reached")
FREE = 0.10  # a case during which more than this of the machine was used elsewhere decides nothing
READS = ("case", "calls/s", "p50 ms", "p99 ms", "errors", "API CPU µs per call")


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


class Goal(NamedTuple):
    """What one figure of a case should be. `at_most`, or else at least; `figure` finds it."""

    what: str
    case: str
    figure: Callable[[dict[str, Any]], float]
    wanted: float
    form: str
    at_most: bool = False

    def said(self, number: float) -> str:
        """A figure with its unit."""
        return self.form.format(number)


OTHER_GOALS = (
    Goal(
        "counts of 20, hot: calls/s, to the floor JSON",
        "counts of 20, hot",
        lambda case: float(case["of_floor"]),
        0.8,
        "{:.2f}",
    ),
    Goal(
        "counts of 20, Redis warm: CPU of the API per call",
        "counts of 20, Redis",
        lambda case: float(case["calls"]["cpu_us"]),
        330,
        "{:.0f} µs",
        at_most=True,
    ),
    Goal(
        "freshness: p99 at 80 % of the uniform peak",
        "freshness",
        lambda case: float(case["p99_ms"]),
        1000,
        "{:,.0f} ms",
        at_most=True,
    ),
    Goal(
        "windows: 10,000 that are due at once, handed over",
        "windows",
        lambda case: float(case["handed_over_s"]),
        5,
        "{:.1f} s",
        at_most=True,
    ),
    Goal(
        "transitions a second and core of the notifier, a million windows open",
        "followed",
        lambda case: float(case["per_core"]),
        20_000,
        "{:,.0f}",
    ),
)


def keep(console: Console, found: Found) -> None:
    """Print what was found, put it beside what was found before, and write the page again."""
    kept: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"cases": {}}
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
    kept["cases"].update({name: {**figures, "at": now} for name, figures in found.items()})
    kept["machine"], kept["versions"] = machine(), versions()
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    for columns, lines in ((COLUMNS, list(_lines(found))), (READS, list(_reads(found)))):
        table = Table(*columns, box=None)
        for line in lines:
            table.add_row(*line)
        if lines:
            console.print(table)
    for sentence in _sentences(found):
        console.print(sentence)
    write_page()


def write_page() -> None:
    """Write the page from what was found before. Raises `FileNotFoundError`."""
    DOCS.write_text(page(json.loads(RESULTS.read_text())))


def keep_apart(results: Path, found: Found, **how: int) -> None:
    """Keep what was found in a file of its own, with when, on what and how it was measured."""
    kept = {"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", "machine": machine(), "versions": versions(), **how}
    results.write_text(json.dumps({**kept, "cases": found}, indent=1) + "\n")


def rate(case: str) -> float:
    """What was found before. Raises `KeyError`."""
    return float(json.loads(RESULTS.read_text())["cases"][case]["rate"])


def machine() -> str:
    """What it was measured on."""
    return f"{os.cpu_count()} cores ({platform.machine()}), Linux {platform.release()}, shared by everything"


def versions() -> dict[str, str]:
    """What was measured."""
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
        lag = f"{max(case['lag_s'].values()):.1f} s" if case.get("lag_s") else ""
        seconds = case.get("seconds") or case.get("taps", 0) / case["rate"]
        yield (
            name,
            f"{seconds:.0f}" if seconds else "",
            f"{case['rate']:,.0f}",
            *latency,
            f"{case['failed']:,}",
            lag,
            f"{case['elsewhere']:.0%}",
            each,
        )


def _reads(cases: Found) -> Iterator[tuple[str, ...]]:
    """A line per case of reads, in `READS`."""
    for name, case in cases.items():
        if "calls" in case:
            calls = case["calls"]
            figures = (calls["rate"], calls["p50_ms"], calls["p99_ms"], calls["errors"], calls["cpu_us"])
            of_floor = f" ({case['of_floor']:.2f} of the floor)" if "of_floor" in case else ""
            rate_, p50, p99, errors, cpu = figures
            yield (
                f"{name}{of_floor}",
                f"{rate_:,.0f}",
                f"{p50:.1f}",
                f"{p99:.1f}",
                f"{errors:.0f}",
                f"{cpu:.0f}",
            )


def _sentences(cases: Found) -> Iterator[str]:
    """What is no table."""
    if fresh := cases.get("freshness"):
        yield (
            f"**Freshness**, from a tap's answer to the new count through another API process, at "
            f"{fresh['share_of_peak']:.0%} of the uniform peak ({fresh['taps_per_s']:,.0f} taps/s): p50 "
            f"{fresh['p50_ms']:.0f} ms, p99 {fresh['p99_ms']:.0f} ms, at most {fresh['max_ms']:.0f} ms, of "
            f"{fresh['samples']:,} taps; {fresh['failed']} failed. The other process had shown the target just before."
        )
    if sizes := cases.get("bytes per tap"):
        each = ", ".join(
            f"{store} {bytes_:,.0f}" for store, bytes_ in sizes.items() if store != "at" and bytes_ >= 0.5
        )
        yield f"**Bytes per tap** at that load, uniform, one replica, after a flush: {each}."
    if ended := cases.get("windows"):
        rounds = ", ".join(f"{each_s:.1f}" for each_s in ended["rounds_s"])
        cost = ", ".join(f"{name} {us:.0f}" for name, us in ended["cpu_us"].items())
        share = ended["cpu_us"]["receiver"] / sum(ended["cpu_us"].values())
        yield (
            f"**Notifications**: {ended['due']:,} windows with a message each end at once; the last one was handed to "
            f"a webhook receiver after {ended['handed_over_s']:.1f} s, by one notifier, in the last of so many rounds "
            f"(each in seconds: {rounds}; in the first ones Java compiles). CPU of that round for each message, in µs: "
            f"{cost}. So {share:.0%} of it is the receiver's (HTTP/2 with TLS), which shares the cores; "
            f"{ended['elsewhere']:.0%} of the machine was used elsewhere. To follow the events that opened them took "
            f"{ended['followed_us']:.0f} µs of CPU each."
        )
    if followed := cases.get("followed"):
        before_mb, opened_mb, after_mb = followed["resident_mb"]
        opened, more = followed["opened"], followed["followed"]
        yield (
            f"**Following the log**: one transition on each of {followed['windows']:,} targets with an owner opens as "
            f"many windows, which take {followed['bytes_each']:.0f} bytes each in a master of Redis and "
            f"{opened_mb - before_mb:.0f} MB in the notifier. Each costs the notifier {opened['notifier_us']:.0f} µs "
            f"of CPU, Redis with a replica {opened['redis_us']:.0f}. {followed['transitions']:,} more, by Zipf's law, "
            f"while all are open: {more['notifier_us']:.0f} and {more['redis_us']:.0f} µs, so "
            f"{followed['per_core']:,.0f} a second and core of the notifier, and {after_mb - opened_mb:.0f} MB."
        )
    if filled := cases.get("fill"):
        yield f"**A stored reaction** of the fill takes {filled['bytes_per_row']:.0f} bytes in Cassandra, compressed."


def _ratios(cases: Found) -> Iterator[tuple[str, ...]]:
    """A line per goal whose two sides are measured, in `RATIOS`. No verdict where the machine was not free for both."""
    for what, ours, other, at_least in GOALS:
        others = [case for name, case in cases.items() if name.startswith(f"{other}, ")]
        if others and ours in cases:
            mine, best = cases[ours], max(others, key=lambda case: float(case["rate"]))
            ratio = mine["rate"] / best["rate"]
            verdict = "yes" if ratio >= at_least else "no"
            if max(mine["elsewhere"], best["elsewhere"]) > FREE:
                verdict = "not decided"
            elsewhere = f"{mine['elsewhere']:.0%} and {best['elsewhere']:.0%}"
            yield what, f"{ratio:.2f}", f"{at_least:g}", elsewhere, verdict


def others(cases: Found) -> Iterator[tuple[str, ...]]:
    """A line per goal whose figure is measured, in `WANTED`. No verdict where the machine was known not to be free."""
    for goal in OTHER_GOALS:
        if goal.case in cases:
            case = cases[goal.case]
            number, elsewhere = goal.figure(case), case.get("elsewhere")
            verdict = "yes" if (number <= goal.wanted if goal.at_most else number >= goal.wanted) else "no"
            if elsewhere is not None and elsewhere > FREE:
                verdict = "not decided"
            wanted = f"at {'most' if goal.at_most else 'least'} {goal.said(goal.wanted)}"
            used = "" if elsewhere is None else f"{elsewhere:.0%}"
            yield goal.what, goal.said(number), wanted, used, verdict


def markdown(columns: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    columns = list(columns)
    rows = [columns, ["---"] * len(columns), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def page(kept: dict[str, Any]) -> str:
    """The page of what is kept."""
    cases: Found = kept["cases"]
    versions = ", ".join(f"{name} {which}" for name, which in kept["versions"].items())
    dates = sorted(case["at"] for case in cases.values())
    parts = [
        "# Performance of the cluster profile",
        "Measured by `make bench-cluster`, which writes this page. Ratios mean something within one run on a machine "
        "that is free for it; absolute figures belong to the machine.",
        f"{kept['machine']}. {versions}. Measured {dates[0]} to {dates[-1]} UTC.",
        "## What is compared",
        _WHAT,
        "## Taps",
        markdown(COLUMNS, _lines(cases)),
    ]
    ratios = list(_ratios(cases))
    if ratios:
        parts += ["## Ratios", markdown(RATIOS, ratios), _RATIOS]
    goals = list(others(cases))
    if goals:
        parts += ["## Other goals", markdown(WANTED, goals), _OTHERS]
    reads = list(_reads(cases))
    if reads:
        parts += ["## Reads", markdown(READS, reads), _READS]
    parts += ["## Besides", *_sentences(cases)]
    return "\n\n".join(parts) + "\n"


_RATIOS = f"""\
Each to the best figure of the other. Nothing is decided where more than {FREE:.0%} of the machine was used elsewhere
during either of the two: the one that had more of it left looks better than it is. `benchmarks/results/cluster.json`
says when each case was measured; cases of different times are not one run."""

_OTHERS = """\
From the figures below. Of reads and of freshness it is not kept what the machine did elsewhere."""

_READS = """\
The floor is the same server that answers constant bytes of the same size. Hot: the same thousand targets; Redis: over
all filled targets, which the near cache does not hold and Redis does. 64 connections, medians of three rounds."""


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
- **Plaudit**: taps over HTTP from wrk with 64 and 256 connections. Each worker is a process of its own: counters,
  index, notify, flush, repair; not the auditor, which would spend the run on telling lists and Redis of what the fill
  wrote into the ledger alone. Worst lag: how far behind the slowest of them was at any moment of the case.

Elsewhere: the share of the machine's cores that something else used meanwhile. Where it is large the machine was not
free, the figures are too low, and ratios of two cases hold only as far as both had the same left. All share the cores
with whatever loads them. Java runs with the full compiler and is warmed up."""
