"""`python -m benchmarks.cluster.hot`: is a target that everybody taps on found too hot, and what does it take in lanes?

Three API processes behind nginx with `PLAUDIT_SPLIT=auto`, and every worker. In each case a target of its own gets as
many taps as are answered, a quarter of which change nothing: for `UNSPLIT_S`, and then, split by the command if need
be, for `SPLIT_S`. Where it is found, the figures of one cell are of the seconds before that, most of which the load
needs to begin. Nothing is held down. Prints a table, and keeps it with hardware and versions in
benchmarks/results/hot.json. Four minutes.
"""

import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.cluster import mix
from benchmarks.cluster.engines import engines
from benchmarks.cluster.processes import Meter
from benchmarks.cluster.report import keep_apart
from benchmarks.cluster.routed import Site, service
from benchmarks.cluster.service import PLAUDIT, Load, environment
from benchmarks.load import Server

RESULTS = Path(__file__).parents[1] / "results" / "hot.json"
LANES = 8
AUTO = {"PLAUDIT_SPLIT": "auto", "PLAUDIT_SPLIT_ROWS": "1000000000", "PLAUDIT_LANES": str(LANES)}
WARM_S, UNSPLIT_S, SPLIT_S, LOOK_S = 10, 25, 15, 0.25
TAPS, COMMITS, REFUSED, SPLITS = COUNTERS = (
    "plaudit_batch_taps_sum",
    "plaudit_commits_total",
    "plaudit_commits_refused_total",
    "plaudit_splits_total",
)
COLUMNS = (
    "case",
    "found after",
    "taps/s",
    "taps per commit",
    "refused proposals",
    "cores used by",
    "elsewhere",
)
FIRST = 10  # of the viral targets: nobody reacted to them yet


class Case(NamedTuple):
    """Through how many processes, and over how many connections."""

    apis: int
    connections: int


WARM = (Case(1, 256), Case(3, 256))
CASES = (Case(1, 512), Case(1, 2048), Case(3, 1024))


class Seen(NamedTuple):
    """`COUNTERS` of all API processes together, and CPU seconds by name, at a moment."""

    at_s: float
    counters: dict[str, float]
    cpu_s: dict[str, float]


def look(site: Site, meter: Meter) -> Seen:
    """Now."""
    counters = dict.fromkeys(COUNTERS, 0.0)
    for each in site.apis:
        page = urllib.request.urlopen(f"http://127.0.0.1:{each.port}/metrics", timeout=30).read().decode()
        for name, value in re.findall(r"^(\w+) (\S+)$", page, re.MULTILINE):
            if name in counters:
                counters[name] += float(value)
    return Seen(time.monotonic(), counters, {who: us / 1e6 for who, us in meter.each_us(1).items()})


def loaded(site: Site, load: Load, case: Case, seconds: int) -> dict[str, Any]:
    """Taps for so long; the figures are of the time before a split was seen."""
    server = site.apis[0] if case.apis == 1 else Server(0, site.nginx.port)
    meter = site.meter()
    seen = [began := look(site, meter)]
    with ThreadPoolExecutor(1) as thread:
        sending = thread.submit(load.run, server, case.connections, seconds)
        while not sending.done():
            time.sleep(LOOK_S)
            seen.append(look(site, meter))
    elsewhere, failed = meter.elsewhere(), sending.result()["failed"]
    whole = [each for each in seen if each.counters[SPLITS] == began.counters[SPLITS]]
    took_s = whole[-1].at_s - began.at_s
    taps, commits, refused, _ = (whole[-1].counters[name] - was for name, was in began.counters.items())
    return {
        "found_s": seen[len(whole)].at_s - began.at_s if len(whole) < len(seen) else None,
        "rate": taps / took_s,
        "per_commit": taps / max(1, commits),
        "refused_share": refused / max(1, refused + commits),
        "cores": {who: (now - began.cpu_s[who]) / took_s for who, now in whole[-1].cpu_s.items()},
        "failed": failed,
        "elsewhere": elsewhere,
    }


def measured(site: Site) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every case as it is known, as one cell and split."""
    for number, case in enumerate(CASES, FIRST):
        load = Load(site.place, "one", number)
        name = f"{case.connections} connections, {case.apis} process{'es' * (case.apis > 1)}"
        yield f"{name}, one cell", loaded(site, load, case, UNSPLIT_S)
        env = {**os.environ, **environment(site.place, "api")}
        subprocess.run([PLAUDIT, "split", mix.viral(number)], env=env, check=True, stdout=subprocess.DEVNULL)
        yield f"{name}, {LANES} lanes", loaded(site, load, case, SPLIT_S)


def keep(console: Console, found: dict[str, dict[str, Any]]) -> None:
    """Print what was found, and keep it."""
    keep_apart(RESULTS, found)
    table = Table(*COLUMNS, box=None)
    for name, case in found.items():
        table.add_row(
            name,
            f"{case['found_s']:.1f} s" if case["found_s"] else "",
            f"{case['rate']:,.0f}",
            f"{case['per_commit']:.0f}",
            f"{case['refused_share']:.1%}",
            ", ".join(f"{who} {cores:.2f}" for who, cores in case["cores"].items()),
            f"{case['elsewhere']:.0%}",
        )
    console.print(table)


def main() -> None:
    """Start, warm up, measure, print, keep."""
    os.environ.update(AUTO)
    console = Console(width=160)
    with engines() as place, service(place) as site:
        for case in WARM:
            loaded(site, Load(place, "one", FIRST - 1), case, WARM_S)
        found = {}
        for name, figures in measured(site):
            console.print(f"{name}: {figures['rate']:,.0f} taps/s")
            found[name] = figures
        keep(console, found)


if __name__ == "__main__":
    main()
