"""What a notifier costs that follows the log while a million windows are open: CPU for each transition, and memory.

The notifier and its stores are put together as in `plaudit worker notify`, but its events are handed over instead of
read from Kafka. First one transition on every target, in random order, so that a window opens on each; then many over
all of them by Zipf's law, as commits write them, one to an event. No window ends meanwhile.
"""

import random
import time
from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from benchmarks.cluster import service
from benchmarks.cluster.engines import Place
from benchmarks.cluster.processes import Meter
from benchmarks.notify import zipf
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import engines
from plaudit.bootstrap.letters import notifier
from plaudit.bootstrap.workers import NOTIFIED_AT_ONCE
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Transition
from plaudit.domain.events import Committed, committed, decode
from plaudit.services.alter import Alter
from plaudit.services.directory import CellDirectory
from plaudit.services.notifier import Notifier
from plaudit.settings import Settings
from plaudit.telemetry import Metrics

TARGETS, TRANSITIONS = 1_000_000, 300_000
DAY_S = 24 * 3600


class Cost(NamedTuple):
    """Of each transition: microseconds of CPU of the notifier and of Redis, and of the clock."""

    notifier_us: float
    redis_us: float
    us: float


def _events(run: str, numbers: Iterable[int], seqs: "array[int]") -> Iterator[Committed]:
    """One reaction of somebody new on each of these targets, which are those of this run."""
    for i, number in enumerate(numbers):
        seqs[number] += 1
        seq, at = seqs[number], time.time_ns() // 1000
        user = f"user-{number}-{i}"
        header = Header(seq, "post", (seq,), seq, at, at, ((user, 1),))
        owned = Registration(type="post", owner=f"owner{number}")
        tap = Transition(user, 0, 1, at, at)
        yield decode(committed(f"{run}:{number}", header, "tap", [tap], registration=owned))


async def _follow(place: Place, handler: Notifier, events: Iterator[Committed]) -> Cost:
    """Hand these over. To make them is not measured."""
    count, took_s, cpu_s, meter = 0, 0.0, 0.0, Meter({"Redis": place.redis_pids})
    while some := list(islice(events, NOTIFIED_AT_ONCE)):
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        await handler.handle(some)
        took_s += time.perf_counter() - began_s
        cpu_s += time.process_time() - began_cpu_s
        count += len(some)
    return Cost(cpu_s / count * 1e6, meter.each_us(count)["Redis"], took_s / count * 1e6)


def _resident_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS:"))


def _redis_bytes(place: Place) -> int:
    """Of all masters; a replica of each holds the same."""
    return sum(map(place.redis_bytes, range(len(place.redis)))) // 2


async def _measure(place: Place) -> dict[str, Any]:
    settings = Settings(**service.settings(place, "followed"), notification_windows_s=[DAY_S])
    clock, numbers, run = SystemClock(), list(range(TARGETS)), f"post-{time.time():.0f}"
    random.Random(3).shuffle(numbers)
    more = [number - 1 for number in zipf(TARGETS, TRANSITIONS)]
    seqs = array("I", bytes(4 * TARGETS))
    async with engines(settings, clock) as held:
        alter = Alter(held.cells, held.publish, clock, random.SystemRandom())
        directory = CellDirectory(alter, held.users, held.users, clock)
        async with notifier(settings, held, directory, clock, Metrics()) as handler:
            await _follow(
                place, handler, _events("warm-up", numbers[:NOTIFIED_AT_ONCE], array("I", bytes(4 * TARGETS)))
            )
            stored, resident_mb = _redis_bytes(place), _resident_mb()
            opened = await _follow(place, handler, _events(run, numbers, seqs))
            opened_bytes, opened_mb = _redis_bytes(place) - stored, _resident_mb()
            followed = await _follow(place, handler, _events(run, more, seqs))
            return {
                "windows": TARGETS,
                "transitions": TRANSITIONS,
                "bytes_each": opened_bytes / TARGETS,
                "resident_mb": [resident_mb, opened_mb, _resident_mb()],
                "opened": opened._asdict(),
                "followed": followed._asdict(),
                "per_core": 1e6 / followed.notifier_us,
            }


def measure(place: Place) -> dict[str, dict[str, Any]]:
    """A million windows opened, and more transitions followed while they are open."""
    service.migrate(place)
    return {"followed": uvloop.run(_measure(place))}
