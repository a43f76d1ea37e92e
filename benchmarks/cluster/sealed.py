"""`python -m benchmarks.cluster.sealed`: what those who tap on a target notice when it is split under full load.

Three API processes behind nginx, every worker, and a target of its own for each round, with `ROWS` reactions. As many
taps as are answered come over `CONNECTIONS`, by the route that their users know: that of a target in one cell. Beside
them a few who watch tap as well, each again as soon as it is answered, and note when. In the middle the target is
split, as `plaudit split` does it. A pause is a time in which none of those who watch was answered. Prints a table, and
keeps it with hardware and versions in benchmarks/results/sealed.json. Three minutes.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.cluster import fill, mix
from benchmarks.cluster.engines import Place, engines
from benchmarks.cluster.report import keep_apart
from benchmarks.cluster.routed import Site, Taps, service
from benchmarks.cluster.service import settings as service_settings
from benchmarks.cluster.service import token
from plaudit.adapters.cassandra import Session
from plaudit.adapters.cassandra import migrate as create
from plaudit.adapters.journal import FileJournal
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import engines as engines_of
from plaudit.bootstrap.splitting import splitting
from plaudit.settings import Settings

RESULTS = Path(__file__).parents[1] / "results" / "sealed.json"
ROWS, LANES, CONNECTIONS = 100_000, 8, 256
WARM = "sealed-warm"
TARGETS = ("sealed-0", "sealed-1", "sealed-2", "sealed-3", "sealed-4")
WATCHING = 8
BEFORE_S, AFTER_S = 8, 6
AROUND_S = (
    2.0  # what is compared: so long before the command is run, and after the first answer that knew of lanes
)
COLUMNS = (
    "target",
    "taps/s in all",
    "refused",
    "longest pause before",
    "until the seal",
    "around the seal",
    "slowest tap before",
    "after",
    "elsewhere",
)


class Seen(NamedTuple):
    """One tap of somebody who watches."""

    at_s: float
    took_s: float
    status: int
    lanes: int


def watch(site: Site, target: str, number: int, until_s: float) -> list[Seen]:
    """Tap until then, each time as another user."""
    connection = HTTPConnection("127.0.0.1", site.nginx.port, timeout=30)
    seen, bearer = list[Seen](), f"Bearer {token()}"
    while (began_s := time.monotonic()) < until_s:
        headers = {
            "Authorization": bearer,
            "Plaudit-User": f"watching-{target}-{number}-{len(seen)}",
            "Plaudit-Route": target,
            "Idempotency-Key": str(uuid.uuid4()),
            "Content-Type": "application/json",
        }
        body = json.dumps({"target_id": target, "reaction_type": "wow"})
        connection.request("PUT", "/api/v1/reactions", body, headers)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        now_s = time.monotonic()
        seen.append(Seen(now_s, now_s - began_s, answer.status, told.get("counts", {}).get("lanes", 1)))
    connection.close()
    return seen


def longest_s(at_s: Iterable[float], begin_s: float, end_s: float) -> float:
    """The longest time between two of these, and the ends."""
    times = [begin_s, *sorted(at for at in at_s if begin_s < at < end_s), end_s]
    return max(b - a for a, b in pairwise(times))


async def split_at(site: Site, target: str, at_s: float) -> float:
    """Split it then, as the command does, but for its start, which takes seconds of the processor; when it began."""
    settings, clock = Settings(**service_settings(site.place, "sealed"), lanes=LANES), SystemClock()
    with FileJournal(settings.data) as journal:
        async with engines_of(settings, clock) as held, splitting(settings, held, clock, journal) as split:
            await asyncio.sleep(at_s - time.monotonic())
            began_s = time.monotonic()
            await split.split(target)
            return began_s


def measured(site: Site, target: str) -> dict[str, Any]:
    """Load, and a split in the middle of it."""
    taps = Taps(site, target, 0, users=ROWS)
    taps.measure(CONNECTIONS, 3)
    begin_s = time.monotonic()
    until_s = begin_s + BEFORE_S + AFTER_S
    with ThreadPoolExecutor(WATCHING + 2) as pool:
        load = pool.submit(taps.measure, CONNECTIONS, BEFORE_S + AFTER_S)
        splitter = pool.submit(asyncio.run, split_at(site, target, begin_s + BEFORE_S))
        watching = [pool.submit(watch, site, target, number, until_s) for number in range(WATCHING)]
        seen = [each for some in watching for each in some.result()]
        split_s, found = splitter.result(), load.result()
    good = sorted(each for each in seen if each.status == 200)
    sealed_s = min(each.at_s for each in good if each.lanes > 1)
    answered_s = [each.at_s for each in good]
    slowest = {
        name: max(each.took_s for each in good if begin <= each.at_s < end) * 1e3
        for name, begin, end in (
            ("before", split_s - AROUND_S, split_s),
            ("after", sealed_s, sealed_s + AROUND_S),
        )
    }
    return {
        "rate": found["taps"] / found["seconds"],
        "refused": found["full"] + sum(each.status == 503 for each in seen),
        "wrong": found["wrong"] + sum(each.status not in (200, 503) for each in seen),
        "watched": len(good),
        "before_ms": longest_s(answered_s, split_s - AROUND_S, split_s) * 1e3,
        "sealing_ms": longest_s(answered_s, split_s, sealed_s) * 1e3,
        "pause_ms": longest_s(answered_s, sealed_s - AROUND_S / 4, sealed_s + AROUND_S) * 1e3,
        "slowest_before_ms": slowest["before"],
        "slowest_after_ms": slowest["after"],
        "elsewhere": found["elsewhere"],
    }


def cells() -> Iterator[fill.Cell]:
    """What is stored at first."""
    for target in (WARM, *TARGETS):
        yield fill.Cell(target, [mix.stored_viral(user) for user in range(ROWS)])


async def _fill(place: Place) -> None:
    async with Session(place.config) as session:
        await create(session)
        await fill.fill(session, lambda _: None, cells)


def keep(console: Console, found: dict[str, dict[str, Any]]) -> None:
    """Print what was found, and keep it."""
    keep_apart(RESULTS, found, connections=CONNECTIONS, lanes=LANES)
    table = Table(*COLUMNS, box=None)
    for name, case in found.items():
        table.add_row(
            name,
            f"{case['rate']:,.0f}",
            f"{case['refused']}",
            *(
                f"{case[figure]:.0f} ms"
                for figure in (
                    "before_ms",
                    "sealing_ms",
                    "pause_ms",
                    "slowest_before_ms",
                    "slowest_after_ms",
                )
            ),
            f"{case['elsewhere']:.0%}",
        )
    console.print(table)


def main() -> None:
    """Start, fill, warm up, measure, print, keep."""
    console = Console(width=160)
    with engines() as place:
        asyncio.run(_fill(place))
        with service(place) as site:
            measured(site, WARM)
            keep(console, {target: measured(site, target) for target in TARGETS})


if __name__ == "__main__":
    main()
