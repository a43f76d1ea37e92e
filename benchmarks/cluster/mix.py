"""The taps of every engine in the comparison: 60 % new reactions, 25 % removals, 15 % switches.

Removals and switches are of reactions that were stored before the benchmark began, each used once, so no process has
seen those users. benchmarks/cluster/taps.lua and postgres.sql compute the same.

What is stored: `TARGETS` targets with `PER_TARGET` reactions each, and a few viral ones with `VIRAL_ROWS`. "Uniform
over a million" touches each of a million equally seldom. A phase sends less than `TARGETS` taps, so the targets that it
would touch are filled and the rest is left out: each tap of a phase goes to another target, in an order without a
pattern, and no process has seen that target before.
"""

import random
from collections.abc import Iterator
from typing import Literal, NamedTuple

TARGETS = 75_000
PER_TARGET = 20
VIRAL = 3
VIRAL_ROWS = 300_000
REACTIONS = ("like", "love", "haha", "wow", "sad", "angry")

Spread = Literal["uniform", "one"]

# Coprime to TARGETS, and far from any simple fraction of it: neighbours in a phase are far apart.
STEP = 38_197
USERS = 1_000_000
# Nine digits are enough for the users of all phases.
NEW_USERS = 5_000_000
PHASES = {"uniform": PER_TARGET, "one": 180}
NEW = 0.60


class Wish(NamedTuple):
    """A tap: who wants which reaction (a code; 0: none) on what."""

    target: str
    user: str
    reaction: int


def name(target: int) -> str:
    """The id of a target that is one of many."""
    return f"p{target:09d}"


def viral(number: int) -> str:
    """The id of a viral target."""
    return f"v{number:09d}"


def stored(target: int, place: int) -> tuple[str, int]:
    """The user and the reaction in one of the `PER_TARGET` places of a target."""
    return f"u{(target * 13 + place * 7919) % USERS:09d}", 1 + (target + place) % 6


def stored_viral(place: int) -> tuple[str, int]:
    """The user and the reaction in one of the `VIRAL_ROWS` places of a viral target."""
    return f"u{place:09d}", 1 + place % 6


def wishes(spread: Spread, phase: int, used: int = 0) -> Iterator[Wish]:
    """The taps of one phase of the benchmark, without end. Phases share no users.

    For `one`: on the viral target 0, of whose stored reactions the first `used` were removed or switched before.
    """
    chance = random.Random(phase)
    tap = 0
    while True:
        if spread == "one":
            to, (user, reaction) = viral(0), stored_viral(used % VIRAL_ROWS)
        else:
            to_number, place = (
                (tap + phase * 7_000) * STEP % TARGETS,
                phase + tap // TARGETS * PHASES["uniform"],
            )
            to, (user, reaction) = name(to_number), stored(to_number, place % PER_TARGET)
        dice = chance.random()
        if dice < NEW:
            user, reaction = f"u{(phase + 1) * NEW_USERS + tap:09d}", chance.randint(1, 6)
        else:
            used += 1
            reaction = 0 if dice < 0.85 else reaction % 6 + 1
        yield Wish(to, user, reaction)
        tap += 1
