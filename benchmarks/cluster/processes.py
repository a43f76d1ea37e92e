"""What processes cost: CPU time and children, from proc(5)."""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.cluster.engines import Place

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int, *, children: bool = False) -> float:
    """CPU seconds that a process has used so far; with those of its children that have ended, or not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # it ended before we looked, or while we did
        return 0.0
    return sum(map(int, fields[11 : 15 if children else 13])) / _TICKS


def group(pid: int) -> list[int]:
    """The processes that a process has started and that are still there."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def everything(place: Place) -> list[int]:
    """The engines, and what this process has started and is still there: servers, and who loads them."""
    return sorted({place.cassandra_pid, place.kafka_pid, *place.redis_pids, *group(os.getpid())})


def _busy_s() -> float:
    """CPU seconds that the machine was busy since it started (the first line of proc(5)/stat)."""
    user, nice, system, _idle, _wait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _loaders_s() -> float:
    """CPU seconds of this process and of those it has started and that have ended."""
    return sum(os.times()[:4])


class Meter:
    """CPU time of some processes, by name, from its making on; and what the machine did besides."""

    def __init__(self, processes: Mapping[str, Iterable[int]]) -> None:
        self._processes = {name: list(pids) for name, pids in processes.items()}
        self._before = self._now()
        self._busy_s, self._loaders_s, self._began_s = _busy_s(), _loaders_s(), time.monotonic()

    def elsewhere(self) -> float:
        """The share of the machine's cores that neither these processes used nor whoever loads them. A case during
        which it was large was not alone on the machine.
        """
        elapsed_s = time.monotonic() - self._began_s
        ours_s = sum(self._now().values()) - sum(self._before.values()) + _loaders_s() - self._loaders_s
        return max(0.0, (_busy_s() - self._busy_s - ours_s) / elapsed_s / (os.cpu_count() or 1))

    def each_us(self, operations: float) -> dict[str, float]:
        """Microseconds per operation, by name."""
        now = self._now()
        return {name: (now[name] - was) * 1e6 / max(1.0, operations) for name, was in self._before.items()}

    def _now(self) -> dict[str, float]:
        return {name: sum(map(cpu_s, pids)) for name, pids in self._processes.items()}
