"""`make bench-routing`: one target, split over lanes and not, through nginx and three API processes.

`python -m benchmarks.cluster.routed` starts the engines, fills three targets, and measures, in five minutes; with
`--on-running` it does so on those of `make bench-cluster ARGS=--up`, once. Results go to
benchmarks/results/routing.json and docs/owner-routing.md.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.cluster import fill, mix, routed_report
from benchmarks.cluster.engines import Place, engines, running
from benchmarks.cluster.processes import Meter
from benchmarks.cluster.service import PLAUDIT, api, environment, migrate, token, workers
from benchmarks.load import Server, wrk
from plaudit.adapters.cassandra import Session
from plaudit.adapters.cassandra import migrate as create
from plaudit.domain.lanes import lane_of, route
from tests.support.nginx import Nginx

APIS = 3
ROWS = 100_000  # stored in each target
TOUCHED = 16_384  # users who tap on, after their first tap in their lane
ROUNDS, SECONDS, WARM_S, TOUCH_S = 2, 12, 3, 5
MANY, FEWER = 1024, 256
ONE, EIGHT, UNROUTED, SIXTY_FOUR = "unsplit", "split-8", "split-8-unrouted", "split-64"
COUNTERS = ("plaudit_commits_total", "plaudit_commits_refused_total")

Found = dict[str, dict[str, Any]]


class Site(NamedTuple):
    """nginx, the API processes behind it, and the workers."""

    place: Place
    nginx: Nginx
    apis: list[Server]
    working: Mapping[str, Server]

    def meter(self) -> Meter:
        """What every process uses."""
        return Meter(
            {
                "nginx": self.nginx.pids,
                "API": [each.pid for each in self.apis],
                "Cassandra": [self.place.cassandra_pid],
                "Kafka": [self.place.kafka_pid],
                "Redis": self.place.redis_pids,
                "workers": [each.pid for each in self.working.values()],
            }
        )

    def commits(self) -> list[float]:
        """`COUNTERS`, of all API processes together."""
        sums = [0.0] * len(COUNTERS)
        for each in self.apis:
            page = urllib.request.urlopen(f"http://127.0.0.1:{each.port}/metrics", timeout=10).read().decode()
            for place, name in enumerate(COUNTERS):
                found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
                if found is None:
                    raise RuntimeError(f"no metric {name}")
                sums[place] += float(found[1])
        return sums


class Taps:
    """The taps on one target: each user in turn, again and again, as they go on over the cases."""

    def __init__(self, site: Site, target: str, lanes: int, users: int = TOUCHED, round_: int = 1) -> None:
        self._site = site
        self._target = target
        self._lanes = lanes
        self._users = users
        self._round = round_
        self.sent = 0

    def measure(self, connections: int, seconds: int, *, routed: bool = True) -> dict[str, Any]:
        """Send for so long. Rates per second, latencies in milliseconds, CPU in microseconds per tap."""
        meter, before = self._site.meter(), self._site.commits()
        taps, duration_us, broken, full, wrong, p50_us, p99_us = self._wrk(
            connections, seconds, routed=routed
        )
        commits, refused = (now - was for now, was in zip(self._site.commits(), before, strict=True))
        stored = taps - full - wrong
        self.sent += taps + connections
        return {
            "seconds": duration_us / 1e6,
            "taps": stored,
            "p50_ms": p50_us / 1e3,
            "p99_ms": p99_us / 1e3,
            "full": full,
            "wrong": broken + wrong,
            "commits": commits,
            "refused": refused,
            "cpu_us": meter.each_us(stored),
            "elsewhere": meter.elsewhere(),
        }

    def _wrk(self, connections: int, seconds: int, *, routed: bool) -> list[int]:
        env = {
            "TOKEN": token(),
            "TARGET": self._target,
            "LANES": self._lanes,
            "ROUTED": int(routed),
            "USERS": self._users,
            "START": self.sent,
            "ROUND": self._round,
        }
        url = self._site.nginx.url
        return wrk(url, "cluster/routed.lua", connections=connections, seconds=seconds, env=env, timeout_s=12)


def together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The rounds of a case as one."""
    sums: dict[str, Any] = {
        name: sum(part[name] for part in parts)
        for name in ("seconds", "taps", "full", "wrong", "commits", "refused")
    }
    proposals = sums["commits"] + sums["refused"]
    return {
        **sums,
        "rate": sums["taps"] / sums["seconds"],
        "rates": [part["taps"] / part["seconds"] for part in parts],
        "p50_ms": statistics.median(part["p50_ms"] for part in parts),
        "p99_ms": max(part["p99_ms"] for part in parts),
        "refused_share": sums["refused"] / max(1.0, proposals),
        "taps_per_commit": sums["taps"] / max(1.0, sums["commits"]),
        "full_share": sums["full"] / max(1, sums["taps"] + sums["full"]),
        "elsewhere": max(part["elsewhere"] for part in parts),
        "cpu_us": {who: statistics.mean(part["cpu_us"][who] for part in parts) for who in parts[0]["cpu_us"]},
    }


def cells() -> Iterator[fill.Cell]:
    """What is stored at first."""
    for target in (ONE, EIGHT, UNROUTED, SIXTY_FOUR):
        yield fill.Cell(target, [mix.stored_viral(user) for user in range(ROWS)])


async def _fill(place: Place) -> None:
    async with Session(place.config) as session:
        await create(session)
        await fill.fill(session, lambda _: None, cells)


def split(site: Site, target: str, lanes: int) -> None:
    """Split a target as an operator does, and see that users are told the routes that the load will send."""
    env = {**environment(site.place, "api"), "PLAUDIT_LANES": str(lanes)}
    subprocess.run(
        [PLAUDIT, "split", target], env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL
    )
    for number in range(4):
        user = f"u{number:09d}"
        wanted = route(target, lane_of(user, lanes))
        headers = {
            "Authorization": f"Bearer {token()}",
            "Plaudit-User": user,
            "Content-Type": "application/json",
        }
        body = json.dumps({"target_id": target, "reaction_type": "angry"}).encode()
        url = f"{site.nginx.url}/api/v1/reactions"
        told = urllib.request.urlopen(urllib.request.Request(url, body, headers, method="PUT"), timeout=30)
        if (found := json.loads(told.read())["route"]) != wanted:
            raise RuntimeError(f"{user} is told {found}, not {wanted}")


@contextmanager
def service(place: Place) -> Iterator[Site]:
    """Three API processes behind nginx, and every worker."""
    migrate(place)
    with ExitStack() as stack:
        working = stack.enter_context(workers(place))
        apis = [stack.enter_context(api(place, name=f"api-{number}")) for number in range(APIS)]
        nginx = Nginx(Path(place.folder, "nginx"), [each.port for each in apis])
        yield Site(place, stack.enter_context(nginx), apis, working)


def touch(taps: Taps, connections: int) -> dict[str, Any]:
    """Until every user has tapped once."""
    parts = []
    while taps.sent < TOUCHED:
        parts.append(taps.measure(connections, TOUCH_S))
    return together(parts)


def measured(site: Site) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every case as it is known. Those that are compared take turns."""
    # A target each: whoever loses to another process forgets what it knew of the cell, and reads it all again.
    one, eight, unrouted = Taps(site, ONE, 0), Taps(site, EIGHT, 8), Taps(site, UNROUTED, 8)
    touch(one, MANY)
    split(site, EIGHT, 8)
    yield f"8 lanes, first touches, {MANY}", touch(eight, MANY)
    split(site, UNROUTED, 8)
    touch(unrouted, MANY)
    cases = {
        f"unsplit, {MANY}": (one, True),
        f"8 lanes, {MANY}": (eight, True),
        f"8 lanes without routing, {MANY}": (unrouted, False),
    }
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, (taps, routed) in cases.items():
            taps.measure(MANY, WARM_S, routed=routed)
            rounds[name].append(taps.measure(MANY, SECONDS, routed=routed))
    for name, parts in rounds.items():
        yield name, together(parts)
    one.measure(FEWER, WARM_S)
    yield f"unsplit, {FEWER}", together([one.measure(FEWER, SECONDS)])
    split(site, SIXTY_FOUR, 64)
    first = Taps(site, SIXTY_FOUR, 64, users=ROWS)
    parts = [first.measure(FEWER, TOUCH_S)]
    while first.sent < TOUCHED:
        parts.append(first.measure(FEWER, TOUCH_S))
    yield f"64 lanes, first touches, {FEWER}", together(parts)
    known = Taps(site, SIXTY_FOUR, 64, round_=2)
    known.measure(FEWER, WARM_S)
    yield f"64 lanes, {FEWER}", together([known.measure(FEWER, SECONDS)])


def run(console: Console, place: Place) -> None:
    """Fill, measure, keep."""
    asyncio.run(_fill(place))
    with service(place) as site:
        found: Found = {}
        for name, case in measured(site):
            console.print(f"{name}: {case['rate']:,.0f} taps/s, {case['refused_share']:.1%} refused")
            found[name] = case
    routed_report.keep(console, found)


def main() -> None:
    """Start, fill, measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--on-running", action="store_true", help="on engines that are up, and were not used for this"
    )
    options = parser.parse_args()
    console = Console(width=140)
    if options.on_running:
        run(console, running())
        return
    with engines() as place:
        run(console, place)


if __name__ == "__main__":
    main()
