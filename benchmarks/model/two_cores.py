"""What was measured on two cores, played by the model: the same cases, so that the two can be laid side by side.

Everything shares one machine, as it did. How much of it was there for us differs from run to run (other work ran
beside) and shows in what all processes used together: it is given to the model as pauses, a pair of numbers a run.
"""

from collections.abc import Callable
from itertools import count
from typing import NamedTuple

from benchmarks.model.api import Api, Tap
from benchmarks.model.costs import Costs, measured
from benchmarks.model.derived import Totals, Workers
from benchmarks.model.engine import Machine, Pauses, Simulation, Thread, Times
from benchmarks.model.stores import US, Ledger, Log, Place

CORES = 2
WARM_S, SECONDS = 1.0, 5.0
LONE_WORKERS = 64
TARGETS = 1_000_000

# cells.json: its processes used 1.3 to 1.9 cores where they could use all there was.
CELLS = Pauses(gap_s=0.18, length_s=0.06)
# cluster.json: the machine was free; but each step had to wait its turn, which makes an acknowledgement slow.
CLUSTER = Pauses()
CLUSTER_ACK_MS = 9.0
# What Kafka and the six nodes of Redis use when nothing is asked of them, in cores (from one 64 and one 256).
IDLE = 0.07
IDLE_EVERY_S = 0.01


class Figures(NamedTuple):
    """Rates per second, latencies in ms, CPU in µs per tap."""

    rate: float
    p50_ms: float
    p99_ms: float
    cassandra_us: float
    api_us: float


class Bench:
    """One case on a machine of its own."""

    def __init__(self, pauses: Pauses, costs: Costs, seed: int = 1) -> None:
        self.simulation = Simulation(seed)
        self.machine = Machine(self.simulation, CORES, pauses)
        self.cassandra = _Metered(self.machine)
        place = Place(self.simulation, network_s=0.0)
        self.costs = costs
        self.place = place
        self.ledger = Ledger(place, [self.cassandra], 1, costs)
        self.client = Thread(self.machine)
        self.numbers = count()
        self._done = 0
        self._times = Times()

    def measure(self) -> Figures:
        """Play, and forget the warm-up."""
        self.simulation.run(WARM_S)
        self._done, self._times = 0, Times()
        used, client = self.cassandra.busy_s, self.client.busy_s
        self.simulation.run(WARM_S + SECONDS)
        done = max(1, self._done)
        return Figures(
            self._done / SECONDS,
            self._times.at(0.5) * 1e3,
            self._times.at(0.99) * 1e3,
            (self.cassandra.busy_s - used) / done / US,
            (self.client.busy_s - client) / done / US,
        )

    def ended(self, since: float, rows: int) -> None:
        """So many rows are done, in one go that began then."""
        self._done += rows
        self._times.add(self.simulation.now - since)


class _Metered(Machine):
    """The share of a process in a machine of which it is not the only one."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.busy_s = 0.0
        self.alive = True

    def work(self, cpu_s: float, then: Callable[[], object]) -> None:
        self.busy_s += cpu_s
        self._machine.work(cpu_s, then)


def cells(name: str, workers: int, users: int, *, read: bool, costs: Costs) -> Figures:
    """A case of `benchmarks.cells`: workers without HTTP, each with one commit under way."""
    bench = Bench(CELLS, costs)
    lone = users == 1 and read

    def begin(worker: int) -> None:
        since = bench.simulation.now
        cell = bench.simulation.random.randrange(TARGETS) if lone else worker
        taps = [next(bench.numbers) for _ in range(users)]
        commit_s = (costs.api_commit + costs.api_row * users) * US

        def told(applied: bool) -> None:
            if applied:
                bench.ended(since, users)
            begin(worker)

        def propose() -> None:
            seq = bench.ledger.seq[cell]
            bench.client.work(commit_s, lambda: bench.ledger.propose(cell, seq, taps, told))

        if read:
            bench.client.work(costs.api_read * US, lambda: bench.ledger.read(cell, users, propose))
        else:
            propose()

    for worker in range(workers):
        begin(worker)
    return bench.measure()


def cluster(connections: int, *, one: bool, costs: Costs) -> Figures:
    """A case of `benchmarks.cluster`: connections that send the next tap when the last one is answered."""
    slow = costs._replace(ack_ms=CLUSTER_ACK_MS)
    bench = Bench(CLUSTER, slow)
    simulation, machine = bench.simulation, bench.machine
    totals = Totals(bench.place, [machine], slow)
    log = Log(bench.place, [machine], 1, slow)
    log.readers.append(Workers(simulation, [machine], totals, bench.ledger, slow).take)
    api = Api(simulation, bench.client, bench.ledger, log, slow, ahead=True)

    def idle() -> None:
        machine.work(IDLE * IDLE_EVERY_S, lambda: None)
        simulation.after(IDLE_EVERY_S, idle)

    def send() -> None:
        since = simulation.now

        def answered(stored: bool) -> None:
            if stored:
                bench.ended(since, 1)
            send()

        cell = 0 if one else simulation.random.randrange(TARGETS)
        api.tap(Tap(next(bench.numbers), cell, answered))

    idle()
    for _ in range(connections):
        send()
    return bench.measure()


class Case(NamedTuple):
    """What was measured and what the model makes of it."""

    name: str
    source: str
    measured: Figures
    model: Figures


def cases(costs: Costs = Costs()) -> list[Case]:  # noqa: B008 - a tuple
    """Every case, in a few seconds."""
    found = []
    kept = {case["name"]: case for case in measured("cells.json")["cases"]}
    for name, workers, users, read in (
        ("lone, known", LONE_WORKERS, 1, False),
        ("lone, read first", LONE_WORKERS, 1, True),
        ("4 cells x 64 users", 4, 64, True),
        ("1 cell x 128 users", 1, 128, True),
    ):
        was = kept[name]
        figures = Figures(was["rows"], was["p50_ms"], was["p99_ms"], was["cassandra_us"], was["client_us"])
        found.append(Case(name, "cells.json", figures, cells(name, workers, users, read=read, costs=costs)))
    over = measured("cluster.json")["cases"]
    for spread, connections in (("uniform", 64), ("uniform", 256), ("one", 64), ("one", 256)):
        was = over[f"Plaudit, {spread}, {connections}"]
        cpu = was["cpu_us"]
        figures = Figures(was["rate"], was["p50_ms"], was["p99_ms"], cpu["Cassandra"], cpu["API"])
        found.append(
            Case(
                f"{spread}, {connections} connections",
                "cluster.json",
                figures,
                cluster(connections, one=spread == "one", costs=costs),
            )
        )
    return found
