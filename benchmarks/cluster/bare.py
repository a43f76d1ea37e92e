"""Peer (i), bare: the plain design. One conditional write per tap, no HTTP, no events.

Each of n workers takes a tap, reads row and header, and writes both in one conditional batch; when somebody else was
first, it reads and writes again after a random pause. Same driver, same table and same size of rows as ours.
"""

import asyncio
import os
import random
import time
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.cluster.mix import Wish
from plaudit.adapters.cassandra import CassandraCells
from plaudit.domain.cell import Header, Row
from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.ports.cells import CellKey, Proposal
from plaudit.services.pace import Backoff

_NO_ROW = Row()
_KEPT_BYTES = 8 * 14  # of the operations that a row remembers
_NOBODY = Header(type="post", counts=(0,) * 6)


class Figures(NamedTuple):
    """What a run showed. `failed` taps were given up: nobody knows whether they are stored."""

    rate: float
    taps: int
    p50_ms: float
    p99_ms: float
    workers: int
    client_us: float
    refused: int
    stored_all_the_same: int
    failed: int


class Plain:
    """The plain design. Counts how often somebody else was first, and how often what was refused is there after all."""

    def __init__(self, cells: CassandraCells) -> None:
        self._cells = cells
        self._backoff = Backoff()
        self._random = random.Random(0)
        self.refused = self.stored_all_the_same = 0

    async def tap(self, wish: Wish) -> None:
        """Store one tap. Raises `OutcomeUnknown` and `Unavailable`."""
        key, op, failures = CellKey(wish.target), os.urandom(14), 0
        while True:
            state = await self._cells.read(key, [wish.user])
            row = state.rows.get(wish.user, _NO_ROW)
            if row.ops.startswith(op):
                self.stored_all_the_same += 1
                return
            assert row.reaction != wish.reaction, (
                f"every tap of the mix changes something, but {wish} {row} {failures}"
            )
            header = state.header or _NOBODY
            if await self._cells.propose(key, _proposal(header, row, wish, op)):
                return
            self.refused += 1
            failures += 1
            await asyncio.sleep(self._backoff.pause_s(failures, self._random))


def _proposal(old: Header, row: Row, wish: Wish, op: bytes) -> Proposal:
    at = max(time.time_ns() // 1000, old.last_at + 1)
    counts = list(old.counts)
    if row.reaction:
        counts[row.reaction - 1] -= 1
    recent = tuple(pair for pair in old.recent if pair[0] != wish.user)
    if wish.reaction:
        counts[wish.reaction - 1] += 1
        recent = ((wish.user, wish.reaction), *recent[:2])
    rows = old.rows + (not row.created_at)
    header = Header(old.seq + 1, old.type, tuple(counts), rows, at, old.born or at, recent)
    changed = Row(wish.reaction, row.created_at or at, at, op + row.ops[:_KEPT_BYTES])
    return Proposal(old.seq, header, {wish.user: changed})


async def measure(cells: CassandraCells, wishes: Iterator[Wish], workers: int, seconds: float) -> Figures:
    """The rate of stored taps with so many workers, each taking the next tap when its last one is stored."""
    plain = Plain(cells)
    took: list[float] = []
    failed = 0
    until_s = time.perf_counter() + seconds

    async def worker() -> None:
        nonlocal failed
        while (began_s := time.perf_counter()) < until_s:
            try:
                await plain.tap(next(wishes))
            except (OutcomeUnknown, Unavailable):
                failed += 1
            else:
                took.append(time.perf_counter() - began_s)

    cpu_s, began_s = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(workers)))
    elapsed_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    took.sort()
    return Figures(
        len(took) / elapsed_s,
        len(took),
        took[len(took) // 2] * 1e3,
        took[len(took) * 99 // 100] * 1e3,
        workers,
        cpu_s * 1e6 / len(took),
        plain.refused,
        plain.stored_all_the_same,
        failed,
    )
