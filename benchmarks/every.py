"""`make bench-all`: what is measured here, how long each takes, and where its figures go.

Without arguments it only lists them. With names it runs those, one after the other; `all` is every one but those that
need engines which are up.
"""

import argparse
import subprocess
import sys
from typing import NamedTuple


class Benchmark(NamedTuple):
    """A module with its arguments. `minutes`: about, on two cores, with the start of its engines. `writes`: its page,
    its results or nothing. `on_running`: on the engines of `make bench-cluster ARGS=--up`."""

    name: str
    command: str
    minutes: int
    what: str
    writes: str
    on_running: bool = False


_RESULTS = "benchmarks/results/"

BENCHMARKS = (
    Benchmark("quick", "run", 2, "taps and reads of the embedded profile", f"{_RESULTS}quick.json"),
    Benchmark(
        "embedded", "run --full", 13, "the same, on up to ten million reactions", "docs/performance.md"
    ),
    Benchmark(
        "notify", "notify", 5, "following the log, and the end of 10,000 windows", f"{_RESULTS}notify.json"
    ),
    Benchmark("beside", "beside", 2, "what the notifier costs taps", f"{_RESULTS}beside.json"),
    Benchmark("streaming", "streaming --keep", 4, "listeners of one viral target", "docs/streaming.md"),
    Benchmark("transfer", "transfer", 3, "import, export and backup of a file", f"{_RESULTS}transfer.json"),
    Benchmark("widget", "widget --keep", 2, "fifty bars in a page", f"{_RESULTS}widget.json"),
    Benchmark("soak", "soak", 22, "twenty minutes under load, with kill -9", "docs/long-run.md"),
    Benchmark(
        "cluster",
        "cluster",
        19,
        "taps, reads, freshness, windows against the plain design and PostgreSQL",
        "docs/cluster-performance.md",
    ),
    Benchmark(
        "routing",
        "cluster.routed",
        5,
        "one target through nginx and three processes",
        "docs/owner-routing.md",
    ),
    Benchmark(
        "overload", "cluster.overload", 4, "one target offered ten times what it takes", "docs/overload.md"
    ),
    Benchmark("cold", "cluster.cold", 3, "reads on a Redis that is empty or emptied", "docs/overload.md"),
    Benchmark(
        "hot", "cluster.hot", 4, "when a target is found too hot, and its lanes", f"{_RESULTS}hot.json"
    ),
    Benchmark(
        "sealed", "cluster.sealed", 3, "what a split under full load is noticed by", f"{_RESULTS}sealed.json"
    ),
    Benchmark("moving", "cluster.moving", 2, "import into the cluster and export from it", ""),
    Benchmark("cells", "cells", 3, "commits of cells on one Cassandra", f"{_RESULTS}cells.json"),
    Benchmark("lists", "lists", 4, "the indexer, and pages of 300,000 reactors", f"{_RESULTS}lists.json"),
    Benchmark(
        "splits", "splits", 4, "a split under load, and pages of a split target", f"{_RESULTS}splits.json"
    ),
    Benchmark("consume", "consume", 1, "from the log to a handler", f"{_RESULTS}consume.json"),
    Benchmark("counters", "counters", 2, "totals in Redis, and the near cache", ""),
    Benchmark("capacity", "model", 1, "the design loads on a model of the cluster", "docs/capacity.md"),
    Benchmark(
        "statements", "cluster.statements", 2, "Cassandra's CPU for each statement of a message", "", True
    ),
)


def listed() -> str:
    """A line for each."""
    lines = [
        f"{each.name:11}{each.minutes:3} min  {each.what}" + (f" ({each.writes})" if each.writes else "")
        for each in BENCHMARKS
    ]
    return "\n".join(
        [*lines, "ARGS=\"NAME…\" runs them; 'all' all, but 'statements', which needs engines that are up."]
    )


def chosen(names: list[str]) -> list[Benchmark]:
    """Those of these names, in their order. Raises `SystemExit`: there is none of this name."""
    if names == ["all"]:
        return [each for each in BENCHMARKS if not each.on_running]
    known = {each.name: each for each in BENCHMARKS}
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"there is no benchmark {', '.join(unknown)}\n{listed()}")
    return [known[name] for name in names]


def main() -> None:
    """List, or run. Ends with the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    names = parser.parse_args().names
    if not names:
        print(listed())
    for each in chosen(names):
        print(f"== {each.name}: {each.what}, about {each.minutes} minutes", flush=True)
        module, *arguments = each.command.split()
        subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *arguments], check=True)


if __name__ == "__main__":
    main()
