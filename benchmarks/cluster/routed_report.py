"""What `make bench-routing` prints, keeps, and writes into docs/owner-routing.md."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.cluster.report import FREE, Found, machine, markdown, versions
from plaudit.client import Retries

RESULTS = Path(__file__).parents[1] / "results" / "routing.json"
DOCS = Path(__file__).parents[2] / "docs" / "owner-routing.md"
TRIES = Retries().attempts
COLUMNS = (
    "case",
    "taps/s",
    "p50 ms",
    "p99 ms",
    "taps per commit",
    "refused proposals",
    "503",
    "other failures",
    "elsewhere",
    "CPU µs per tap, of each",
)
GOALS = ("what", "found", "wanted", "elsewhere", "reached")
UNSPLIT, EIGHT, UNROUTED = "unsplit, 1024", "8 lanes, 1024", "8 lanes without routing, 1024"


def keep(console: Console, found: Found) -> None:
    """Print what was found, keep it, and write the page."""
    kept = {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        "machine": machine(),
        "versions": versions(),
        "cases": found,
    }
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    for columns, lines in ((COLUMNS, _lines(found)), (GOALS, _goals(found))):
        table = Table(*columns, box=None)
        for line in lines:
            table.add_row(*line)
        console.print(table)
    DOCS.write_text(page(kept))


def _lines(cases: Found) -> Iterator[tuple[str, ...]]:
    """A line per case, in `COLUMNS`."""
    for name, case in cases.items():
        rounds = case["rates"]
        each = f" ({' and '.join(f'{rate:,.0f}' for rate in rounds)})" if len(rounds) > 1 else ""
        yield (
            name,
            f"{case['rate']:,.0f}{each}",
            f"{case['p50_ms']:,.1f}",
            f"{case['p99_ms']:,.1f}",
            f"{case['taps_per_commit']:.0f}",
            f"{case['refused_share']:.1%}",
            f"{case['full']:,} ({case['full_share']:.1%})",
            f"{case['wrong']:,}",
            f"{case['elsewhere']:.0%}",
            ", ".join(f"{who} {us:,.0f}" for who, us in case["cpu_us"].items()),
        )


def _goals(cases: Found) -> Iterator[tuple[str, ...]]:
    """A line per goal, in `GOALS`. No verdict where the machine was not free for both sides."""
    unsplit, eight, unrouted = (cases[name] for name in (UNSPLIT, EIGHT, UNROUTED))

    def line(what: str, found: str, wanted: str, *, good: bool, of: tuple[Any, ...]) -> tuple[str, ...]:
        busy = max(case["elsewhere"] for case in of)
        verdict = "not decided" if busy > FREE else "yes" if good else "no"
        return what, found, wanted, " and ".join(f"{case['elsewhere']:.0%}" for case in of), verdict

    for what, case, least in (("8 lanes", eight, 0.9), ("8 lanes without routing", unrouted, 0.5)):
        ratio = case["rate"] / unsplit["rate"]
        yield line(
            f"taps/s of {what} to unsplit",
            f"{ratio:.2f}",
            f"≥ {least}",
            good=ratio >= least,
            of=(case, unsplit),
        )
    share = eight["refused_share"]
    yield line("refused proposals of 8 lanes", f"{share:.2%}", "< 2 %", good=share < 0.02, of=(eight,))
    wrong = sum(case["wrong"] for case in cases.values())
    yield line("failures other than 503, of all cases", f"{wrong}", "0", good=not wrong, of=(unrouted,))
    left = unrouted["full_share"] ** TRIES * (unrouted["taps"] + unrouted["full"])
    yield line(
        f"taps without routing that would meet a 503 {TRIES} times in a row",
        f"{left:.2g}",
        "< 1",
        good=left < 1,
        of=(unrouted,),
    )


def page(kept: dict[str, Any]) -> str:
    """docs/owner-routing.md."""
    cases: Found = kept["cases"]
    named = ", ".join(f"{name} {which}" for name, which in kept["versions"].items())
    parts = [
        "# One target through nginx and three processes",
        "Measured by `make bench-routing`, which writes this page. Ratios mean something within one run on a machine "
        "that is free for it; absolute figures belong to the machine.",
        f"{kept['machine']}. {named}. Measured {kept['at']} UTC.",
        _WHAT,
        "## Taps",
        markdown(COLUMNS, _lines(cases)),
        "## Goals",
        markdown(GOALS, _goals(cases)),
        _GOALS,
    ]
    return "\n\n".join(parts) + "\n"


_WHAT = """\
Taps on one target from wrk, through nginx as `deploy/nginx/` configures it (one process of it) and three API
processes; every worker but the auditor is a process of its own. Four targets have the same 100,000 stored reactions.
One is left as it is, the others are split, two over 8 lanes and one over 64. Taps are PUTs that switch a stored
reaction, by users in turn, each with a key and the route that its user was told. All share the cores with whatever
loads them.

- **first touches**: each tap is its user's first since the split, so their row is read from the root and taken over.
- Else 16,384 users tap on who did that before; the same users tap on the target that is not split.
- **without routing**: the same without `Plaudit-Route`, so processes take turns.

Refused proposals: commits that lost to another process and were made again, of all that were proposed. The three cases
with 1,024 connections take turns, and each figure is of all rounds; the latency at the 99th percentile is that of the
worse round."""

_GOALS = f"""\
Nothing is decided where more than {FREE:.0%} of the machine was used elsewhere meanwhile. wrk does not repeat what was
refused, so the retry budget is reckoned: the share of 503, as often in a row as the ready-made clients try
({TRIES} times). What lanes are for is not in these figures: more commits at a time than one cell has, on more cores."""
