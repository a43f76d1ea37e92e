"""Cassandra and Kafka as the model has them: machines that take CPU time, distances between them, and order.

- **Ledger**: a replica of every cell in each zone. A commit is three rounds to all replicas (prepare and read,
  propose, commit), each over when a quorum has answered; every replica spends what the single node of the measurements
  spent. One commit of a cell at a time; a proposal that was made from an older state is refused after the first round.
- **Log**: an event is acknowledged when every replica in sync has it. A lost broker is in sync until it is fenced.

A lost zone answers nothing. Whoever had asked one of its nodes learns so after `NOTICED_S`.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from benchmarks.model.costs import Costs
from benchmarks.model.engine import Machine, Simulation, Then, Times

ZONES = 3
NOTICED_S = 3.0  # the driver's idle time-out
FENCED_S = 9.0  # Kafka's broker.session.timeout.ms

US = 1e-6


class Place:
    """Where machines are and how far: zones that may be lost, and the way between two machines, in seconds."""

    def __init__(self, simulation: Simulation, network_s: float) -> None:
        self.simulation = simulation
        self.network_s = network_s
        self.lost_at = float("inf")

    def lose(self, machines: Iterable[Machine]) -> None:
        """Now these answer no more."""
        self.lost_at = self.simulation.now
        for machine in machines:
            machine.alive = False


class Ledger:
    """Cells by number, on nodes that are dealt out to the zones. See the module."""

    def __init__(self, place: Place, nodes: Sequence[Machine], replicas: int, costs: Costs) -> None:
        self._place = place
        self._simulation = place.simulation
        self._replicas = replicas
        self._zones = [nodes[zone::replicas] for zone in range(replicas)]
        self._costs = costs
        self._turns: dict[int, deque[Then]] = {}
        self.nodes = nodes
        self.seq: Counter[int] = Counter()
        self.stored: set[int] = set()
        self.doubled = 0
        self.commits = self.rows = self.refused = self.reads = 0
        self.commit_s = Times()

    @property
    def quorum(self) -> int:
        return self._replicas // 2 + 1

    def replicas(self, cell: int) -> list[Machine]:
        """Those of a cell, in the order in which clients ask them."""
        first = cell % self._replicas
        order = (self._zones[(first + n) % self._replicas] for n in range(self._replicas))
        return [zone[cell // self._replicas % len(zone)] for zone in order]

    def read(self, cell: int, rows: int, then: Then) -> None:
        """Header and rows by name, at a quorum: two of three replicas are asked."""
        self.reads += 1
        cost_s = (self._costs.read + self._costs.read_row * rows) * US
        asked = [node for node in self.replicas(cell) if node.alive][: self.quorum]
        self._all(asked, cost_s, len(asked), 0.0, then, self._unnoticed(cell))

    def write(self, cell: int, cost_us: float, then: Then = lambda: None) -> None:
        """A plain write to all replicas, over at a quorum."""
        nodes = self.replicas(cell)
        self._all(nodes, cost_us * US, self.quorum, self._costs.sync_ms / 1e3, then, self._unnoticed(cell))

    def propose(self, cell: int, seq: int, taps: Collection[int], then: Callable[[bool], object]) -> None:
        """Commit these taps if the cell is at `seq`; `then` is told whether it applied."""
        begun = self._simulation.now
        turns = self._turns.get(cell)

        def turn() -> None:
            self._simulation.after(
                self._unnoticed(cell), lambda: self._round(0, cell, seq, taps, begun, then)
            )

        if turns is None:
            self._turns[cell] = deque()
            turn()
        else:
            turns.append(turn)

    def _round(
        self,
        done: int,
        cell: int,
        seq: int,
        taps: Collection[int],
        begun: float,
        then: Callable[[bool], object],
    ) -> None:
        nodes = self.replicas(cell)
        if self._unnoticed(cell):  # whoever led it is gone: its owner settles it, and proposes it again
            self._simulation.after(
                self._unnoticed(cell), lambda: self._round(0, cell, seq, taps, begun, then)
            )
        elif done == 1 and self.seq[cell] != seq:
            self.refused += 1
            self._release(cell)
            then(False)
        elif done == 3:
            self.doubled += len(self.stored.intersection(taps))
            self.stored.update(taps)
            self.seq[cell] += 1
            self.commits += 1
            self.rows += len(taps)
            self.commit_s.add(self._simulation.now - begun)
            later_s = self._cost_s(taps) * (1 - self._costs.on_path)
            for node in nodes:
                node.work(later_s, lambda: None)
            self._release(cell)
            then(True)
        else:
            cost_s = self._cost_s(taps) * self._costs.on_path / 3
            sync_s = self._costs.sync_ms / 1e3
            self._all(
                nodes,
                cost_s,
                self.quorum,
                sync_s,
                lambda: self._round(done + 1, cell, seq, taps, begun, then),
            )

    def _cost_s(self, taps: Collection[int]) -> float:
        return (self._costs.commit + self._costs.row * len(taps)) * US

    def _release(self, cell: int) -> None:
        turns = self._turns[cell]
        if turns:
            turns.popleft()()
        else:
            del self._turns[cell]

    def _unnoticed(self, cell: int) -> float:
        """How long until a client knows that the node it asks first is gone; 0: that one lives, or all know."""
        if self.replicas(cell)[0].alive:
            return 0.0
        return max(0.0, self._place.lost_at + NOTICED_S - self._simulation.now)

    def _all(
        self,
        nodes: Sequence[Machine],
        cost_s: float,
        wanted: int,
        sync_s: float,
        then: Then,
        wait_s: float = 0.0,
    ) -> None:
        """Work on all of these, and go on when `wanted` of them have answered."""
        answered = 0
        way_s = self._place.network_s + wait_s

        def answer() -> None:
            nonlocal answered
            answered += 1
            if answered == wanted:
                then()

        def back() -> None:
            self._simulation.after(sync_s + self._place.network_s, answer)

        for node in nodes:
            if way_s:
                self._simulation.after(way_s, partial(node.work, cost_s, back))
            else:
                node.work(cost_s, back)


class Log:
    """Events by cell, each on a leader and its followers, and who reads them."""

    def __init__(self, place: Place, brokers: Sequence[Machine], replicas: int, costs: Costs) -> None:
        self._place = place
        self._replicas = replicas
        self._costs = costs
        self.brokers = brokers
        self.readers: list[Callable[[int, int, int], None]] = []  # told cell, seq and rows of each event
        self.events = 0

    def publish(self, cell: int, seq: int, rows: int, then: Then) -> None:
        """`then` when every replica in sync has it, which may be never while a lost broker still counts as in sync."""
        simulation, place = self._place.simulation, self._place
        count = len(self.brokers)
        mine = [self.brokers[(cell + n) % count] for n in range(self._replicas)]
        if simulation.now >= place.lost_at + FENCED_S:
            mine = [broker for broker in mine if broker.alive]
        missing = len(mine)
        cost_s = (self._costs.event + self._costs.event_row * rows) * US

        def have() -> None:
            nonlocal missing
            missing -= 1
            if not missing:
                self.events += 1
                simulation.after(place.network_s + self._costs.ack_ms / 1e3, then)
                for reader in self.readers:
                    reader(cell, seq, rows)

        def led() -> None:
            have()
            for follower in mine[1:]:
                simulation.after(2 * place.network_s, partial(follower.work, cost_s / 2, have))

        simulation.after(place.network_s, lambda: mine[0].work(cost_s, led))
