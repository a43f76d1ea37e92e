"""What a fault is done to, and for how long."""

from typing import NamedTuple

from tests.faults.load import Load
from tests.faults.running import Running


class Timing(NamedTuple):
    """How long things last, in seconds; and how many taps have to get through in between. `patient`: load and check
    wait until a node that was killed is back, and until what workers had in hand is done; else the next fault of an
    engine does, and the end of all. `gap_s`: for how long those who tap on one target, or at one API process that is
    there, may wait without any acknowledgement; where other tests take the processors at the same time it is more than
    it would be. `lots`: messages that come while a provider is away, in two lots, for as many `phones` each. `rounds`:
    of messages for devices that mean no good."""

    freeze_s: float
    away_s: float
    change_every_s: float
    changes: int
    taps: int
    patient: bool
    gap_s: float
    provider_away_s: float
    lots: tuple[int, int]
    phones: int
    rounds: int


LONG = Timing(
    freeze_s=15,
    away_s=20,
    change_every_s=5,
    changes=4,
    taps=150,
    patient=True,
    gap_s=5,
    provider_away_s=120,
    lots=(100, 300),
    phones=18,
    rounds=3,
)
SHORT = Timing(
    freeze_s=5,
    away_s=5,
    change_every_s=2,
    changes=2,
    taps=40,
    patient=False,
    gap_s=10,
    provider_away_s=6,
    lots=(6, 6),
    phones=2,
    rounds=1,
)


class Under(NamedTuple):
    """A cluster under load. `notes` are for the page; whatever is in `wrong` should not be."""

    running: Running
    load: Load
    timing: Timing
    seed: str
    notes: list[str]
    wrong: list[str]
