"""How much may wait, for how long, and how long to pause after a failure or for the sake of others."""

from random import Random
from typing import NamedTuple

from plaudit.ports.cells import CellKey

LATELY_S = 1.0
MANY = 1_000
TURNS = 8  # commits of ours, as long as which the others may get at most


class Backoff(NamedTuple):
    """How long to pause after the n-th failure in a row: a random time up to `first_s` doubled n times, or `cap_s`.

    All of it is jitter, so that processes that met once do not meet again (AWS Architecture Blog, "Exponential Backoff
    And Jitter": "full jitter").
    """

    first_s: float = 0.004
    cap_s: float = 0.25

    def pause_s(self, failures: int, random: Random) -> float:
        """The pause after so many failures."""
        return random.uniform(0, min(self.cap_s, self.first_s * 2 ** min(failures, 16)))

    def turn_s(self, random: Random, took_s: float) -> float:
        """The pause after a commit that took so long, of a cell that others want to commit too."""
        return random.uniform(0, min(self.cap_s, took_s * TURNS))


class Rivals:
    """Which cells others commit too: those that somebody else was first with, lately.

    Whoever has just committed knows the state and needs no read, so it would win again and again while the others read
    and lose. Leaving them a turn costs no time that matters: what waits meanwhile rides in one commit.
    """

    def __init__(self) -> None:
        self._lost_s: dict[CellKey, float] = {}

    def lost(self, key: CellKey, now_s: float) -> None:
        """Somebody else was first with this cell."""
        self._lost_s[key] = now_s
        if len(self._lost_s) > MANY:
            self._lost_s = {key: at_s for key, at_s in self._lost_s.items() if at_s + LATELY_S > now_s}

    def has(self, key: CellKey, now_s: float) -> bool:
        """Whether others commit the cell too."""
        return self._lost_s.get(key, -LATELY_S) + LATELY_S > now_s


class Limits(NamedTuple):
    """What may wait and for how long. Sizes in taps, and in cells for the last two."""

    max_waiting: int = 20_000
    max_waiting_per_target: int = 4_000
    deadline_s: float = 2.0
    answer_within_s: float = 10.0
    max_under_way: int = 512
    max_open: int = 10_000
