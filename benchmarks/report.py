"""What `make bench` prints and writes into docs/performance.md."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.load import Round
from benchmarks.open_loop import OpenLoop
from benchmarks.plot import Bar, bars

DOCS = Path(__file__).parents[1] / "docs" / "performance.md"
PLOT = DOCS.with_suffix(".svg")
COLUMNS = ("case", "per second", "of the floor", "p50 ms", "p99 ms", "CPU µs each", "of it loop", "errors")


class Store(NamedTuple):
    """What was measured on a store of one size. `floors` names the floor of each case, "" for a floor."""

    rows: int
    bytes_per_row: float
    filled_s: float
    resident_mb: float
    cases: dict[str, Round]
    floors: dict[str, str]
    opened: OpenLoop

    def plain(self) -> dict[str, Any]:
        """As JSON keeps it."""
        cases = {name: case._asdict() for name, case in self.cases.items()}
        return {**self._asdict(), "cases": cases, "opened": self.opened._asdict()}

    def table(self) -> Iterator[tuple[str, ...]]:
        """A line per case, in `COLUMNS`."""
        for name, case in self.cases.items():
            floor = self.floors[name]
            yield (
                name,
                f"{case.rate:,.0f}",
                f"{case.rate / self.cases[floor].rate:.2f}" if floor else "1",
                f"{case.p50_ms:.1f}",
                f"{case.p99_ms:.1f}",
                f"{case.cpu_us:.0f}",
                f"{case.loop_us:.0f}",
                f"{case.errors:.0f}",
            )

    def sentence(self) -> str:
        """The figures that are not of a case."""
        opened = self.opened
        return (
            f"{self.rows:,} reactions: {self.bytes_per_row:.0f} bytes on disk each after import "
            f"({self.rows / self.filled_s:,.0f} reactions/s with start-up), {self.resident_mb:.0f} MB resident "
            f"after the load. Open loop at 70 % of the uniform peak ({opened.offered:,.0f} taps/s offered, "
            f"{opened.answered:,.0f} answered): p50 {opened.p50_ms:.1f} ms, p99 {opened.p99_ms:.1f} ms, "
            f"{opened.errors} errors."
        )


def print_store(console: Console, store: Store) -> None:
    """The table of one store."""
    table = Table(*COLUMNS, title=f"{store.rows:,} stored reactions")
    for line in store.table():
        table.add_row(*line)
    console.print(table)
    console.print(store.sentence())


def _plot(stores: list[Store]) -> str:
    """Every case as a share of its floor, one bar for each size of the store."""
    cases = [name for name, floor in stores[0].floors.items() if floor]
    groups = {
        name: [
            Bar(f"{store.rows:,}", store.cases[name].rate / store.cases[store.floors[name]].rate)
            for store in stores
        ]
        for name in cases
    }
    return bars("Requests per second as a share of the floor, by stored reactions", groups, line=1.0)


def write_docs(machine: str, stores: list[Store]) -> None:
    """The page with all tables, and its plot."""
    PLOT.write_text(_plot(stores))
    parts = [
        "# Performance",
        "Measured by `make bench ARGS=--full`, which writes this page. The floor is the same server with the same "
        "settings that reads the body and answers constant bytes of the same size, without authentication, rules or "
        "disk. Ratios compare within one run; absolute figures belong to the machine.",
        machine,
        f"![Throughput as a share of the floor]({PLOT.name})",
        "“Of it loop” is what the event loop used of the CPU time; the rest is the server's own threads and, for taps, "
        "the writer.",
    ]
    for store in stores:
        lines = [
            "| " + " | ".join(line) + " |" for line in (COLUMNS, ("---",) * len(COLUMNS), *store.table())
        ]
        parts += [f"## {store.rows:,} stored reactions", "\n".join(lines), store.sentence()]
    DOCS.write_text("\n\n".join(parts) + "\n")
