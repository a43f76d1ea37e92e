"""A slice of a deployment, and what clients do to it: three nodes of Cassandra with twelve cores each, one in each
zone, and the share of everything else that belongs to them. Slices share nothing but the network, so a deployment is so
many of them.

Taps arrive in an open loop, whatever becomes of the earlier ones. A refused one comes again after `Retry-After` and
some jitter, up to `ATTEMPTS` times, with the same number.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from benchmarks.model.api import Api, Tap
from benchmarks.model.costs import Costs
from benchmarks.model.derived import Reader, Totals, Workers
from benchmarks.model.engine import Machine, Pauses, Simulation, Thread, Times
from benchmarks.model.stores import ZONES, Ledger, Log, Place

NETWORK_S = 0.00025  # from one machine to another, half of a round trip between zones
CALM = Pauses(gap_s=1.0, length_s=0.01)  # of a machine that nobody else uses: garbage collection
TARGETS = 10_000_000
IDS_PER_CALL = 20
RETRY_AFTER_S = 1.0
ATTEMPTS = 5
PER_PERIOD_S = 0.25
LANE = TARGETS  # numbers of lanes follow those of targets

Pick = Callable[[Simulation], int]


def uniform(simulation: Simulation) -> int:
    """Any target: every tap is a commit of its own."""
    return simulation.random.randrange(TARGETS)


def zipf(simulation: Simulation) -> int:
    """A target by rank, its share proportional to 1 over its rank (in steps of the continuous law)."""
    return int(math.exp(simulation.random.random() * math.log(TARGETS)))


def lanes(number: int) -> Pick:
    """One of so many lanes of the viral post; 1: it is not split."""
    return lambda simulation: LANE + simulation.random.randrange(number)


class Size(NamedTuple):
    """Cores of a slice, by role."""

    cassandra: int = 36
    api: int = 6
    kafka: int = 3
    redis: int = 3
    workers: int = 3


@dataclass
class Seen:
    """What clients saw, by periods of `PER_PERIOD_S` too."""

    offered: int = 0
    stored: int = 0
    refused: int = 0
    given_up: int = 0
    asked: int = 0
    read: int = 0
    tap_s: Times = field(default_factory=Times)
    viral: int = 0  # of those stored, on the viral post
    viral_s: Times = field(default_factory=Times)
    read_s: Times = field(default_factory=Times)
    stored_in: Counter[int] = field(default_factory=Counter)
    refused_in: Counter[int] = field(default_factory=Counter)
    slow_in: dict[int, Times] = field(default_factory=dict)
    read_in: dict[int, Times] = field(default_factory=dict)


class Slice:
    """See the module. `owners`: a cell is committed by one process; otherwise by whichever a tap meets."""

    def __init__(
        self,
        costs: Costs,
        size: Size = Size(),  # noqa: B008 - a tuple
        *,
        seed: int = 1,
        owners: bool = True,
        gate: bool = True,
        pauses: Pauses = CALM,
    ) -> None:
        self.simulation = simulation = Simulation(seed)
        self.size = size
        self.costs = costs
        self.place = Place(simulation, NETWORK_S)
        self.cassandra = [Machine(simulation, size.cassandra // ZONES, pauses) for _ in range(ZONES)]
        self.kafka = [Machine(simulation, size.kafka // ZONES, pauses) for _ in range(ZONES)]
        self.redis = [Machine(simulation, size.redis // ZONES, pauses) for _ in range(ZONES)]
        self.api = [Machine(simulation, 1, pauses) for _ in range(size.api)]
        self.worker = [Machine(simulation, 1, pauses) for _ in range(size.workers)]
        self.ledger = Ledger(self.place, self.cassandra, ZONES, costs)
        self.log = Log(self.place, self.kafka, ZONES, costs)
        self.totals = Totals(self.place, self.redis, costs)
        self.workers = Workers(simulation, self.worker, self.totals, self.ledger, costs)
        self.log.readers.append(self.workers.take)
        threads = [Thread(machine) for machine in self.api]
        self.apis = [Api(simulation, thread, self.ledger, self.log, costs, ahead=True) for thread in threads]
        self.readers = [
            Reader(simulation, thread, self.ledger, self.totals, costs, gate=gate) for thread in threads
        ]
        self._owners = owners
        self._numbers = count()
        self.seen = Seen()

    def offer(self, taps_per_s: float, pick: Pick, until_s: float) -> None:
        """Taps at random moments, so many a second."""
        simulation = self.simulation

        def arrive() -> None:
            if simulation.now < until_s:
                simulation.after(simulation.random.expovariate(taps_per_s), arrive)
                self._send(next(self._numbers), pick(simulation), simulation.now, 1)

        simulation.after(simulation.random.expovariate(taps_per_s), arrive)

    def ask(self, counts_per_s: float, until_s: float) -> None:
        """Calls for the counts of `IDS_PER_CALL` targets, popular ones more often, at any process."""
        simulation = self.simulation

        def arrive() -> None:
            if simulation.now < until_s:
                simulation.after(simulation.random.expovariate(counts_per_s / IDS_PER_CALL), arrive)
                self._ask(simulation.now)

        arrive()

    def busy(self) -> dict[str, float]:
        """CPU seconds used so far, by role."""
        roles = {
            "API": self.api,
            "Cassandra": self.cassandra,
            "Kafka": self.kafka,
            "Redis": self.redis,
            "workers": self.worker,
        }
        return {role: sum(machine.busy_s for machine in machines) for role, machines in roles.items()}

    def cores(self) -> dict[str, int]:
        """Cores, by role."""
        size = self.size
        return {
            "API": size.api,
            "Cassandra": size.cassandra,
            "Kafka": size.kafka,
            "Redis": size.redis,
            "workers": size.workers,
        }

    def lose_zone(self) -> None:
        """A third of Cassandra, Kafka and Redis answers no more."""
        self.place.lose([self.cassandra[0], self.kafka[0], self.redis[0]])

    def _send(self, number: int, cell: int, since: float, attempt: int) -> None:
        seen, simulation = self.seen, self.simulation
        if attempt == 1:
            seen.offered += 1

        def answered(stored: bool) -> None:
            period = int(simulation.now / PER_PERIOD_S)
            if stored:
                seen.stored += 1
                seen.viral += cell >= LANE
                (seen.viral_s if cell >= LANE else seen.tap_s).add(simulation.now - since)
                seen.stored_in[period] += 1
                seen.slow_in.setdefault(period, Times()).add(simulation.now - since)
                return
            seen.refused += 1
            seen.refused_in[period] += 1
            if attempt == ATTEMPTS:
                seen.given_up += 1
                return
            jitter_s = simulation.random.uniform(0, 0.2 * 2 ** (attempt - 1))
            simulation.after(RETRY_AFTER_S + jitter_s, lambda: self._send(number, cell, since, attempt + 1))

        whose = cell if self._owners else simulation.random.randrange(len(self.apis))
        self.apis[whose % len(self.apis)].tap(Tap(number, cell, answered))

    def _ask(self, since: float) -> None:
        seen, simulation = self.seen, self.simulation
        targets = {zipf(simulation) for _ in range(IDS_PER_CALL)}

        def answered(found: bool) -> None:
            if found:
                seen.read += 1
                took_s = simulation.now - since
                seen.read_s.add(took_s)
                seen.read_in.setdefault(int(simulation.now / PER_PERIOD_S), Times()).add(took_s)

        seen.asked += 1
        self.readers[simulation.random.randrange(len(self.readers))].counts(targets, answered)


class Result(NamedTuple):
    """What a load did to a slice. Latencies in ms; CPU in seconds per million taps; busy: the share of the cores."""

    offered_per_s: float
    stored_per_s: float
    refused: float  # per tap offered
    p50_ms: float  # of taps on other targets than the viral post
    p99_ms: float
    viral_per_s: float
    viral_p50_ms: float
    viral_p99_ms: float
    rows_per_commit: float
    commit_p50_ms: float
    lag_p99_ms: float
    read_p99_ms: float
    busy: dict[str, float]
    cpu_s: dict[str, float]


def play(
    slice_: Slice, loads: dict[Pick, float], counts_per_s: float, seconds: float, warm_s: float = 0.5
) -> Result:
    """Offer these taps per second for some seconds, and look after the warm-up."""
    simulation = slice_.simulation
    until_s = warm_s + seconds
    for pick, taps_per_s in loads.items():
        slice_.offer(taps_per_s, pick, until_s)
    if counts_per_s:
        slice_.ask(counts_per_s, until_s)
    simulation.run(warm_s)
    used, rows, commits = slice_.busy(), slice_.ledger.rows, slice_.ledger.commits
    slice_.seen = seen = Seen()
    simulation.run(until_s)
    spent = {role: cpu_s - used[role] for role, cpu_s in slice_.busy().items()}
    ledger, workers = slice_.ledger, slice_.workers
    return Result(
        seen.offered / seconds,
        seen.stored / seconds,
        seen.refused / max(1, seen.offered),
        seen.tap_s.at(0.5) * 1e3,
        seen.tap_s.at(0.99) * 1e3,
        seen.viral / seconds,
        seen.viral_s.at(0.5) * 1e3,
        seen.viral_s.at(0.99) * 1e3,
        (ledger.rows - rows) / max(1, ledger.commits - commits),
        ledger.commit_s.at(0.5) * 1e3,
        workers.lag_s.at(0.99) * 1e3,
        seen.read_s.at(0.99) * 1e3,
        {role: cpu_s / seconds / slice_.cores()[role] for role, cpu_s in spent.items()},
        {role: cpu_s / max(1, seen.stored) * 1e6 for role, cpu_s in spent.items()},
    )
