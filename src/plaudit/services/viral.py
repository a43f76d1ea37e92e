"""Viral: a crowd of simulated users that makes a demo target go viral, on the way that every tap takes.

Bounded: one run at a time, `TAPS` taps in a run at no more than `PEAK_PER_S` a second, and `CROWD` users in all, who
switch when their turn comes again. What a run costs is measured from the outside: how many taps a second were answered
and how long each took, and at which version the target was when.
"""

import asyncio
import logging
import math
import random
from collections import deque

import msgspec

from plaudit.domain.cell import Verb
from plaudit.domain.errors import PlauditError
from plaudit.domain.principal import Principal
from plaudit.domain.transfer import UserRecord
from plaudit.ports.clock import Clock
from plaudit.ports.transfer import Batch, Intake
from plaudit.services.background import ended
from plaudit.services.demo import GRANT
from plaudit.services.react import React

log = logging.getLogger("plaudit.demo")

TAPS = 4_000
LASTS_S = 16.0
PEAK_PER_S = 600
CROWD = 20_000
BEAT_S = 0.05
STEEP = 9.0
SLICE_S = 0.5  # what one point of the charts stands for
SLICES = 60
INTRODUCED_AT_ONCE = 500  # names told in one transaction: a few milliseconds
WEIGHTS = {"like": 34, "love": 30, "haha": 16, "wow": 14, "sad": 3, "angry": 3}
GIVEN = (
    "Ada",
    "Ben",
    "Cleo",
    "Dario",
    "Elif",
    "Femi",
    "Gus",
    "Hana",
    "Ines",
    "Jonas",
    "Kiri",
    "Leo",
    "Mina",
    "Noor",
)
FAMILY = (
    "Abe",
    "Bauer",
    "Costa",
    "Diaz",
    "Eriksen",
    "Fontaine",
    "Grant",
    "Haddad",
    "Ito",
    "Jansen",
    "Kaya",
    "Lund",
)


class Slice(msgspec.Struct):
    """Half a second of a run. Times in milliseconds; `at_ms` is when it began, on the clock of `Look.now_ms`."""

    at_ms: float
    taps: int = 0
    refused: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    version: int = 0
    """Of the target, and `version_at_ms` since when it has been there."""
    version_at_ms: float = 0.0


class Look(msgspec.Struct):
    """How a run goes: what has been tapped, and the slices from the newest run."""

    running: bool
    target: str
    taps: int
    planned: int
    now_ms: float
    slices: list[Slice]


class Viral:
    """Runs, one at a time. `reactions` are those of the catalogue that may be given."""

    def __init__(
        self,
        react: React,
        intake: Intake,
        clock: Clock,
        reactions: list[str],
        *,
        taps: int = TAPS,
        lasts_s: float = LASTS_S,
    ) -> None:
        self._react = react
        self._intake = intake
        self._clock = clock
        self._reactions = reactions
        self._planned = taps
        self._lasts_s = lasts_s
        self._weights = [WEIGHTS.get(name, 10) for name in reactions]
        self._chance = random.Random()  # noqa: S311 - a demo needs no secrecy
        self._next_fan = 0
        self._run: asyncio.Task[None] | None = None
        self._target = ""
        self._taps = 0
        self._slices: deque[Slice] = deque(maxlen=SLICES)
        self._latencies_ms: list[float] = []

    def start(self, target: str) -> bool:
        """Begin a run on this target; False if one is under way."""
        if self._run is not None and not self._run.done():
            return False
        self._target, self._taps = target, 0
        self._slices.clear()
        self._run = asyncio.create_task(self._go(target))
        return True

    async def stop(self) -> None:
        """End the run, if there is one."""
        await ended(self._run)

    def look(self) -> Look:
        """How it goes."""
        running = self._run is not None and not self._run.done()
        return Look(running, self._target, self._taps, self._planned, self._now_ms(), list(self._slices))

    async def _go(self, target: str) -> None:
        first, self._next_fan = self._next_fan, (self._next_fan + self._planned) % CROWD
        fans = [_fan((first + number) % CROWD) for number in range(self._planned)]
        await self._introduce(fans)
        under_way: set[asyncio.Task[None]] = set()
        started_s, sent = self._clock.monotonic_s(), 0
        self._begin_slice()
        try:
            while sent < self._planned:
                await asyncio.sleep(BEAT_S)
                share = (self._clock.monotonic_s() - started_s) / self._lasts_s
                due = min(round(self._planned * _due(share)), sent + int(PEAK_PER_S * BEAT_S))
                for fan in fans[sent:due]:
                    task = asyncio.create_task(self._tap(target, fan))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                sent = max(sent, due)
                if self._now_ms() - self._slices[-1].at_ms >= SLICE_S * 1000:
                    self._begin_slice()
            await asyncio.gather(*under_way)
            self._begin_slice()
        finally:
            for task in under_way:
                task.cancel()

    async def _tap(self, target: str, user: str) -> None:
        reaction = self._chance.choices(self._reactions, self._weights)[0]
        who, started_ms = Principal(user=user, grants=(GRANT,)), self._now_ms()
        try:
            reacted = await self._react.tap(who, user, target, Verb.SET, reaction, None, None)
        except PlauditError:
            self._slices[-1].refused += 1
            return
        now_ms, slice_ = self._now_ms(), self._slices[-1]
        self._taps += 1
        slice_.taps += 1
        self._latencies_ms.append(now_ms - started_ms)
        if reacted.shown.seq > slice_.version:
            slice_.version, slice_.version_at_ms = reacted.shown.seq, now_ms

    async def _introduce(self, fans: list[str]) -> None:
        """Tell their names beforehand, so that whoever is named under the target has one."""
        for start in range(0, len(fans), INTRODUCED_AT_ONCE):
            some = fans[start : start + INTRODUCED_AT_ONCE]
            users = [UserRecord(user=fan, name=_name(fan)) for fan in some]
            try:
                await self._intake.store(Batch(users=users), whole=False)
            except PlauditError as error:
                log.warning("the demo crowd keeps its ids: %s", error)

    def _begin_slice(self) -> None:
        seen, self._latencies_ms = sorted(self._latencies_ms), []
        if self._slices and seen:
            self._slices[-1].p50_ms = seen[len(seen) // 2]
            self._slices[-1].p99_ms = seen[int((len(seen) - 1) * 0.99)]
        version = self._slices[-1].version if self._slices else 0
        self._slices.append(Slice(self._now_ms(), version=version))

    def _now_ms(self) -> float:
        return self._clock.monotonic_s() * 1000


PREFIX = "demo-fan-"


def _fan(number: int) -> str:
    return f"{PREFIX}{number:05d}"


def _name(user: str) -> str:
    """The name of a fan: always the same one, and of 168 different ones."""
    number = int(user.removeprefix(PREFIX))
    return f"{GIVEN[number % len(GIVEN)]} {FAMILY[number * 7 % len(FAMILY)]}"


def _due(share: float) -> float:
    """Which share of a run's taps is due after this share of its time: 0 at 0, and 1 from 1 on.

    A sigmoid: few at first, then everybody, then the last.
    """
    edge = 1 / (1 + math.exp(STEEP / 2))
    return (1 / (1 + math.exp(-STEEP * (min(1.0, share) - 0.5))) - edge) / (1 - 2 * edge)
