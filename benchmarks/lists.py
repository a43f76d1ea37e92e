"""`python -m benchmarks.lists`: what the lists derived from events cost on real engines, client included.

One Cassandra node with production JVM flags (the full compiler), warmed up, and a Redis Cluster. First how fast the
indexer takes events in, with own state and without; then pages of a target with 300,000 reactors. Prints tables and
keeps them with hardware and versions in benchmarks/results/lists.json.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.cells import cpu_s
from plaudit.adapters.cassandra import CassandraConfig, CassandraIndex, CassandraLists, Session, migrate
from plaudit.adapters.redis import RedisConfig, RedisIndexed, RedisMine
from plaudit.adapters.redis import Session as RedisSession
from plaudit.adapters.system import SystemClock
from plaudit.domain.cell import Transition
from plaudit.domain.events import Committed
from plaudit.ports.own import Change, State
from plaudit.services.index import IndexReactions
from tests.engines.cassandra import Cassandra
from tests.engines.jars import CACHE, CASSANDRA
from tests.engines.redis import Redis

RESULTS = Path(__file__).parent / "results" / "lists.json"
HEAP = "1g"
REACTORS = 300_000
REACTIONS = range(1, 7)
PAGE = 21  # 20, and one that tells whether there are more
START_US = 1_760_000_000_000_000

_numbers = count()
Batch = list[Committed]
Take = Callable[[Batch], Awaitable[None]]


class Taken(NamedTuple):
    """How events were taken in: transitions per second, CPU in microseconds of each."""

    name: str
    transitions: float
    client_us: float
    cassandra_us: float
    redis_us: float


class Servers(NamedTuple):
    """Whose CPU is counted."""

    cassandra: Cassandra
    redis: Redis

    def cpu_s(self) -> tuple[float, float, float]:
        """Ours, Cassandra's, Redis's."""
        redis = sum(cpu_s(node.pid) for node in self.redis.nodes)
        return time.process_time(), cpu_s(self.cassandra.nodes[0].pid), redis


class Pages(NamedTuple):
    """How long pages took, in milliseconds."""

    name: str
    p50_ms: float
    p99_ms: float
    worst_ms: float


def event(target: str, *transitions: Transition) -> Committed:
    return Committed(target, 0, "post", 1, "tap", 1, (), 0, 0, (), transitions)


def crowd() -> Iterator[Batch]:
    """New users on one target: four commits of 128."""
    while True:
        yield [event("viral", *(_new(_number()) for _ in range(128))) for _ in range(4)]


def uniform() -> Iterator[Batch]:
    """500 commits of one tap, each of another user on another target: 60 % new, 25 % removals, 15 % switches."""
    draw = random.Random(1)
    while True:
        yield [event(f"t{draw.randrange(1_000_000)}", _some(draw, _number())) for _ in range(500)]


def restless() -> Iterator[Batch]:
    """64 users who react, switch and remove, all within one batch."""
    while True:
        n = [_number() for _ in range(64)]
        steps = ((0, 1), (1, 2), (2, 0), (0, 2))
        yield [
            event("restless", *(Transition(f"u{i}", a, b, START_US + i, START_US + i + step) for i in n))
            for step, (a, b) in enumerate(steps)
        ]


def _number() -> int:
    return next(_numbers)


def _new(n: int) -> Transition:
    return Transition(f"user{n}", 0, n % 6 + 1, START_US + n, START_US + n)


def _some(draw: random.Random, n: int) -> Transition:
    before, after = draw.choices(((0, 1), (1, 0), (1, 2)), (60, 25, 15))[0]
    return Transition(f"user{n}", before, after, START_US + n, START_US + n + bool(before))


async def take(servers: Servers, apply: Take, name: str, batches: Iterator[Batch], seconds: float) -> Taken:
    """One batch after the other, as a consumer hands them over."""
    transitions = 0
    before, began_s = servers.cpu_s(), time.perf_counter()
    while time.perf_counter() - began_s < seconds:
        batch = next(batches)
        await apply(batch)
        transitions += sum(len(each.transitions) for each in batch)
    elapsed_s = time.perf_counter() - began_s
    used_s = [now - then for now, then in zip(servers.cpu_s(), before, strict=True)]
    return Taken(name, transitions / elapsed_s, *(each * 1e6 / transitions for each in used_s))


async def fill(index: CassandraIndex, target: str) -> None:
    """That many reactors, one a microsecond."""
    for start in range(0, REACTORS, 4000):
        await index.apply(
            [event(target, *(_new(n) for n in range(at, at + 500))) for at in range(start, start + 4000, 500)]
        )


async def pages(name: str, page: Callable[[], Awaitable[int]], times: int) -> Pages:
    took = []
    for _ in range(times):
        began_s = time.perf_counter()
        assert await page() == PAGE
        took.append((time.perf_counter() - began_s) * 1000)
    took.sort()
    return Pages(name, took[len(took) // 2], took[len(took) * 99 // 100], took[-1])


async def read(lists: CassandraLists, target: str, times: int) -> list[Pages]:
    """Pages of one target, over all reactions and of one."""
    draw = random.Random(2)

    async def first() -> int:
        return len(await lists.reactors(target, REACTIONS, None, PAGE))

    async def deep() -> int:
        before = START_US + draw.randrange(1000, REACTORS), "z"
        return len(await lists.reactors(target, REACTIONS, before, PAGE))

    async def deep_of_one() -> int:
        before = START_US + draw.randrange(1000, REACTORS), "z"
        return len(await lists.reactors(target, [1], before, PAGE))

    await pages("warm-up", deep, times)
    return [
        await pages("first page, 6 reactions", first, times),
        await pages("anywhere, 6 reactions", deep, times),
        await pages("anywhere, 1 reaction", deep_of_one, times),
    ]


async def measure(
    servers: Servers, seconds: float, warm_s: float, console: Console
) -> tuple[list[Taken], list[Pages]]:
    """All cases, in one run."""
    cassandra, clock = servers.cassandra, SystemClock()
    config = CassandraConfig(cassandra.hosts, cassandra.port, replication=1)
    nodes = [f"127.0.0.1:{port}" for port in servers.redis.ports]
    async with Session(config) as session, RedisSession(RedisConfig(nodes)) as redis:
        await migrate(session)
        async with CassandraLists(session) as lists, CassandraIndex(session) as index:
            states = RedisMine(redis, clock)
            indexer = IndexReactions(index, states, RedisIndexed(redis, 1), clock)

            async def tapped(batch: Batch) -> None:
                """As the API tells it, so that every user has a hash."""
                changes = [
                    Change(t.user, each.target, State(t.after, t.at))
                    for each in batch
                    for t in each.transitions
                ]
                await states.note(changes, create=True)

            console.print(f"warming up for {warm_s:.0f} s")
            await take(servers, index.apply, "warm-up", uniform(), warm_s / 2)
            await take(servers, index.apply, "warm-up", crowd(), warm_s / 2)
            taken = [
                await take(servers, index.apply, "lists: one viral target", crowd(), seconds),
                await take(servers, index.apply, "lists: uniform", uniform(), seconds),
                await take(servers, index.apply, "lists: 4 changes of mind in a batch", restless(), seconds),
                await take(servers, indexer.handle, "indexer: uniform", uniform(), seconds),
                await take(servers, tapped, "own state alone: uniform", uniform(), seconds),
            ]
            await fill(index, "large")
            return taken, await read(lists, "large", 500)


def main() -> None:
    """Start a node, measure, stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--warm-s", type=float, default=60)
    arguments = parser.parse_args()
    console = Console()
    (CACHE / "runs").mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix="bench-", dir=CACHE / "runs"))
    cassandra, redis = Cassandra(folder / "cassandra", 1, full_jit=True, heap=HEAP), Redis(folder / "redis")
    try:
        cassandra.start()
        redis.start()
        servers = Servers(cassandra, redis)
        taken, read_ = asyncio.run(measure(servers, arguments.seconds, arguments.warm_s, console))
    finally:
        cassandra.stop()
        redis.stop()
        shutil.rmtree(folder, ignore_errors=True)
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, shared by client and Cassandra",
        "versions": {
            "cassandra": CASSANDRA,
            "acsylla": version("acsylla"),
            "python": platform.python_version(),
        },
        "heap": HEAP,
        "seconds": arguments.seconds,
        "warm_s": arguments.warm_s,
        "reactors": REACTORS,
    }
    table = Table("events", "transitions/s", "client CPU µs each", "Cassandra", "Redis", box=None)
    for t in taken:
        numbers = (t.transitions, t.client_us, t.cassandra_us, t.redis_us)
        table.add_row(t.name, *(f"{number:,.0f}" for number in numbers))
    console.print(table)
    table = Table(f"pages of {REACTORS:,} reactors", "p50 ms", "p99 ms", "worst", box=None)
    for p in read_:
        table.add_row(p.name, f"{p.p50_ms:.1f}", f"{p.p99_ms:.1f}", f"{p.worst_ms:.1f}")
    console.print(table)
    found = {"taken": [t._asdict() for t in taken], "pages": [p._asdict() for p in read_]}
    RESULTS.write_text(json.dumps({**about, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
