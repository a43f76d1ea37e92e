"""Counting the rows of targets in SQLite and comparing them with their headers, in one snapshot."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import apsw
import msgspec

from plaudit.adapters.sqlite import rows as sql
from plaudit.adapters.sqlite.database import Database, close, connect
from plaudit.adapters.sqlite.work import DAMAGED, failure_of
from plaudit.domain.catalogue import MAX_CODE
from plaudit.domain.errors import Corrupt, Overloaded
from plaudit.ports.audit import Compared, Drift

_COUNT = "SELECT reaction, count(*) FROM reaction_row WHERE target = ? GROUP BY reaction"
_Counted = dict[Annotated[int, msgspec.Meta(ge=0, le=MAX_CODE)], int]
LET_GO_WITHIN_S = 1.0
_STEPS_BETWEEN_LOOKS = 20_000  # of SQLite's machine; some milliseconds


class SqliteAudit:
    """See `plaudit.ports.audit.Audit`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def drift(self, targets: Sequence[str], max_rows: int) -> Compared:
        """Compare the headers of those that have few rows with them."""

        return await self._database.read(
            lambda connection: compare(connection, targets, max_rows), patient=True
        )

    async def drift_of_large(self, target: str, within_s: float) -> Drift | None:
        """Compare one target on a connection of its own, so that neither readers nor the writer wait for it.

        What is read is one moment; for as long as it takes the log cannot begin anew, and grows.
        """
        gone = threading.Event()
        counting = asyncio.get_running_loop().run_in_executor(None, self._count, target, within_s, gone)
        try:
            return await asyncio.shield(counting)
        except Corrupt:
            self._database.found_damage()
            raise
        finally:
            gone.set()  # where the caller was cancelled: nobody may hold the file when it is closed
            await asyncio.wait([counting], timeout=LET_GO_WITHIN_S)

    def _count(self, target: str, within_s: float, gone: threading.Event) -> Drift | None:
        try:
            connection = connect(self._database.path, apsw.SQLITE_OPEN_READONLY, self._database.vfs)
            try:
                with interrupted(connection, within_s, gone.is_set):
                    drifted = compare(connection, [target], max_rows=None).drifted
            finally:
                close(connection)
        except apsw.InterruptError as error:
            raise Overloaded(f"the rows of {target} cannot be counted in {within_s:.0f} s") from error
        except (apsw.Error, *DAMAGED) as error:
            raise failure_of(error) from error
        return drifted[0] if drifted else None


@contextmanager
def interrupted(
    connection: apsw.Connection, within_s: float, gone: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """What runs on the connection inside raises `apsw.InterruptError` after so many seconds, or once `gone()`."""
    ends_s = time.monotonic() + within_s
    connection.set_progress_handler(lambda: gone() or time.monotonic() > ends_s, _STEPS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        connection.set_progress_handler(None)


def compare(connection: apsw.Connection, targets: Sequence[str], max_rows: int | None) -> Compared:
    """Compare those with at most so many rows, as of one moment. Raises `Corrupt` for a reaction that is none."""
    with connection:
        lines = list(sql.read_targets(connection, targets).values())
        large = [line.id for line in lines if max_rows is not None and line.rows > max_rows]
        found = [_compare(connection, line) for line in lines if line.id not in large]
    return Compared(len(found), [drift for drift in found if drift is not None], large)


def _compare(connection: apsw.Connection, line: sql.StoredTarget) -> Drift | None:
    try:
        counted = msgspec.convert(dict(connection.execute(_COUNT, (line.no,))), _Counted)
    except msgspec.ValidationError as error:
        raise Corrupt(f"the reactions to {line.id} cannot be counted: {error}") from error
    rows = sum(counted.values())
    codes = range(1, max(len(line.counts), max(counted, default=0)) + 1)
    # While a target is being purged its counts are 0 already and its rows are on their way out.
    reactions = tuple(0 if line.deleted else counted.get(code, 0) for code in codes)
    stored = tuple(line.counts[code - 1] if code <= len(line.counts) else 0 for code in codes)
    if stored == reactions and rows == line.rows:
        return None
    return Drift(line.id, line.seq, stored, reactions, line.rows, rows)
