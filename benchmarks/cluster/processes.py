"""What processes cost: CPU time and children, from proc(5)."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int, *, children: bool = False) -> float:
    """CPU seconds that a process has used so far; with those of its children that have ended, or not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(map(int, fields[11 : 15 if children else 13])) / _TICKS


def group(pid: int) -> list[int]:
    """The processes that a process has started and that are still there."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Meter:
    """CPU time of some processes, by name, from its making on."""

    def __init__(self, processes: Mapping[str, Iterable[int]]) -> None:
        self._processes = {name: list(pids) for name, pids in processes.items()}
        self._before = self._now()

    def each_us(self, operations: float) -> dict[str, float]:
        """Microseconds per operation, by name."""
        now = self._now()
        return {name: (now[name] - was) * 1e6 / max(1.0, operations) for name, was in self._before.items()}

    def _now(self) -> dict[str, float]:
        return {name: sum(map(cpu_s, pids)) for name, pids in self._processes.items()}
