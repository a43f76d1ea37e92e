"""How much may wait, for how long, and how long to pause after a failure or for the sake of others."""

from random import Random
from typing import NamedTuple

from plaudit.ports.cells import CellKey

LATELY_S = 1.0
PER_LOSS = 3  # in the simulation (tests/simulation/test_rivals.py) more bring little more
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
        self._owed: dict[CellKey, tuple[float, int]] = {}  # when they were first, and the turns left for that

    def lost(self, key: CellKey, now_s: float) -> None:
        """Somebody else was first with this cell."""
        self._owed.pop(key, None)
        self._owed[key] = now_s, PER_LOSS
        if len(self._owed) > MANY:
            del self._owed[next(iter(self._owed))]  # that was longest ago

    def turn(self, key: CellKey, now_s: float) -> bool:
        """Whether to leave others a turn now: a few for each time that they were first. A turn for each of ours would
        let a single tap that goes astray each second slow down a cell that one process could commit alone."""
        lost_s, left = self._owed.pop(key, (0.0, 0))
        if not left or lost_s + LATELY_S <= now_s:
            return False
        if left > 1:
            self._owed[key] = lost_s, left - 1
        return True


class Limits(NamedTuple):
    """What may wait and for how long. Sizes in taps, and in cells for the last two."""

    max_waiting: int = 20_000
    max_waiting_per_target: int = 4_000
    deadline_s: float = 2.0
    answer_within_s: float = 10.0
    max_under_way: int = 512
    max_open: int = 10_000
