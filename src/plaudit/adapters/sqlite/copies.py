"""Backups of the file, and putting one back in its place."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import apsw

from plaudit.adapters.files import forbidden, give, own_file, sync_file, sync_folder, trouble
from plaudit.adapters.sqlite.database import (
    APPLICATION_ID,
    FILE_NAME,
    check_ours,
    close,
    connect,
    migrate,
)
from plaudit.adapters.sqlite.lock import lock_folder
from plaudit.domain.errors import Conflict, Corrupt, Unavailable
from plaudit.domain.restored import floor_at
from plaudit.ports.clock import Clock
from plaudit.ports.transfer import Progress

PAGES_AT_ONCE = 2_000
DONE_NAME = "last-backup"  # an empty file: its time is when one was finished

_HOLDS_SOMETHING = """
SELECT EXISTS (SELECT 1 FROM target) OR EXISTS (SELECT 1 FROM user) OR EXISTS (SELECT 1 FROM job)
"""
_RAISE = ("UPDATE target SET seq = max(seq + 1, ?)", "UPDATE restored SET floor = max(floor, ?)")


class SqliteCopies:
    """Whole copies of the store, each one file."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._path = folder / FILE_NAME
        self._clock = clock

    def backup(self, file: Path, progress: Progress) -> None:
        """Copy the store as of one moment, also while it is being served, into a new file, verified and durable.

        The file is there as a whole or not at all. Raises `Conflict` if there is one already, `Corrupt` if what was
        read is damaged, `Unavailable` if it cannot be read or written.
        """
        if file.exists():
            raise Conflict(f"{file} exists; a backup never overwrites one. Name another file.")
        if not os.path.exists(self._path):
            raise Unavailable(forbidden(self._path) or f"{self._path} does not exist.")
        partial = file.with_name(f"{file.name}.partial")
        with _named(partial, self._path):
            _copy(self._path, partial, progress)
            partial.replace(file)
            sync_folder(file.parent)
        with suppress(OSError):  # who may only read there has a backup all the same
            own_file(self._folder / DONE_NAME).close()

    def last_backup_s(self) -> float:
        """When a backup was last finished, in seconds since 1970; 0 if none was."""
        try:
            return (self._folder / DONE_NAME).stat().st_mtime
        except OSError:
            return 0.0

    def restore(self, file: Path, *, force: bool, progress: Progress) -> Path | None:
        """Put a backup in the place of the store, with every version raised above all that was ever shown.

        Durable when it returns. What was there before is kept, and its path returned. Raises `Conflict` if the store is
        being served, or holds something and `force` is not given; `Corrupt` for a file that is no sound backup of this
        or an earlier version; `Unavailable` if it cannot be read or written. After each of them the store is as it was.
        """
        if not file.exists():
            raise Unavailable(f"{file} does not exist.")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = lock_folder(self._folder)
        except OSError as error:
            raise Unavailable(f"{self._path} cannot be written: {trouble(self._path, error)}") from error
        try:
            if not force and self._path.exists() and not _holds_nothing(self._path):
                raise Conflict(
                    f"{self._path} exists. Restore into another folder (PLAUDIT_DATA), or add --force: "
                    "then it is kept beside the restored one."
                )
            with _named(self._path.with_name(f"{FILE_NAME}.restoring"), file) as fresh:
                _copy(file, fresh, progress, floor=floor_at(self._clock.now_us()))
                self._give(fresh)
                aside = self._set_aside()
                fresh.replace(self._path)
                sync_folder(self._folder)
        finally:
            os.close(lock)
        return aside

    def _give(self, fresh: Path) -> None:
        """Whoever could use the file that is replaced can use this one."""
        if not self._path.exists():
            give(fresh, self._folder)
            return
        give(fresh, self._path)
        descriptor = os.open(fresh, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, stat.S_IMODE(self._path.stat().st_mode))
        finally:
            os.close(descriptor)

    def _set_aside(self) -> Path | None:
        """Give the file and its log other names, that still match: a log that stayed would be taken for the new file's.

        The file goes first: whoever is killed in between has no database yet, and restores again.
        """
        moment = datetime.fromtimestamp(self._clock.now_us() / 1e6, UTC)
        aside = self._path.with_name(f"{FILE_NAME}.before-restore-{moment:%Y%m%dT%H%M%S.%fZ}")
        kept = self._path.exists()
        if kept:
            self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            rest = self._path.with_name(f"{FILE_NAME}{suffix}")
            if rest.exists():
                rest.replace(aside.with_name(f"{aside.name}{suffix}"))
        return aside if kept else None


@contextmanager
def _named(path: Path, source: Path) -> Iterator[Path]:
    """Errors around this half-made copy, by our names; what is left of it is removed."""
    try:
        yield path
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise Corrupt(f"the file is damaged or no SQLite database: {error}") from error
    except apsw.CantOpenError as error:
        raise Unavailable(f"{source} cannot be read: {trouble(source, error)}") from error
    except (apsw.Error, OSError) as error:
        if isinstance(error, apsw.FullError) or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
            raise Unavailable(f"no space left in {path.parent.absolute()}") from error
        raise Unavailable(f"copying failed: {trouble(path, error)}") from error
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)


def _copy(source: Path, target: Path, progress: Progress, *, floor: int | None = None) -> None:
    """Copy a whole file of ours as of one moment, check the copy, and put it on disk. With a floor, prepare it to be
    served: bring it to this version's schema, and raise every version above the floor."""
    own_file(target).close()
    read = connect(source, apsw.SQLITE_OPEN_READONLY)
    try:
        if int(read.pragma("application_id")) != APPLICATION_ID:
            raise Corrupt(f"{source} is not a file of Plaudit.")
        check_ours(read)
        _check_room(target.parent, int(read.pragma("page_count")) * int(read.pragma("page_size")), source)
        write = connect(target, apsw.SQLITE_OPEN_READWRITE)
        try:
            _copy_pages(read, write, progress)
            write.pragma("journal_mode", "delete")  # one file, without a log beside it
            if (found := write.pragma("quick_check")) != "ok":
                raise Corrupt(f"{source} is damaged: {found}")
            if floor is not None:
                migrate(write)
                with write:
                    for statement in _RAISE:
                        write.execute(statement, (floor,))
        finally:
            close(write)
    finally:
        close(read)
    sync_file(target)


def _check_room(folder: Path, needed_bytes: int, source: Path) -> None:
    """Raise `Unavailable` sooner than the disk is full. Some file systems say nothing of their room, and some take a
    file in fewer bytes than it has."""
    disk = os.statvfs(folder)
    free_bytes = disk.f_bavail * disk.f_frsize
    needed_bytes = min(needed_bytes, source.stat().st_blocks * 512)
    if disk.f_blocks and free_bytes < needed_bytes:
        where = f"no space left in {folder.absolute()}"
        raise Unavailable(f"{where}: the copy takes {needed_bytes:,} bytes, and {free_bytes:,} are free")


def _copy_pages(read: apsw.Connection, write: apsw.Connection, progress: Progress) -> None:
    """Step by step out of one read transaction: commits of a running server neither show up nor start it again."""
    read.execute("BEGIN")
    read.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # the moment
    with write.backup("main", read, "main") as backup:
        while not backup.done:
            backup.step(PAGES_AT_ONCE)
            progress(backup.page_count - backup.remaining, backup.page_count)


def _holds_nothing(path: Path) -> bool:
    """Whether this is a file as a first start makes it. A file that cannot be read may hold anything."""
    try:
        connection = connect(path, apsw.SQLITE_OPEN_READONLY)
        try:
            return not connection.execute(_HOLDS_SOMETHING).get
        finally:
            close(connection)
    except apsw.Error:
        return False
