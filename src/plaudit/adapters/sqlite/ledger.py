"""The ledger in SQLite: reads what the taps touch, lets `fold` decide, writes all of it in one transaction."""

from collections.abc import Sequence

import apsw
import msgspec

from plaudit.adapters.sqlite import rows as sql
from plaudit.adapters.sqlite.database import Database
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Plan, Row, Rules, fold
from plaudit.domain.events import Cause, committed
from plaudit.ports.clock import Clock
from plaudit.ports.ledger import CellResult, CellTaps, Target

ERASED = "SELECT json_group_array(id) FROM user WHERE erased_at IS NOT NULL AND id IN ({})"


class Numbers:
    """Gives new targets their number and their first `seq`. Only the writer thread uses it, so a counter is enough."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._generation = 0
        self._last = 0
        self._unseen = Header()

    def next(self, connection: apsw.Connection) -> int:
        """The next number nobody has. Gaps are harmless."""
        self._learn(connection)
        self._last += 1
        return self._last

    def unseen(self, connection: apsw.Connection) -> Header:
        """The header of a target nobody has seen. In a restored file its `seq` is above all that was ever shown: the
        target may be one that was lost (`plaudit.domain.restored`)."""
        self._learn(connection)
        return self._unseen

    def _learn(self, connection: apsw.Connection) -> None:
        if self._generation != self._database.generation:
            self._last = connection.execute("SELECT coalesce(max(no), 0) FROM target").get
            self._unseen = Header(msgspec.convert(connection.execute("SELECT floor FROM restored").get, int))
            self._generation = self._database.generation


class SqliteLedger:
    """See `plaudit.ports.ledger.Ledger`."""

    def __init__(self, database: Database, clock: Clock, rules: Rules, numbers: Numbers) -> None:
        self._database = database
        self._clock = clock
        self._rules = rules
        self._numbers = numbers

    async def commit(self, work: Sequence[CellTaps]) -> list[CellResult]:
        """Fold and store these taps in one transaction; see the port."""
        return await self._database.write(lambda connection: self._commit(connection, work), patient=True)

    def _commit(self, connection: apsw.Connection, work: Sequence[CellTaps]) -> list[CellResult]:
        if len({cell.target for cell in work}) != len(work):
            raise ValueError("a cell is committed once per call; put all taps of a target into one CellTaps")
        keys = dict.fromkeys((cell.target, tap.user) for cell in work for tap in cell.taps)
        stored, erased, known = sql.read_cells(connection, list(keys))
        now = self._clock.now_us()
        headers: list[tuple[int, str, Header]] = []
        changed: list[sql.WriteRow] = []
        events: list[bytes] = []
        results = []
        for cell in work:
            line = stored.get(cell.target)
            no = line.no if line else 0
            header, registration = (line.header, line.registration) if line else (None, None)
            mine = {tap.user: row for tap in cell.taps if (row := known.get((cell.target, tap.user)))}
            plan = fold(
                header or self._numbers.unseen(connection),
                mine,
                cell.taps,
                now,
                self._rules,
                registration,
                erased,
            )
            if plan.changed:
                no = no or self._numbers.next(connection)
                header = plan.header
                headers.append((no, cell.target, header))
                changed += _lines(no, plan)
                events.append(committed(cell.target, header, "tap", plan.transitions, 0, registration))
            results.append(CellResult(Target(header, registration), plan.answers))
        sql.write_headers(connection, headers)
        sql.write_rows(connection, changed)
        sql.write_events(connection, events)
        return results


def _lines(no: int, plan: Plan) -> list[sql.WriteRow]:
    listed = int(plan.header.rows > sql.LISTED_ABOVE)
    return [write_line(no, user, row, listed) for user, row in plan.changed.items()]


def write_line(no: int, user: str, row: Row, listed: int) -> sql.WriteRow:
    """The row as the file has it."""
    return (no, user, row.reaction, row.created_at, row.updated_at - row.created_at, row.ops or None, listed)


def write_commit(
    connection: apsw.Connection,
    no: int,
    target: str,
    header: Header,
    cause: Cause,
    event: bytes | None = None,
    registration: Registration | None = None,
) -> None:
    """Store a header that changed without taps, with its event."""
    sql.write_headers(connection, [(no, target, header)])
    sql.write_events(connection, [event or committed(target, header, cause, [], 0, registration)])
