"""Counting the rows of targets in SQLite and comparing them with their headers, in one snapshot."""

from collections.abc import Sequence

import apsw

from plaudit.adapters.sqlite import rows as sql
from plaudit.adapters.sqlite.database import Database
from plaudit.ports.audit import Drift

_COUNT = "SELECT reaction, count(*) FROM reaction_row WHERE target = ? GROUP BY reaction"


class SqliteAudit:
    """See `plaudit.ports.audit.Audit`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def drift(self, targets: Sequence[str], max_rows: int) -> tuple[int, list[Drift]]:
        """Compare these targets' headers with their rows."""

        return await self._database.read(lambda connection: compare(connection, targets, max_rows))


def compare(connection: apsw.Connection, targets: Sequence[str], max_rows: int) -> tuple[int, list[Drift]]:
    """How many of these targets were compared, and which drifted, as of one moment."""
    with connection:
        lines = [t for t in sql.read_targets(connection, targets).values() if t.rows <= max_rows]
        found = [_compare(connection, line) for line in lines]
    return len(lines), [drift for drift in found if drift is not None]


def _compare(connection: apsw.Connection, line: sql.StoredTarget) -> Drift | None:
    counted = dict(connection.execute(_COUNT, (line.no,)))
    rows = sum(counted.values())
    codes = range(1, max(len(line.counts), max(counted, default=0)) + 1)
    # While a target is being purged its counts are 0 already and its rows are on their way out.
    reactions = tuple(0 if line.deleted else counted.get(code, 0) for code in codes)
    stored = tuple(line.counts[code - 1] if code <= len(line.counts) else 0 for code in codes)
    if stored == reactions and rows == line.rows:
        return None
    return Drift(line.id, line.seq, stored, reactions, line.rows, rows)
