"""`python -m benchmarks.cluster.cold`: full read load on a Redis that is empty, is emptied, or was warmed before.

On real engines and one API process, in three minutes. Results go to benchmarks/results/overload.json and
docs/overload.md.
"""

import asyncio
import os
import random
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any
from urllib.request import urlopen

from rich.console import Console

from benchmarks.cluster import overload_page
from benchmarks.cluster.engines import Place, engines
from benchmarks.cluster.service import PLAUDIT, api, environment, migrate
from benchmarks.load import Server
from benchmarks.open_loop import Answered, Offered, offer
from plaudit.adapters.cassandra import CassandraCells, CassandraCounts, Session
from plaudit.adapters.system import SystemClock
from plaudit.domain.cell import Header
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.ledger import Target

TARGETS, PER_CALL, CALLS_PER_S = 10_000, 20, 150
READ_S, EMPTIED_AFTER_S = 36, 18
FIRST_S = 3  # after Redis was emptied
AT_ONCE = 64
CONNECTIONS = 128
WARM_PER_S = 5_000
_REFILLS = re.compile(rb"^plaudit_refills_total ([0-9.e+]+)$", re.MULTILINE)

Found = dict[str, Any]


def name(number: int) -> str:
    """The id of a target."""
    return f"cold{number:06d}"


async def fill(place: Place) -> None:
    """Headers in the ledger, and the lines that a flusher would have written of them."""
    at = SystemClock().now_us()
    header = Header(1, "post", (3, 1), 4, at, at, (("u1", 1), ("u2", 2)))
    room = asyncio.Semaphore(AT_ONCE)
    async with (
        Session(place.config) as session,
        CassandraCells(session) as cells,
        CassandraCounts(session) as counts,
    ):

        async def one(number: int) -> None:
            async with room:
                await cells.propose(CellKey(name(number)), Proposal(0, header, {}))

        await asyncio.gather(*map(one, range(TARGETS)))
        await counts.put({name(number): Target(header) for number in range(TARGETS)})


def read(port: int, seconds: float) -> Offered:
    """Counts of some targets at random, from a process of its own."""
    chance = random.Random(1)
    asked = [
        b"GET /api/v1/reactions/counts?target_ids=%b HTTP/1.1\r\nHost: bench\r\n\r\n"
        % ",".join(map(name, chance.sample(range(TARGETS), PER_CALL))).encode()
        for _ in range(4_000)
    ]
    return offer(port, CALLS_PER_S, seconds, CONNECTIONS, asked)


def masters(place: Place) -> list[str]:
    """The ports of the nodes that hold the data."""
    ports = [address.rpartition(":")[2] for address in place.redis]
    return [port for port in ports if "role:master" in ask(port, "INFO", "replication")]


def ask(port: str, *command: str) -> str:
    """What a node of Redis says."""
    return subprocess.run(
        ["redis-cli", "-p", port, *command], capture_output=True, text=True, check=True, timeout=10
    ).stdout


def refills(server: Server) -> float:
    """How many targets the process has read from the ledger because Redis did not have them."""
    page = urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30).read()
    return float(_REFILLS.search(page)[1])  # type: ignore[index] # it is always there


class Kept:
    """Looks how much Redis keeps, and when that was nearly all."""

    def __init__(self, place: Place) -> None:
        self._ports = masters(place)

    def empty(self) -> float:
        """Empty it; when that was (perf_counter seconds)."""
        for port in self._ports:
            ask(port, "FLUSHALL")
        return time.perf_counter()

    def whole(self, since_s: float, within_s: float) -> float | None:
        """Seconds from then until 99 % of all targets are there; None: they were not in time."""
        while time.perf_counter() < since_s + within_s:
            if sum(int(ask(port, "DBSIZE")) for port in self._ports) >= 0.99 * TARGETS:
                return time.perf_counter() - since_s
            time.sleep(0.1)
        return None


def figures(answers: Iterable[Answered], from_s: float, to_s: float) -> Found:
    """Of the calls that were due in this time; milliseconds of those that were answered with counts."""
    due = [answer for answer in answers if from_s <= answer.due_s < to_s]
    latencies = sorted(answer.latency_s * 1e3 for answer in due if answer.status == 200)
    refused = len(due) - len(latencies)
    return {
        "calls": len(due),
        "refused": refused,
        "p50_ms": latencies[len(latencies) // 2],
        "p99_ms": latencies[int(len(latencies) * 0.99)],
    }


def measure(place: Place, pool: ProcessPoolExecutor) -> Found:
    """Start on an empty Redis; empty it meanwhile; warm it, and start again."""
    kept, found = Kept(place), Found()
    kept.empty()
    with api(place) as server:
        reading = pool.submit(read, server.port, READ_S)
        began_s = time.perf_counter()
        whole_s = kept.whole(began_s, EMPTIED_AFTER_S)
        time.sleep(max(0.0, began_s + EMPTIED_AFTER_S - time.perf_counter()))
        first = refills(server)
        emptied_s = kept.empty()
        again_s = kept.whole(emptied_s, READ_S - EMPTIED_AFTER_S)
        answers, unanswered = reading.result()
        second = refills(server) - first
    began_s = min(answer.due_s for answer in answers)
    warm = figures(answers, emptied_s - 5, emptied_s)
    found["warm"] = warm
    found["start-up"] = {**figures(answers, began_s, began_s + FIRST_S), "refills": first, "whole_s": whole_s}
    found["emptied"] = {
        **figures(answers, emptied_s, emptied_s + FIRST_S),
        "refills": second,
        "whole_s": again_s,
    }
    kept.empty()
    began_s = time.perf_counter()
    command = [PLAUDIT, "warm", "--per-s", str(WARM_PER_S), "--anew"]
    subprocess.run(
        command, env={**os.environ, **environment(place, "warm")}, check=True, stderr=subprocess.DEVNULL
    )
    warmed_s = time.perf_counter() - began_s
    with api(place) as server:
        answers, lost = pool.submit(read, server.port, FIRST_S + 5).result()
        began_s = min(answer.due_s for answer in answers)
        found["warmed"] = {
            **figures(answers, began_s, began_s + FIRST_S),
            "refills": refills(server),
            "whole_s": warmed_s,
        }
    return {**found, "unanswered": unanswered + lost}


@contextmanager
def _pool() -> Iterator[ProcessPoolExecutor]:
    """A process that has begun: starting one takes a second."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(int).result()
        yield pool


def main() -> None:
    """Start, fill, measure, print, keep."""
    console = Console(width=120)
    with engines() as place, _pool() as pool:
        migrate(place)
        asyncio.run(fill(place))
        overload_page.keep(console, "cold", {"targets": TARGETS, **measure(place, pool)})


if __name__ == "__main__":
    main()
