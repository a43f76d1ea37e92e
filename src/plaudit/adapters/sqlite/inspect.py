"""Looking at a data folder from outside, while a server may be running on it: for `plaudit doctor`. Writes nothing."""

import os
from pathlib import Path

import apsw
import msgspec

from plaudit.adapters.sqlite.audit import compare
from plaudit.adapters.sqlite.database import APPLICATION_ID, FILE_NAME, connect, migrations
from plaudit.ports.audit import Drift

_SAMPLE = "SELECT id FROM target WHERE rows > 0 ORDER BY no DESC LIMIT ?"


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


def inspect(folder: Path, sample: int, max_rows: int) -> Inspection:
    """Look at the folder; up to `sample` of its newest targets, with at most `max_rows` rows, are counted."""
    path = folder / FILE_NAME
    nearest = next(place for place in (folder, *folder.resolve().parents) if place.exists())
    disk = os.statvfs(nearest)
    free_bytes = disk.f_bavail * disk.f_frsize
    newest = migrations()[-1][0]
    if not path.exists():
        return Inspection(exists=False, free_bytes=free_bytes, newest_schema=newest)
    fault, schema, compared, drifted = None, 0, 0, list[Drift]()
    try:
        connection = connect(path, apsw.SQLITE_OPEN_READONLY)
        schema = int(connection.pragma("user_version"))
        if int(connection.pragma("application_id")) != APPLICATION_ID:
            fault = "the file belongs to another program"
        elif schema > newest:
            fault = f"schema {schema} is of a newer Plaudit, this one knows up to {newest}"
        elif (found := connection.pragma("quick_check")) != "ok":
            fault = f"quick_check: {found}"
        else:
            targets = [str(id_) for (id_,) in connection.execute(_SAMPLE, (sample,))]
            compared, drifted = compare(connection, targets, max_rows)
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
        compared=compared,
        drifted=tuple(drifted),
    )
