"""Looking at a data folder from outside, while a server may be running on it: for `plaudit doctor`. Writes nothing."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec

from plaudit.adapters.sqlite.audit import compare, interrupted
from plaudit.adapters.sqlite.database import APPLICATION_ID, FILE_NAME, connect, migrations
from plaudit.adapters.sqlite.inbox import Line
from plaudit.adapters.sqlite.rows import all_targets
from plaudit.adapters.sqlite.work import DAMAGED
from plaudit.domain.errors import Corrupt
from plaudit.domain.quiet import Wishes
from plaudit.ports.audit import Compared, Drift
from plaudit.ports.notifications import Channel
from plaudit.ports.removals import JobKind, JobState

_SAMPLE = "SELECT id FROM target WHERE rows > 0 ORDER BY no DESC LIMIT ?"
_LARGEST = "SELECT id FROM target WHERE rows > ? ORDER BY rows DESC LIMIT ?"

# Tables with texts in which SQLite itself sees no damage, and what a line is to be; of `target` see `all_targets`.
_LINES: dict[str, tuple[str, msgspec.json.Decoder[object]]] = {
    "user": (
        "SELECT json_array(id, name, avatar_url, locale, time_zone, erased_at) FROM user",
        msgspec.json.Decoder(tuple[str, str | None, str | None, str | None, str | None, int | None]),
    ),
    "job": (
        "SELECT json_array(id, kind, subject, state, created_at, finished_at, json(removed), note) FROM job",
        msgspec.json.Decoder(tuple[str, JobKind, str, JobState, int, int | None, dict[str, int], str]),
    ),
    "notification": (
        "SELECT json_array(id, owner, at, target, type, title, total, json(split), json(sample), read)"
        " FROM notification",
        msgspec.json.Decoder(Line),
    ),
    "device": (
        "SELECT json_array(id, owner, kind, token, json(more), registered_at, suspect) FROM device",
        msgspec.json.Decoder(tuple[str, str, str, str, dict[str, str], int, int]),
    ),
    "wish": (
        "SELECT json_array(owner, json(wishes)) FROM wish",
        msgspec.json.Decoder(tuple[str, Wishes]),
    ),
    "delivery": (
        "SELECT json_array(no, message, channel, device, created_at, due, tries, reason) FROM delivery",
        msgspec.json.Decoder(tuple[int, str, Channel, str, int, int | None, int, str]),
    ),
}


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What a data folder looks like. Sizes in bytes; `fault` is None for a file that can be used."""

    exists: bool
    sqlite: str = apsw.sqlite_lib_version()
    fault: str | None = None
    schema: int = 0
    newest_schema: int = 0
    file_bytes: int = 0
    log_bytes: int = 0
    free_bytes: int = 0
    compared: int = 0
    drifted: tuple[Drift, ...] = ()
    uncounted: int = 0
    unread: bool = False


def inspect(folder: Path, sample: int, max_rows: int, within_s: float) -> Inspection:
    """Look at the folder. The rows of up to `sample` of its newest targets are counted, and of as many of its largest,
    with more than `max_rows`, as can be in `within_s` seconds; `uncounted` of them are left. Before, as many lines as
    can be in that time are read, but for reactions and what is under way to the notifier; `unread`: some are left.
    """
    path = folder / FILE_NAME
    nearest = next(place for place in (folder, *folder.resolve().parents) if place.exists())
    disk = os.statvfs(nearest)
    free_bytes = disk.f_bavail * disk.f_frsize
    newest = migrations()[-1][0]
    if not path.exists():
        return Inspection(exists=False, free_bytes=free_bytes, newest_schema=newest)
    fault, schema, found, whole = None, 0, Compared(0, [], []), True
    try:
        connection = connect(path, apsw.SQLITE_OPEN_READONLY)
        schema = int(connection.pragma("user_version"))
        if int(connection.pragma("application_id")) != APPLICATION_ID:
            fault = "the file belongs to another program"
        elif schema > newest:
            fault = f"schema {schema} is of a newer Plaudit, this one knows up to {newest}"
        elif (check := connection.pragma("quick_check")) != "ok":
            fault = f"quick_check: {check}"
        else:
            whole = schema < newest or _read_lines(connection, within_s)
            targets = [str(id_) for (id_,) in connection.execute(_SAMPLE, (sample,))]
            small = compare(connection, targets, max_rows)
            largest = [str(id_) for (id_,) in connection.execute(_LARGEST, (max_rows, sample))]
            large = _compare_large(connection, largest, within_s)
            found = Compared(small.compared + large.compared, small.drifted + large.drifted, large.large)
        connection.close()
    except (apsw.Error, Corrupt, *DAMAGED) as error:
        fault = str(error)
    log = path.with_name(f"{FILE_NAME}-wal")
    return Inspection(
        exists=True,
        fault=fault,
        schema=schema,
        newest_schema=newest,
        file_bytes=path.stat().st_size,
        log_bytes=log.stat().st_size if log.exists() else 0,
        free_bytes=free_bytes,
        compared=found.compared,
        drifted=tuple(found.drifted),
        uncounted=len(found.large),
        unread=not whole,
    )


def _read_lines(connection: apsw.Connection, within_s: float) -> bool:
    """Read all that is to be read; whether there was time. Raises `Corrupt` for a line that cannot be read."""
    try:
        with interrupted(connection, within_s):
            for table, lines in _lines(connection):
                try:
                    for _ in lines:
                        pass
                except DAMAGED as error:
                    raise Corrupt(f"a line of the table {table} cannot be read: {error}") from error
    except apsw.InterruptError:
        return False
    return True


def _lines(connection: apsw.Connection) -> Iterator[tuple[str, Iterator[object]]]:
    yield "target", all_targets(connection)
    for table, (statement, decoder) in _LINES.items():
        yield table, _decoded(connection, statement, decoder)


def _decoded(
    connection: apsw.Connection, statement: str, decoder: msgspec.json.Decoder[object]
) -> Iterator[object]:
    for (line,) in connection.execute(statement):
        yield decoder.decode(str(line))


def _compare_large(connection: apsw.Connection, targets: list[str], within_s: float) -> Compared:
    """One after the other, each as of one moment, until the time is over; `large` are those that are left."""
    drifted: list[Drift] = []
    for done, target in enumerate(targets):
        began_s = time.monotonic()
        try:
            with interrupted(connection, within_s):
                drifted += compare(connection, [target], max_rows=None).drifted
        except apsw.InterruptError:
            return Compared(done, drifted, targets[done:])
        within_s -= time.monotonic() - began_s
    return Compared(len(targets), drifted, [])
