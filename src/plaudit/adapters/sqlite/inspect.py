"""Looking at a data folder from outside, while a server may be running on it: for `plaudit doctor`. Writes nothing."""

import os
import time
from pathlib import Path

import apsw
import msgspec

from plaudit.adapters.sqlite.audit import compare, interrupted
from plaudit.adapters.sqlite.database import APPLICATION_ID, FILE_NAME, connect, migrations
from plaudit.ports.audit import Compared, Drift

_SAMPLE = "SELECT id FROM target WHERE rows > 0 ORDER BY no DESC LIMIT ?"
_LARGEST = "SELECT id FROM target WHERE rows > ? ORDER BY rows DESC LIMIT ?"


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


def inspect(folder: Path, sample: int, max_rows: int, within_s: float) -> Inspection:
    """Look at the folder. The rows of up to `sample` of its newest targets are counted, and of as many of its largest,
    with more than `max_rows`, as can be in `within_s` seconds; `uncounted` of them are left.
    """
    path = folder / FILE_NAME
    nearest = next(place for place in (folder, *folder.resolve().parents) if place.exists())
    disk = os.statvfs(nearest)
    free_bytes = disk.f_bavail * disk.f_frsize
    newest = migrations()[-1][0]
    if not path.exists():
        return Inspection(exists=False, free_bytes=free_bytes, newest_schema=newest)
    fault, schema, found = None, 0, Compared(0, [], [])
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
            targets = [str(id_) for (id_,) in connection.execute(_SAMPLE, (sample,))]
            small = compare(connection, targets, max_rows)
            largest = [str(id_) for (id_,) in connection.execute(_LARGEST, (max_rows, sample))]
            large = _compare_large(connection, largest, within_s)
            found = Compared(small.compared + large.compared, small.drifted + large.drifted, large.large)
        connection.close()
    except apsw.Error as error:
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
    )


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
