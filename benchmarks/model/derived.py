"""What is derived from events, and who reads it: Redis, the workers that fill it, and the reads of an API process.

The rules are those of `plaudit.services` (`update_counters`, `index`, `aging`, `refill`), with their limits.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from functools import partial

from benchmarks.model.costs import Costs
from benchmarks.model.engine import Machine, Simulation, Then, Thread, Times
from benchmarks.model.stores import US, Ledger, Place
from plaudit.services.refill import Gate

FAILOVER_S = 17.0  # Redis's cluster-node-timeout, 15 s, and an election
NEAR_AGE_S = 0.25
NEAR_ENTRIES = 50_000
READS_AT_ONCE = 64  # of the Cassandra adapter
GATE = Gate()


class Totals:
    """What Redis keeps of each target: a number that grows. One master per key, each on one thread."""

    def __init__(self, place: Place, masters: Sequence[Machine], costs: Costs) -> None:
        self._place = place
        self._costs = costs
        self.masters = masters
        self.seq: dict[int, int] = {}
        self.everything = True  # whether every target is here that nobody has put in since
        self.gets = self.puts = 0

    def flush(self) -> None:
        """Forget everything."""
        self.seq, self.everything = {}, False

    def away(self, target: int) -> bool:
        """Whether nobody answers for this one yet: its master is gone, and no replica has taken its place."""
        back = self._place.simulation.now >= self._place.lost_at + FAILOVER_S
        return not (back or self.masters[target % len(self.masters)].alive)

    def get(self, targets: Collection[int], then: Callable[[dict[int, int]], object]) -> None:
        """One MGET: what there is of these, when the slowest master has answered."""
        self.gets += len(targets)

        def got() -> None:
            kept = self.seq
            then({target: kept.get(target, 0) for target in targets if self.everything or target in kept})

        self._each(targets, self._costs.get, got)

    def put(self, states: dict[int, int], then: Then = lambda: None) -> None:
        """Keep what is newer."""
        self.puts += len(states)

        def keep() -> None:
            for target, seq in states.items():
                if seq > self.seq.get(target, -1):
                    self.seq[target] = seq
            then()

        self._each(states, self._costs.put, keep)

    def own(self, cell: int, rows: int) -> None:
        """Own state of so many users, and a window."""
        self.masters[self._master(cell)].work(self._costs.own_row * rows * US, lambda: None)

    def _each(self, targets: Collection[int], cost_us: float, then: Then) -> None:
        simulation = self._place.simulation
        per_master = Counter(self._master(target) for target in targets)
        missing = len(per_master)

        def done() -> None:
            nonlocal missing
            missing -= 1
            if not missing:
                simulation.after(self._place.network_s, then)

        for number, keys in per_master.items():
            master, cost_s = self.masters[number], cost_us * keys * US
            simulation.after(self._place.network_s, partial(master.work, cost_s, done))

    def _master(self, target: int) -> int:
        """After a failover the load of a lost master is on the next one."""
        number, count = target % len(self.masters), len(self.masters)
        for step in range(count):
            if self.masters[(number + step) % count].alive:
                return (number + step) % count
        return number


class Workers:
    """The updater, which writes the newest state of each cell of a poll, and the indexer, which writes every row."""

    def __init__(
        self,
        simulation: Simulation,
        machines: Sequence[Machine],
        totals: Totals,
        ledger: Ledger,
        costs: Costs,
    ) -> None:
        self._simulation = simulation
        self._totals, self._ledger, self._costs = totals, ledger, costs
        self._updaters = [Thread(machine) for machine in machines]
        self._others = [Thread(machine) for machine in machines]
        self._pending: list[dict[int, int]] = [{} for _ in machines]
        self._since: list[list[float]] = [[] for _ in machines]
        self._busy = [False for _ in machines]
        self.lag_s = Times()

    @property
    def waiting(self) -> int:
        """Pieces of work that the indexers and notifiers have not begun."""
        return sum(thread.waiting for thread in self._others)

    def take(self, cell: int, seq: int, rows: int) -> None:
        """An event, as the log tells it."""
        worker = cell % len(self._updaters)
        self._pending[worker][cell] = max(seq, self._pending[worker].get(cell, 0))
        self._since[worker].append(self._simulation.now)
        if not self._busy[worker]:
            self._update(worker)
        costs = self._costs
        written_us = costs.index_event + costs.index_row * rows

        def index() -> None:
            self._ledger.write(cell, written_us)
            self._totals.own(cell, rows)

        self._others[worker].work((costs.worker_event + costs.worker_row * rows) * US, index)

    def _update(self, worker: int) -> None:
        pending, since = self._pending[worker], self._since[worker]
        self._busy[worker] = bool(pending)
        if not pending:
            return
        self._pending[worker], self._since[worker] = {}, []

        def kept() -> None:
            for at in since:
                self.lag_s.add(self._simulation.now - at)
            self._update(worker)

        work_s = (self._costs.update_event * len(since) + self._costs.update_cell * len(pending)) * US
        self._updaters[worker].work(work_s, lambda: self._totals.put(pending, kept))


class Reader:
    """The reads of an API process. `gate`: one read of a target at a time, and bounds; without it each call reads."""

    def __init__(
        self,
        simulation: Simulation,
        thread: Thread,
        ledger: Ledger,
        totals: Totals,
        costs: Costs,
        *,
        gate: bool,
    ) -> None:
        self._simulation = simulation
        self._thread = thread
        self._ledger, self._totals, self._costs = ledger, totals, costs
        self._gate = gate
        self._near: OrderedDict[int, float] = OrderedDict()
        self._flights: dict[int, list[Callable[[], object]]] = {}
        self._asking: deque[tuple[int, Callable[[], object]]] = deque()
        self._under_way = 0
        self.calls = self.refused = self.refills = self.most_asking = 0

    def counts(self, targets: Collection[int], answered: Callable[[bool], object]) -> None:
        """A call for counts: near cache, then Redis, then headers."""
        self.calls += 1
        young = self._simulation.now - NEAR_AGE_S
        missing = {target for target in targets if self._near.get(target, -1.0) < young}
        answer_s = self._costs.call * US
        if not missing:
            self._thread.work(answer_s, lambda: answered(True))
            return
        work_s = answer_s + (self._costs.ask + self._costs.ask_key * len(missing)) * US
        if any(
            self._totals.away(target) for target in missing
        ):  # degraded: all of the call comes from the ledger
            self._thread.work(work_s, lambda: self._found(missing, {}, answered))
        else:
            self._thread.work(
                work_s, lambda: self._totals.get(missing, lambda found: self._found(missing, found, answered))
            )

    def _found(
        self, asked: Collection[int], found: dict[int, int], answered: Callable[[bool], object]
    ) -> None:
        self._show(found)
        left = [target for target in asked if target not in found]
        if not left:
            answered(True)
            return
        if self._gate and len(self._flights) + len(left) > GATE.targets:
            self.refused += 1
            self._thread.work(self._costs.refuse * US, lambda: answered(False))
            return
        missing = len(left)

        def one() -> None:
            nonlocal missing
            missing -= 1
            if not missing:
                answered(True)

        for target in left:
            self._refill(target, one)

    def _refill(self, target: int, then: Callable[[], object]) -> None:
        if not self._gate:
            self._ask(target, then)
        elif target in self._flights:
            self._flights[target].append(then)
        else:
            self._flights[target] = [then]
            self._ask(target, lambda: self._landed(target))

    def _landed(self, target: int) -> None:
        for then in self._flights.pop(target):
            then()

    def _ask(self, target: int, then: Callable[[], object]) -> None:
        self._asking.append((target, then))
        self.most_asking = max(self.most_asking, len(self._asking))
        self._next()

    def _next(self) -> None:
        while self._asking and (not self._gate or self._under_way < READS_AT_ONCE):
            self._under_way += 1
            self._begin(*self._asking.popleft())

    def _begin(self, target: int, then: Callable[[], object]) -> None:
        def read() -> None:
            self._under_way -= 1
            self.refills += 1
            seq = self._ledger.seq[target]
            self._show({target: seq})
            if not self._totals.away(target):
                self._totals.put({target: seq})
            self._next()
            then()

        work_s = self._costs.api_read * US
        self._thread.work(work_s, lambda: self._ledger.read(target, 0, read))

    def _show(self, found: dict[int, int]) -> None:
        near, now = self._near, self._simulation.now
        for target in found:
            near[target] = now
            near.move_to_end(target)
        while len(near) > NEAR_ENTRIES:
            near.popitem(last=False)
