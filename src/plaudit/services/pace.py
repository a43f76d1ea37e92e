"""How much may wait, for how long, and how long to pause after a failure."""

from random import Random
from typing import NamedTuple


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


class Limits(NamedTuple):
    """What may wait and for how long. Sizes in taps, and in cells for the last two."""

    max_waiting: int = 20_000
    max_waiting_per_target: int = 4_000
    deadline_s: float = 2.0
    answer_within_s: float = 10.0
    max_under_way: int = 512
    max_open: int = 10_000
