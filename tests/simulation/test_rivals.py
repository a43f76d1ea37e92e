"""Processes that commit the same cell, because nothing sends its taps to one of them: what they waste on each other."""

import asyncio
from random import Random
from typing import NamedTuple

import pytest

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Rules, Tap, Verb
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.pace import Backoff
from plaudit.services.propose import Proposer
from plaudit.services.split import SplitHot
from plaudit.telemetry import Metrics
from tests.simulation.loop import run
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.simulation.world import ProcessClock
from tests.support.totals import NoCounters

PROCESSES, USERS, SECONDS, STORE_S = 3, 128, 20.0, 0.02


class Done(NamedTuple):
    """What was done in that time."""

    taps: int
    commits: int
    refused: int

    @property
    def proposals_each(self) -> float:
        """Proposals per tap: what it costs the store."""
        return (self.commits + self.refused) / self.taps


async def crowd(
    seed: int, users: int = USERS, astray: float = 1.0, hot: SplitHot | None = None, seconds: float = SECONDS
) -> Done:
    """Users who tap on one target all the time: so many of the taps through any process, the others through the first,
    which has `hot`."""
    random, store, metrics = Random(seed), SimulatedStore(), Metrics()
    committers: list[CellCommitter] = []
    for _ in range(PROCESSES):
        clock = ProcessClock(Random(random.random()))
        clock.ahead_us = 0
        cells = SimulatedCells(store, Random(random.random()), Faults(delay_s=STORE_S))
        near = NearCache(NoCounters(), Catalogue(), entries=100, public=True)
        proposer = Proposer(cells, Known(), clock, Rules(Catalogue()))
        first = None if committers else hot
        committers.append(CellCommitter(proposer, near, clock, metrics, Random(random.random()), hot=first))
    taps = 0

    async def user(name: str) -> None:
        nonlocal taps
        while asyncio.get_running_loop().time() < seconds:
            taps += 1
            tap = Tap(name, Verb.SET, 1 + taps % 6, taps.to_bytes(8, "big"))
            strays = astray == 1.0 or random.random() < astray
            await (random.choice(committers) if strays else committers[0]).submit("t", tap)

    await asyncio.gather(*(user(f"u{n}") for n in range(users)))
    for committer in committers:
        await committer.drain()
    return Done(taps, metrics.commits, metrics.commits_refused)


@pytest.mark.parametrize("seed", range(3))
def test_who_has_committed_leaves_others_a_turn(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a tap costs fewer proposals, and does not wait longer."""
    polite = run(crowd(seed))
    monkeypatch.setattr(Backoff, "turn_s", lambda *_: 0.0)
    rude = run(crowd(seed))
    assert polite.proposals_each < 0.9 * rude.proposals_each
    assert polite.taps > 0.95 * rude.taps
