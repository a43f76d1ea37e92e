"""The end of many windows at once, in the cluster: from Redis, through the inbox, to a webhook receiver.

The notifier and its stores are put together as in `plaudit worker notify`, but its events are handed over instead of
read from Kafka, and its clock can be set forward. The receiver (HTTP/2 with TLS) is a process of its own. It is done a
few times, each with targets and owners of its own: the first time Java compiles what it has never done before.
"""

import asyncio
import base64
import os
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.cluster import service
from benchmarks.cluster.engines import Place
from benchmarks.cluster.processes import Meter, group
from benchmarks.notify import KEY, Late, receiver
from plaudit.bootstrap.engines import Engines, engines
from plaudit.bootstrap.letters import notifier
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Plan, Rules, Tap, Verb
from plaudit.domain.events import Committed, committed, decode
from plaudit.ports.cells import CellKey
from plaudit.services.alter import Alter
from plaudit.services.directory import CellDirectory
from plaudit.services.known import Known
from plaudit.services.notifier import SILENT_S
from plaudit.services.propose import Open, Proposer, Settled
from plaudit.settings import Settings
from plaudit.telemetry import Metrics

DUE = 10_000
AT_ONCE = 64
PER_POLL = 500
TRIES = 20
WITHIN_S = 120
ROUNDS = 4


async def _stored(proposer: Proposer, key: CellKey, tap: Tap) -> Plan | None:
    """The commit of this tap; None where the store was too busy to say which it was."""
    for _ in range(TRIES):
        result: object = await proposer.attempt(key, [tap])
        if isinstance(result, Open):
            result = await proposer.settle(key, result)
        if isinstance(result, Settled):
            return result.wrote
        await asyncio.sleep(0.1)
    return None


async def _tapped(held: Engines, clock: Late, targets: Sequence[str]) -> list[Committed]:
    """Register these targets, each with an owner, and react once on each; the events of that."""
    alter = Alter(held.cells, held.publish, clock, random.SystemRandom())
    directory = CellDirectory(alter, held.users, held.users, clock)
    proposer = Proposer(held.cells, Known(), clock, Rules(Settings().catalogue()))
    left, events = list(targets), list[Committed]()

    async def some() -> None:
        while left:
            target = left.pop()
            registration = Registration(type="post", owner=f"owner-of-{target}", title="A post")
            await directory.register(target, registration)
            tap = Tap(f"friend-of-{target}", Verb.SET, 1, random.randbytes(8))
            plan = await _stored(proposer, CellKey(target), tap)
            if plan is None:
                continue
            events.append(
                decode(committed(target, plan.header, "tap", plan.transitions, registration=registration))
            )

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    await alter.drain()
    return events


def _meter(place: Place) -> Meter:
    stores = {"Cassandra": [place.cassandra_pid], "Redis": place.redis_pids, "Kafka": [place.kafka_pid]}
    return Meter({**stores, "receiver": group(os.getpid())})


def _count(tally: Path) -> int:
    return int(tally.read_text() or 0) if tally.exists() else 0


async def _measure(place: Place, url: str, authority: Path, tally: Path) -> dict[str, Any]:
    settings = Settings(
        **service.settings(place, "windows"),
        webhook_url=url,
        webhook_secrets=["whsec_" + base64.b64encode(KEY).decode()],
        push_ca=authority,
        push_private_addresses=True,
    )
    clock, run = Late(), f"{time.time():.0f}"
    async with engines(settings, clock) as held:
        alter = Alter(held.cells, held.publish, clock, random.SystemRandom())
        directory = CellDirectory(alter, held.users, held.users, clock)
        events = await _tapped(held, clock, [f"due:{run}:{n}" for n in range(DUE)])
        async with notifier(settings, held, directory, clock, Metrics()) as handler:
            began_s, cpu_s = time.perf_counter(), time.process_time()
            for first in range(0, len(events), PER_POLL):
                await handler.handle(events[first : first + PER_POLL])
            followed_s, followed_cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
            # A window ends 30 s after its first tap, so it has long been known by then that no old events are read.
            await asyncio.sleep(SILENT_S)
            clock.ahead_us += 40_000_000  # past every window's end, and the notifier's own pause before it
            meter, began_s, cpu_s = _meter(place), time.perf_counter(), time.process_time()
            due = len(events) // 100 * 100  # the receiver says every hundred
            while (count := _count(tally)) < due:
                assert time.perf_counter() - began_s < WITHIN_S, f"{count} of {due} after {WITHIN_S} s"
                await asyncio.sleep(0.02)
            handed_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
            return {
                "due": due,
                "handed_over_s": handed_s,
                "cpu_us": {"notifier": cpu_s / due * 1e6, **meter.each_us(due)},
                "followed_per_s": len(events) / followed_s,
                "followed_us": followed_cpu_s / len(events) * 1e6,
                "elsewhere": meter.elsewhere(),
            }


def _round(place: Place) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(dir=place.folder) as name,
        receiver(Path(name)) as (url, authorities, tally),
    ):
        authority = Path(name, "ca.pem")
        authority.write_bytes(authorities)
        return uvloop.run(_measure(place, url, authority, tally))


def measure(place: Place) -> dict[str, dict[str, Any]]:
    """Ten thousand windows, each with a message, end at once: the last round, and how long each of them took."""
    service.migrate(place)
    rounds = [_round(place) for _ in range(ROUNDS)]
    return {"windows": {**rounds[-1], "rounds_s": [each["handed_over_s"] for each in rounds]}}
