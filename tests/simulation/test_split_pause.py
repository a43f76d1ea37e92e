"""What a split costs who taps meanwhile, where the store has time for everybody: nobody is refused or waits for long.

tests/faults/splits.py does it on real engines, where whoever else uses the machine is measured too.
"""

import asyncio
from itertools import pairwise
from random import Random

import pytest

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Rules, Tap, Verb
from plaudit.domain.lanes import LANES
from plaudit.ports.cells import CellKey
from plaudit.services.alter import Alter
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.propose import Proposer
from plaudit.services.publish import Publish
from plaudit.services.split import Split
from plaudit.telemetry import Metrics
from tests.simulation.log import Away, SimulatedLog
from tests.simulation.loop import run
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.simulation.world import ProcessClock
from tests.support.totals import NoCounters

PROCESSES, USERS, OTHERS = 2, 200, 5
PER_S, SECONDS, SPLIT_AT_S = 100.0, 8.0, 3.0
STORE_S = 0.02  # the way to the store and back takes as long on average, a tap two or three of them


async def pause_s(seed: int) -> float:
    """Taps at a steady pace, half of them on one target, each through any process; one of these splits it. The longest
    time around that in which none on it is answered.
    """
    random, store = Random(seed), SimulatedStore()
    log, loop = SimulatedLog(Random(seed), Away()), asyncio.get_running_loop()
    committers, splits = [], []
    for _ in range(PROCESSES):
        clock = ProcessClock(Random(random.random()))
        clock.ahead_us = 0
        cells = SimulatedCells(store, Random(random.random()), Faults(delay_s=STORE_S))
        near = NearCache(NoCounters(), Catalogue(), entries=100, public=True)
        publish = Publish(log, log, cells, clock)
        proposer = Proposer(cells, Known(), clock, Rules(Catalogue()))
        chance = Random(random.random())
        committers.append(CellCommitter(proposer, near, clock, Metrics(), chance, publish))
        splits.append(Split(Alter(cells, publish, clock, chance), LANES))
    answered: list[float] = []

    async def tap(n: int) -> None:
        target = "t" if random.random() < 0.5 else f"other{random.randrange(OTHERS)}"
        tap = Tap(f"u{random.randrange(USERS)}", Verb.TOGGLE, 1 + n % 6, n.to_bytes(8, "big"))
        await random.choice(committers).submit(target, tap)  # raises where it is refused
        if target == "t":
            answered.append(loop.time())

    async with asyncio.TaskGroup() as group:
        loop.call_at(SPLIT_AT_S, lambda: group.create_task(splits[0].split("t")))
        for n in range(int(SECONDS * PER_S)):
            group.create_task(tap(n))
            await asyncio.sleep(random.expovariate(PER_S))
    assert store.states(CellKey("t"))[-1].header.lanes == LANES
    around = [at_s for at_s in answered if SPLIT_AT_S - 0.5 < at_s < SPLIT_AT_S + 3]
    return max(b - a for a, b in pairwise(around))


@pytest.mark.parametrize("seed", range(10))
def test_a_split_refuses_nobody_and_keeps_nobody_waiting(seed: int) -> None:
    assert run(pause_s(seed)) < 0.25
