"""`python -m benchmarks.splits [load] [pages]`: what a split costs those who tap meanwhile; lists of a split target.

One Cassandra node with production JVM flags (the full compiler), warmed up, client included. `load`: 128 clients tap on
one target through the service's own committer, each again as soon as it is answered, and in the middle of it the target
is split over 64 lanes; with users who tapped before, and with a new user for every tap, so that each is a first touch.
The committer's limits are those of the service: what waits for two seconds is refused. `pages`: pages of a split target
whose lists are written directly, in the nine partitions of each reaction that the indexer would write them to.

Prints tables and keeps them with hardware, load and versions in benchmarks/results/splits.json.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count, pairwise
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.lists import PAGE, REACTIONS, START_US, pages
from plaudit.adapters.cassandra import CassandraCells, CassandraConfig, CassandraLists, Session, migrate
from plaudit.adapters.cassandra.index import ADD_REACTOR, LIST_BUCKETS
from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Rules, Tap, Verb
from plaudit.domain.errors import PlauditError
from plaudit.domain.lanes import LANES
from plaudit.ports.cells import CellKey
from plaudit.ports.ledger import Target
from plaudit.services.alter import Alter
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.propose import Proposer
from plaudit.services.publish import Publish
from plaudit.services.root_users import RootUsers
from plaudit.services.split import Split
from plaudit.telemetry import Metrics
from tests.engines.cassandra import Cassandra
from tests.engines.jars import CACHE, CASSANDRA

RESULTS = Path(__file__).parent / "results" / "splits.json"
HEAP = "2g"
CLIENTS = 128
ROUNDS = 2
AROUND_S = 2.0  # so long before and after a split is compared
PER_BATCH = 100
AT_ONCE = 16

_ops = count(1)


class Splitting(NamedTuple):
    """One split under load: the two seconds before it, and after it. A pause is the longest time without an answer."""

    name: str
    taps_s: float
    taps_s_after: float
    slowest_ms: float
    slowest_ms_after: float
    pause_ms: float
    pause_ms_after: float
    split_ms: float
    refused: int


class _Nobody:
    """Events go nowhere, and nobody asks for counts."""

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        return {}

    async def publish(self, key: CellKey, event: bytes) -> None:
        return None


class Crowd:
    """Clients of one process. `new`: each tap is of a user who never tapped."""

    def __init__(self, committer: CellCommitter, target: str, *, new: bool) -> None:
        self._committer = committer
        self._target = target
        self._new = new
        self._stop = False
        self.took: list[tuple[float, float]] = []  # when each tap was answered, and how long it took
        self.refused = 0

    async def tap_for(self, seconds: float) -> None:
        """Tap, all of them."""
        self._stop = False
        asyncio.get_running_loop().call_later(seconds, self._end)
        await asyncio.gather(*map(self._client, range(CLIENTS)))

    def _end(self) -> None:
        self._stop = True

    async def _client(self, n: int) -> None:
        while not self._stop:
            op = next(_ops)
            user = f"new{op}" if self._new else f"u{n}"
            began_s = time.monotonic()
            try:
                await self._committer.submit(
                    self._target, Tap(user, Verb.SET, op % 6 + 1, op.to_bytes(8, "big"))
                )
            except PlauditError:
                self.refused += 1
            now_s = time.monotonic()
            self.took.append((now_s, now_s - began_s))


async def split_under_load(session: Session, warm_s: float, console: Console) -> list[Splitting]:
    """Several splits, after one that warms up what runs."""
    clock, chance = SystemClock(), random.Random(1)
    nobody: Any = _Nobody()
    async with CassandraCells(session) as cells, RootUsers(cells, cells) as roots:
        near = NearCache(nobody, Catalogue(), entries=1000, public=True)
        proposer = Proposer(cells, Known(), clock, Rules(Catalogue()), roots=roots)
        committer = CellCommitter(proposer, near, clock, Metrics(), chance)
        alter = Alter(cells, Publish(nobody, nobody, cells, clock), clock, chance)
        split = Split(alter, LANES)

        async def one(name: str, target: str, around_s: float, *, new: bool) -> Splitting:
            crowd, moment = Crowd(committer, target, new=new), 0.0

            async def middle() -> float:
                nonlocal moment
                await asyncio.sleep(around_s)
                moment = time.monotonic()
                await split.split(target)
                return (time.monotonic() - moment) * 1000

            split_ms, _ = await asyncio.gather(middle(), crowd.tap_for(2 * around_s))
            before = [each for each in crowd.took if moment - AROUND_S < each[0] <= moment]
            after = [each for each in crowd.took if moment < each[0] <= moment + AROUND_S]
            return Splitting(
                name,
                len(before) / AROUND_S,
                len(after) / AROUND_S,
                max(s for _, s in before) * 1000,
                max(s for _, s in after) * 1000,
                _pause_ms(before),
                _pause_ms([(moment, 0.0), *after]),
                split_ms,
                crowd.refused,
            )

        console.print(f"warming up for {warm_s:.0f} s")
        await one("warm-up", "warm", warm_s / 2, new=True)
        found = [
            await one(name, f"{target}{n}", 3.0, new=new)
            for n in range(ROUNDS)
            for name, target, new in (
                ("users who tapped before", "known", False),
                ("new users only", "new", True),
            )
        ]
        await committer.drain()
        await alter.drain()
    return sorted(found, key=lambda each: each.name)


def _pause_ms(answers: Sequence[tuple[float, float]]) -> float:
    times = sorted(at for at, _ in answers)
    return max(later - sooner for sooner, later in pairwise(times)) * 1000


async def fill(session: Session, target: str, reactors: int, seconds: float) -> int:
    """That many reactors, one a microsecond, or as many as are written in time; returns how many there are.

    They are dealt out to the nine lists of each reaction in turn, so that every page has some of each.
    """
    add = await session.prepare(ADD_REACTOR)
    places = [(bucket, code) for bucket in range(LIST_BUCKETS + 1) for code in REACTIONS]
    block = PER_BATCH * len(places)
    batches = ((start, n) for start in range(0, reactors, block) for n in range(len(places)))
    ends_s, written = time.monotonic() + seconds, 0

    async def some() -> None:
        nonlocal written
        for start, place in batches:
            if time.monotonic() > ends_s:
                return
            users = range(start + place, start + block, len(places))
            await session.commit(
                [add.bind([target, *places[place], START_US + n, f"user{n}", START_US + n]) for n in users]
            )
            written += len(users)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return written


async def read(lists: CassandraLists, target: str, reactors: int, times: int) -> list[Any]:
    """Pages of it, over all reactions and of one."""
    draw = random.Random(2)

    def page(codes: Sequence[int], *, first: bool) -> Callable[[], Awaitable[int]]:
        async def of() -> int:
            before = None if first else (START_US + draw.randrange(reactors // 10, reactors), "z")
            return len(await lists.reactors(target, codes, before, PAGE, split=True))

        return of

    await pages("warm-up", page(REACTIONS, first=False), times)
    return [
        await pages("first page, 6 reactions", page(REACTIONS, first=True), times),
        await pages("anywhere, 6 reactions", page(REACTIONS, first=False), times),
        await pages("first page, 1 reaction", page([1], first=True), times),
        await pages("anywhere, 1 reaction", page([1], first=False), times),
    ]


async def measure_load(session: Session, warm_s: float, console: Console) -> dict[str, Any]:
    splits = await split_under_load(session, warm_s, console)
    table = Table(
        "64 lanes, 128 clients", "taps/s", "slowest ms", "pause ms", "split ms", "refused", box=None
    )
    for s in splits:
        table.add_row(
            s.name,
            f"{s.taps_s:,.0f} > {s.taps_s_after:,.0f}",
            f"{s.slowest_ms:.0f} > {s.slowest_ms_after:.0f}",
            f"{s.pause_ms:.0f} > {s.pause_ms_after:.0f}",
            f"{s.split_ms:.0f}",
            f"{s.refused}",
        )
    console.print(table)
    return {"warm_s": warm_s, "splits": [s._asdict() for s in splits]}


async def measure_pages(
    session: Session, wanted: int, fill_s: float, rest_s: float, console: Console
) -> dict[str, Any]:
    async with CassandraLists(session) as lists:
        began_s = time.monotonic()
        reactors = await fill(session, "large", wanted, fill_s)
        took_s = time.monotonic() - began_s
        console.print(f"{reactors:,} reactors in {took_s:.0f} s")
        await asyncio.sleep(rest_s)  # for Cassandra to compact what was written
        found = await read(lists, "large", reactors, 200)
    table = Table(f"pages of 20 of {reactors:,}", "p50 ms", "p99 ms", "worst", box=None)
    for p in found:
        table.add_row(p.name, f"{p.p50_ms:.1f}", f"{p.p99_ms:.1f}", f"{p.worst_ms:.1f}")
    console.print(table)
    return {"reactors": reactors, "rest_s": rest_s, "pages": [p._asdict() for p in found]}


async def measure(
    arguments: argparse.Namespace, cassandra: Cassandra, console: Console, keep: Callable[[str, Any], None]
) -> None:
    """What was asked for, on one node."""
    config = CassandraConfig(cassandra.hosts, cassandra.port, replication=1)
    async with Session(config) as session:
        await migrate(session)
        if "load" in arguments.what:
            keep("load", await measure_load(session, arguments.warm_s, console))
        if "pages" in arguments.what:
            some = arguments.reactors, arguments.fill_s, arguments.rest_s
            keep("pages", await measure_pages(session, *some, console))


def _keep(what: str, found: dict[str, Any]) -> None:
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, shared by client and Cassandra",
        "load_average": [round(each, 1) for each in os.getloadavg()],
        "versions": {
            "cassandra": CASSANDRA,
            "acsylla": version("acsylla"),
            "python": platform.python_version(),
        },
        "heap": HEAP,
    }
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept[what] = {**about, **found}
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


def main() -> None:
    """Start a node, measure, stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["load", "pages"])
    parser.add_argument("--warm-s", type=float, default=60)
    parser.add_argument("--reactors", type=int, default=10_000_000)
    parser.add_argument("--fill-s", type=float, default=50, help="write no longer than this")
    parser.add_argument("--rest-s", type=float, default=10)
    arguments = parser.parse_args()
    console = Console()
    (CACHE / "runs").mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix="bench-", dir=CACHE / "runs"))
    cassandra = Cassandra(folder / "cassandra", 1, full_jit=True, heap=HEAP)
    try:
        cassandra.start()
        asyncio.run(measure(arguments, cassandra, console, _keep))
    finally:
        cassandra.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
