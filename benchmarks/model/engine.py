"""Time, machines and threads of the model. Knows nothing of Plaudit.

One heap of events in order of time, and of scheduling where times are equal, so a run is the same for the same seed.
Times are seconds.
"""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from random import Random
from typing import NamedTuple

Then = Callable[[], object]


class Simulation:
    """The clock, and what happens when."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random = Random(seed)
        self._heap: list[tuple[float, int, Then]] = []
        self._numbers = count()

    def after(self, delay_s: float, then: Then) -> None:
        """Have it done in so many seconds."""
        heapq.heappush(self._heap, (self.now + delay_s, next(self._numbers), then))

    def run(self, until_s: float) -> None:
        """Play until then; what is due later stays."""
        heap = self._heap
        while heap and heap[0][0] <= until_s:
            self.now, _, then = heapq.heappop(heap)
            then()
        self.now = max(self.now, until_s)


class Pauses(NamedTuple):
    """Moments in which a machine does nothing for us: collections of garbage, neighbours, the hypervisor.

    Gaps and lengths are exponential, with these means. A gap of 0: none.
    """

    gap_s: float = 0.0
    length_s: float = 0.0


class Machine:
    """Cores that take work first come, first served. Without a queue it is idle; dead, it never ends anything."""

    def __init__(self, simulation: Simulation, cores: int, pauses: Pauses = Pauses()) -> None:  # noqa: B008 - a tuple
        self._simulation = simulation
        self._pauses = pauses
        self._idle = cores
        self._queue: deque[tuple[float, Then]] = deque()
        self._paused_s = 0.0  # in all; of a pause under way its whole length
        self._until_s = 0.0  # the end of the last pause
        self.cores = cores
        self.busy_s = 0.0
        self.longest = 0
        self.alive = True
        if pauses.gap_s:
            simulation.after(simulation.random.expovariate(1 / pauses.gap_s), self._pause)

    def work(self, cpu_s: float, then: Then) -> None:
        """Use a core for so long, when one is free."""
        if not self.alive:
            return
        if self._idle and self._simulation.now >= self._until_s:
            self._begin(cpu_s, then)
        else:
            self._queue.append((cpu_s, then))
            self.longest = max(self.longest, len(self._queue))

    @property
    def waiting(self) -> int:
        """Pieces of work that no core has begun."""
        return len(self._queue)

    def _begin(self, cpu_s: float, then: Then) -> None:
        self._idle -= 1
        self.busy_s += cpu_s
        paused_s = self._paused_s
        self._simulation.after(cpu_s, lambda: self._end(paused_s, then))

    def _end(self, paused_s: float, then: Then) -> None:
        if not self.alive:
            return
        if self._paused_s > paused_s:  # a pause began meanwhile: it takes that much longer
            seen_s = self._paused_s
            self._simulation.after(seen_s - paused_s, lambda: self._end(seen_s, then))
            return
        self._idle += 1
        self._next()
        then()

    def _next(self) -> None:
        while self._queue and self._idle and self._simulation.now >= self._until_s:
            self._begin(*self._queue.popleft())

    def _pause(self) -> None:
        random = self._simulation.random
        length_s = random.expovariate(1 / self._pauses.length_s)
        self._paused_s += length_s
        self._until_s = self._simulation.now + length_s
        self._simulation.after(length_s, self._next)
        self._simulation.after(length_s + random.expovariate(1 / self._pauses.gap_s), self._pause)


class Thread:
    """One thread on a machine: its pieces of work come one after the other, each when a core is free."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._queue: deque[tuple[float, Then]] = deque()
        self._busy = False
        self.busy_s = 0.0

    def work(self, cpu_s: float, then: Then) -> None:
        """Do this when everything before it is done."""
        self._queue.append((cpu_s, then))
        if not self._busy:
            self._busy = True
            self._next()

    @property
    def waiting(self) -> int:
        """Pieces of work that are not begun."""
        return len(self._queue)

    def _next(self) -> None:
        cpu_s, then = self._queue.popleft()
        self.busy_s += cpu_s
        self._machine.work(cpu_s, lambda: self._end(then))

    def _end(self, then: Then) -> None:
        if self._queue:
            self._next()
        else:
            self._busy = False
        then()


class Times:
    """Durations in seconds, and what share of them is below one."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def add(self, value: float) -> None:
        self.values.append(value)

    def at(self, share: float) -> float:
        """The smallest value that so large a share does not exceed; 0 without any."""
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
