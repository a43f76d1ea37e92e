"""Records in and out of SQLite: whole batches in one transaction each, and everything out of one snapshot."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path

import apsw
import msgspec

from plaudit.adapters.files import trouble
from plaudit.adapters.sqlite import rows as sql
from plaudit.adapters.sqlite.database import FILE_NAME, Database, check_ours, close, connect, migrate
from plaudit.adapters.sqlite.directory import REGISTER
from plaudit.adapters.sqlite.inbox import forget_owner
from plaudit.adapters.sqlite.ledger import ERASED, Numbers, write_line
from plaudit.adapters.sqlite.removals import MARK, save_job
from plaudit.adapters.sqlite.work import DAMAGED, failure_of
from plaudit.domain.cell import Header, Row
from plaudit.domain.errors import PlauditError, Unavailable
from plaudit.domain.merge import Merged, Shown, Tally, merge, merge_users, shown
from plaudit.domain.transfer import ReactionRecord, Record, TargetRecord, UserRecord
from plaudit.ports.clock import Clock
from plaudit.ports.removals import new_job
from plaudit.ports.transfer import Batch, Stored

RECORDS_AT_ONCE = 1000  # that an export reads
CELLS_AT_ONCE = 1024  # read, merged and written together, within the transaction of their batch

_Cell = tuple[str, sql.StoredTarget | None, Merged]
_Profile = tuple[str, str | None, str | None, str | None, str | None]
_NO_ROWS: dict[str, Row] = {}

_KNOWN = "SELECT id FROM target WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY no"
_USERS = """
SELECT id, name, avatar_url, locale, time_zone FROM user WHERE id IN (SELECT value FROM json_each(?1))
"""
_HAS_ROWS = "SELECT EXISTS (SELECT 1 FROM reaction_row INDEXED BY reacted WHERE user = ?)"
_PROFILE = "INSERT INTO user (id, name, avatar_url, locale, time_zone) VALUES (?1, ?2, ?3, ?4, ?5)"

_EXPORTED_USERS = "SELECT id, name, avatar_url, locale, time_zone, erased_at FROM user ORDER BY id"
_EXPORTED_ROWS = """
SELECT target, user, reaction, created_at, age FROM reaction_row
WHERE created_at > 0 AND user NOT IN (SELECT id FROM user WHERE erased_at IS NOT NULL) ORDER BY target, user
"""
_REACTIONS = "SELECT coalesce(sum(rows), 0) FROM target WHERE deleted = 0"


class _Refused(PlauditError):
    """Rolls a batch back because something in it was refused."""


class SqliteIntake:
    """See `plaudit.ports.transfer.Intake`."""

    def __init__(self, database: Database, clock: Clock, numbers: Numbers) -> None:
        self._database = database
        self._clock = clock
        self._numbers = numbers

    async def store(self, batch: Batch, *, whole: bool) -> Stored:
        """Merge and store the batch in one transaction."""
        tally = Tally()

        def work(connection: apsw.Connection) -> None:
            profiles, marks, erased = _users(connection, batch, tally)
            connection.executemany(_PROFILE, profiles)
            for user in marks:
                self._mark(connection, user)
            for cells in _merged(connection, batch, self._numbers.unseen(connection), erased, tally):
                self._write(connection, cells)
            if whole and tally.refused:
                raise _Refused

        try:
            await self._database.write(work, patient=True)
        except _Refused:
            return Stored(tally, stored=False)
        return Stored(tally, stored=True)

    def _write(self, connection: apsw.Connection, cells: list[_Cell]) -> None:
        headers: list[tuple[int, str, Header]] = []
        changed: list[sql.WriteRow] = []
        registered: list[tuple[str | None, str | None, int, int | None, int]] = []
        for target, line, merged in cells:
            no = line.no if line else self._numbers.next(connection)
            headers.append((no, target, merged.header))
            # In the order of the table: neighbours are written together, and pages fill up.
            listed = int(merged.header.rows > sql.LISTED_ABOVE)
            changed += [write_line(no, user, row, listed) for user, row in sorted(merged.rows.items())]
            known = merged.registration
            if known is not None and (line is None or line.registration is None):
                registered.append((known.owner, known.title, int(known.closed), known.allowed, no))
        sql.write_headers(connection, headers)
        sql.write_rows(connection, changed)
        connection.executemany(REGISTER, registered)

    def _mark(self, connection: apsw.Connection, user: UserRecord) -> None:
        connection.execute(MARK, (user.user, user.erased_at))
        forget_owner(connection, user.user)
        if connection.execute(_HAS_ROWS, (user.user,)).get:
            save_job(connection, new_job("erase_user", user.user, self._clock.now_us()))


class SqlitePreview:
    """An `Intake` that counts and stores nothing, for a file that may be missing, or being served."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    async def store(self, batch: Batch, *, whole: bool) -> Stored:
        """What would become of the batch, with the file as it is now."""
        with reading(self._path) as connection:
            tally = Tally()
            *_, erased = _users(connection, batch, tally)
            for _ in _merged(connection, batch, Header(), erased, tally):
                pass
            return Stored(tally, stored=False)


class SqliteSource:
    """See `plaudit.ports.transfer.Source`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    @asynccontextmanager
    async def records(self) -> AsyncIterator[tuple[int, AsyncIterator[Sequence[Record]]]]:
        """Everything, as of one moment."""
        with reading(self._path) as connection:
            yield int(connection.execute(_REACTIONS).get), _pages(_records(connection))


@contextmanager
def reading(path: Path) -> Iterator[apsw.Connection]:
    """One moment of the file, or of an empty one where there is none. Raises `Unavailable`, and `Corrupt` for a file
    that is not ours or holds what cannot be read."""
    try:
        if path.exists():
            connection = connect(path, apsw.SQLITE_OPEN_READONLY)
        else:
            connection = apsw.Connection(":memory:")
        try:
            if path.exists():
                check_ours(connection)
            else:
                migrate(connection)
            connection.execute("BEGIN")
            yield connection
        finally:
            close(connection)
    except DAMAGED as error:
        raise failure_of(error) from error
    except (apsw.Error, PermissionError) as error:
        raise Unavailable(f"{path} cannot be read: {trouble(path, error)}") from error


async def _pages(records: Iterator[Record]) -> AsyncIterator[list[Record]]:
    while page := list(islice(records, RECORDS_AT_ONCE)):
        yield page


def _records(connection: apsw.Connection) -> Iterator[Record]:
    for id_, name, avatar_url, locale, time_zone, erased_at in connection.execute(_EXPORTED_USERS):
        yield UserRecord(
            user=id_,
            name=name,
            avatar_url=avatar_url,
            locale=locale,
            time_zone=time_zone,
            erased_at=erased_at,
        )
    rows = connection.execute(_EXPORTED_ROWS)
    row = next(rows, None)
    for line in sql.all_targets(connection):
        header = line.header
        yield TargetRecord(
            target=line.id,
            type=line.type,
            version=line.seq,
            registration=line.registration,
            deleted=bool(line.deleted),
        )
        while row is not None and row[0] <= line.no:
            no, user, reaction, created_at, age = row
            if no == line.no and not header.deleted:
                yield ReactionRecord(line.id, user, reaction, created_at, created_at + age, line.type)
            row = next(rows, None)


def _merged(
    connection: apsw.Connection, batch: Batch, unseen: Header, erased: set[str], tally: Tally
) -> Iterator[list[_Cell]]:
    """The cells that the batch changes, some at a time, in the order of the table; new ones at the end."""
    targets = list(batch.reactions | batch.targets)
    ids = msgspec.json.encode(targets).decode()
    there = [str(target) for (target,) in connection.execute(_KNOWN, (ids,)).fetchall()]
    known = set(there)
    order = [*there, *(target for target in targets if target not in known)]
    for start in range(0, len(order), CELLS_AT_ONCE):
        some = order[start : start + CELLS_AT_ONCE]
        stored = sql.read_targets(connection, some)
        rows = _rows(connection, stored, batch)
        cells: list[_Cell] = []
        for target in some:
            line = stored.get(target)
            header, registration = (line.header, line.registration) if line else (unseen, None)
            merged = merge(
                header,
                registration,
                rows.get(line.no, _NO_ROWS) if line else _NO_ROWS,
                batch.targets.get(target, ()),
                batch.reactions.get(target, ()),
                erased,
                tally,
            )
            if merged.header is not header:
                cells.append((target, line, merged))
        yield cells


def _rows(
    connection: apsw.Connection, stored: dict[str, sql.StoredTarget], batch: Batch
) -> dict[int, dict[str, Row]]:
    """By target number: the rows of those who react in the batch, and of the recent reactors."""
    keys = []
    for target, line in stored.items():
        if reactions := batch.reactions.get(target):
            users = {record.user for record in reactions}
            users.update(user for user, _ in line.recent)
            keys += [(line.no, user) for user in sorted(users)]
    found: dict[int, dict[str, Row]] = {}
    for (no, user), row in sql.read_rows(connection, keys).items():
        found.setdefault(no, {})[user] = row
    return found


def _users(
    connection: apsw.Connection, batch: Batch, tally: Tally
) -> tuple[list[_Profile], list[UserRecord], set[str]]:
    """The profiles to store, only where there is none; the marks to set, on anybody; and who is erased then."""
    ids = msgspec.json.encode([record.user for record in batch.users]).decode()
    there: dict[str, Shown] = {user: tuple(profile) for user, *profile in connection.execute(_USERS, (ids,))}
    users = {record.user for records in batch.reactions.values() for record in records}
    users.update(record.user for record in batch.users)
    erased = set(sql.read_strings(connection, ERASED, sorted(users)))
    profiles, marks = merge_users(batch.users, there, erased, tally)
    return (
        [(user, *shown(record)) for user, record in profiles.items()],
        list(marks.values()),
        erased | marks.keys(),
    )
