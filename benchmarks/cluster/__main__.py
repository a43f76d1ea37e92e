"""`make bench-cluster`: the cluster profile against the plain design and PostgreSQL, on real engines of one machine.

Without arguments everything in one run, in about a quarter of an hour. `--up` starts the engines and stays;
`--pieces fill,warm,plain` then does just these on them, from another terminal, and keeps what was found beside what was
found before. Results go to benchmarks/results/cluster.json and docs/cluster-performance.md; `--page` measures nothing
and writes the page from the results that are there.
"""

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console

from benchmarks.cluster import bare, fill, followed, mix, ours, postgres, report, windows
from benchmarks.cluster.engines import Place, Unused, engines, folder_bytes, running
from benchmarks.cluster.processes import Meter
from plaudit.adapters.cassandra import CassandraCells, Session, migrate

WORKERS = (64, 256)
WARM_S, SECONDS, OURS_S = 50, 12, 60

Found = ours.Found


async def _fill(place: Place) -> Found:
    """Create the tables and fill them."""
    began_s = said_s = time.monotonic()
    written = 0

    def look(rows: int) -> None:
        nonlocal said_s, written
        written = rows
        if time.monotonic() - said_s > 10:
            said_s = time.monotonic()
            print(f"{rows:,} rows, {rows / (said_s - began_s):,.0f}/s")

    async with Session(place.config) as session:
        await migrate(session)
        await fill.fill(session, look)
    place.nodetool("flush", "plaudit")
    bytes_ = folder_bytes(Path(place.folder, "cassandra-1", "data", "plaudit"))
    return {
        "fill": {"rows": written, "seconds": time.monotonic() - began_s, "bytes_per_row": bytes_ / written}
    }


def filled(place: Place) -> Found:
    """Create the tables and fill them."""
    return asyncio.run(_fill(place))


async def _plain(place: Place, work: Iterable[tuple[mix.Spread, int, float]]) -> Found:
    """The plain design in turn: (spread, workers, seconds)."""
    found: Found = {}
    unused = Unused(place)
    async with Session(place.config) as session, CassandraCells(session) as cells:
        for spread, workers, seconds in work:
            wishes = mix.wishes(spread, unused.phase(spread), unused.viral(0, 0))
            meter = Meter({"Cassandra": [place.cassandra_pid]})
            figures = await bare.measure(cells, wishes, workers, seconds)
            elsewhere = meter.elsewhere()
            if spread == "one":
                unused.viral(0, figures.taps + figures.failed + workers)
            cpu = {"workers": figures.client_us, **meter.each_us(figures.taps)}
            found[f"plain, {spread}, {workers}"] = {
                **figures._asdict(),
                "cpu_us": cpu,
                "elsewhere": elsewhere,
            }
    return found


def warm(place: Place) -> Found:
    """Let the compilers of Java see the load for a while."""
    asyncio.run(_plain(place, [("uniform", 64, WARM_S / 2), ("uniform", 256, WARM_S / 2)]))
    return {}


def plain(place: Place) -> Found:
    """Peer (i), bare."""
    spreads: tuple[mix.Spread, ...] = ("uniform", "one")
    return asyncio.run(_plain(place, [(spread, each, SECONDS) for spread in spreads for each in WORKERS]))


def against_postgres(_: Place) -> Found:
    """Peer (ii)."""
    binaries = postgres.binaries()
    if binaries is None:
        raise SystemExit("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    found: Found = {}
    with postgres.Postgres(binaries) as server:
        server.measure("uniform", 16, 5)
        for spread in ("uniform", "one"):
            for clients in postgres.CLIENTS:
                meter = Meter({})
                figures = server.measure(spread, clients, SECONDS)
                used = figures.rate * figures.cpu_us / 1e6 / (os.cpu_count() or 1)
                found[f"PostgreSQL, {spread}, {clients}"] = {
                    **figures._asdict(),
                    "seconds": SECONDS,
                    "version": server.version,
                    "elsewhere": max(0.0, meter.elsewhere() - used),
                }
    return found


def in_place(place: Place) -> Found:
    """Peer (i), in the place of our commit."""
    return ours.taps(place, [("uniform", 0, 256, SECONDS)], plain=True)


def taps(place: Place) -> Found:
    """Ours."""
    return ours.taps(
        place,
        [
            ("uniform", 0, 256, OURS_S),
            ("one", 1, 256, OURS_S),
            ("uniform", 0, 64, SECONDS),
            ("one", 2, 64, OURS_S),
        ],
    )


def fresh(place: Place) -> Found:
    """How soon others see a tap, and what it adds to each store. Needs the peak that `taps` found."""
    return ours.fresh(place, report.rate("Plaudit, uniform, 256"))


PIECES: dict[str, Callable[[Place], Found]] = {
    "fill": filled,
    "warm": warm,
    "plain": plain,
    "postgres": against_postgres,
    "in-place": in_place,
    "taps": taps,
    "fresh": fresh,
    "reads": ours.reads,
    "windows": windows.measure,
    "followed": followed.measure,
}


def main() -> None:
    """Start, fill, measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--up", action="store_true", help="start the engines, and stay until Ctrl-C")
    parser.add_argument("--pieces", help=f"measure only these on engines that are up: {', '.join(PIECES)}")
    parser.add_argument(
        "--page", action="store_true", help="only write the page, from what was measured before"
    )
    options = parser.parse_args()
    if options.page:
        report.write_page()
        return
    console = Console(width=120)
    if options.pieces:
        for piece in options.pieces.split(","):
            report.keep(console, PIECES[piece](running()))
        return
    with engines() as place:
        if options.up:
            console.print("up")
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
            return
        for piece in PIECES.values():
            report.keep(console, piece(place))


if __name__ == "__main__":
    main()
