"""Fill the cells of an empty cluster fast: plain writes of what commits would have left behind, header and rows.

Only for a benchmark, and only while nobody commits: the service itself never writes a cell without a condition.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from benchmarks.cluster import mix
from plaudit.adapters.cassandra import Session
from plaudit.adapters.cassandra.packed import pack_header
from plaudit.domain.cell import Header
from plaudit.domain.errors import OutcomeUnknown, Unavailable

CONCURRENT = 32
ROWS_PER_BATCH = 100
TRIES = 30
DAY_US = 24 * 60 * 60 * 1_000_000

HEADER = "INSERT INTO $keyspace.cell (target, bucket, user, seq, header) VALUES (?, 0, '', ?, ?)"
ROW = """
INSERT INTO $keyspace.cell (target, bucket, user, reaction, created_at, updated_at, ops) VALUES (?, 0, ?, ?, ?, ?, ?)
"""


class Cell(NamedTuple):
    """A target as it is to be stored: who reacted, oldest first."""

    target: str
    rows: list[tuple[str, int]]


def cells() -> Iterator[Cell]:
    """Everything that `mix` says is stored."""
    for target in range(mix.TARGETS):
        yield Cell(mix.name(target), [mix.stored(target, place) for place in range(mix.PER_TARGET)])
    for number in range(mix.VIRAL):
        yield Cell(mix.viral(number), [mix.stored_viral(place) for place in range(mix.VIRAL_ROWS)])


async def fill(
    session: Session, look: Callable[[int], None], wanted: Callable[[], Iterable[Cell]] = cells
) -> None:
    """Write all cells; `look` gets how many rows are written so far."""
    header, row = await asyncio.gather(session.prepare(HEADER), session.prepare(ROW))
    born = time.time_ns() // 1000 - 2 * DAY_US
    work = _batches(wanted(), header, row, born)
    written = 0

    async def writer() -> None:
        nonlocal written
        for statements in work:
            await _written(session, statements)
            written += len(statements)
            look(written)

    await asyncio.gather(*(writer() for _ in range(CONCURRENT)))


async def _written(session: Session, statements: list[Any]) -> None:
    """Write, again if need be: it is the same each time."""
    for _ in range(TRIES):
        try:
            await session.commit(statements)
        except (OutcomeUnknown, Unavailable):
            await asyncio.sleep(1)
        else:
            return
    raise RuntimeError("Cassandra does not take the fill")


def _batches(wanted: Iterable[Cell], header: Any, row: Any, born: int) -> Iterator[list[Any]]:
    """Bound statements, those of a batch all of one cell; the header comes with the last rows."""
    bind_header, bind_row = header.bind, row.bind
    for target, rows in wanted:
        op = os.urandom(14)
        batch = []
        for place, (user, reaction) in enumerate(rows):
            batch.append(bind_row([target, user, reaction, born + place, born + place, op]))
            if len(batch) == ROWS_PER_BATCH:
                yield batch
                batch = []
        batch.append(bind_header([target, len(rows), pack_header(_header(rows, born))]))
        yield batch


def _header(rows: list[tuple[str, int]], born: int) -> Header:
    counts = [0] * 6
    for _, reaction in rows:
        counts[reaction - 1] += 1
    recent = tuple(reversed(rows[-3:]))
    return Header(len(rows), "post", tuple(counts), len(rows), born + len(rows), born, recent)
