"""The journal in files: `DATA/journal/`, one file per process, locked while the process lives.

Append-only lines of JSON. One write per proposal: the ends of others ride along with the next beginning, and what is
never written is settled once more. The kernel has what was written even if the process is killed; nothing is synced,
because a lost machine is the auditor's. A line that was torn by a kill names a proposal that never left.

A file that has grown is written anew, with the open entries alone, before the old one goes: killed between the two,
both are adopted, which is safe. Files of one folder belong to one machine: the locks are `flock`.
"""

import asyncio
import errno
import fcntl
import logging
import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

from plaudit.domain.errors import Unavailable
from plaudit.ports.cells import CellKey
from plaudit.ports.journal import Entry

log = logging.getLogger("plaudit.journal")

FOLDER = "journal"
SUFFIX = ".journal"
ROTATE_AT_BYTES = 4 << 20


class _Begin(msgspec.Struct, array_like=True, tag_field="line", tag="begin.v1", gc=False):
    place: int
    target: str
    bucket: int
    seq: int
    users: tuple[str, ...]


class _End(msgspec.Struct, array_like=True, tag_field="line", tag="end.v1", gc=False):
    place: int


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(_Begin | _End)


class FileJournal:
    """See `plaudit.ports.journal.Journal`; use as a context manager, on one thread."""

    def __init__(self, data: Path, rotate_at_bytes: int = ROTATE_AT_BYTES) -> None:
        self._folder = data / FOLDER
        self._rotate_at = self._limit = rotate_at_bytes
        self._open: dict[int, bytes] = {}  # the line of each entry
        self._ends: list[int] = []  # ended, and not written yet
        self._places = 0
        self._file = -1
        self._path = Path()
        self._size = 0

    def __enter__(self) -> Self:
        """Make a file and lock it. Raises `Unavailable`."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path, self._file = _new(self._folder)
        except OSError as error:
            raise Unavailable(f"no journal can be kept in {self._folder}: {error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        """Leave what is open to whoever adopts it; a journal in which nothing is open goes."""
        if not self._open:
            self._path.unlink(missing_ok=True)
        os.close(self._file)

    @property
    def open(self) -> int:
        """How many proposals are under way or not published yet."""
        return len(self._open)

    def begin(self, key: CellKey, seq: int, users: Collection[str]) -> int:
        place = self._places = self._places + 1
        line = _encode(_Begin(place, key.target, key.bucket, seq, tuple(users))) + b"\n"
        if self._size + len(line) > self._limit:
            self._rotate()
        ends = b"".join([b'["end.v1",%d]\n' % ended for ended in self._ends])
        self._write(ends + line)
        self._ends.clear()
        self._open[place] = line
        return place

    def end(self, place: int) -> None:
        if self._open.pop(place, None) is not None:
            self._ends.append(place)

    def _write(self, lines: bytes) -> None:
        """All of it, or nothing: half a line in the middle would spoil the next one."""
        try:
            if os.write(self._file, lines) != len(lines):
                raise OSError(errno.ENOSPC, "written in part")
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise Unavailable(f"the journal cannot be written: {error}") from error
        self._size += len(lines)

    def _rotate(self) -> None:
        """Go on in a new file that has the open entries. Raises `Unavailable`, and then the old one stays."""
        lines = b"".join(self._open.values())
        old_path, old_file, old_size = self._path, self._file, self._size
        try:
            self._path, self._file = _new(self._folder)
        except OSError as error:
            raise Unavailable(f"the journal cannot be written: {error}") from error
        try:
            self._size = 0
            self._write(lines)
        except Unavailable:
            os.close(self._file)
            self._path.unlink(missing_ok=True)
            self._path, self._file, self._size = old_path, old_file, old_size
            raise
        self._ends.clear()
        self._limit = max(self._rotate_at, 2 * self._size)
        old_path.unlink(missing_ok=True)
        os.close(old_file)


class FileJournals:
    """See `plaudit.ports.journal.Journals`: the files in `DATA/journal/` that nobody has locked."""

    def __init__(self, data: Path) -> None:
        self._folder = data / FOLDER

    async def adopt(self) -> "Sequence[AdoptedFile]":
        looking = asyncio.ensure_future(asyncio.to_thread(self._adopt))
        try:
            return await asyncio.shield(looking)
        except asyncio.CancelledError:
            looking.add_done_callback(_release_all)  # the thread goes on, and nobody waits for what it locks
            raise

    def _adopt(self) -> "list[AdoptedFile]":
        adopted: list[AdoptedFile] = []
        try:
            for path in sorted(self._folder.glob(f"*{SUFFIX}")):
                file = _lock(path)
                if file is not None:
                    adopted.append(AdoptedFile(path, file))
        except OSError as error:
            for each in adopted:
                each.release()
            raise Unavailable(f"journals in {self._folder} cannot be read: {error}") from error
        return adopted


class AdoptedFile:
    """See `plaudit.ports.journal.Adopted`. Holds the lock until it is dropped or released."""

    def __init__(self, path: Path, file: int) -> None:
        """Read it. Raises `OSError`, and then holds nothing."""
        self._path = path
        self._file = file
        try:
            self.entries = list(entries_of(path))
        except OSError:
            self.release()
            raise

    def drop(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(f"{self._path} cannot be removed: {error}") from error
        finally:
            self.release()

    def release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _new(folder: Path) -> tuple[Path, int]:
    """A new file that this process holds. Raises `OSError`."""
    while True:
        path = folder / f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            file = _lock(path)
            if file is not None:  # else somebody adopted the empty file, between the two lines
                return path, file


def _lock(path: Path) -> int | None:
    """The file, locked and open for appending; None if somebody else has it or it is gone. Raises `OSError`."""
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file).st_nlink:  # dropped by whoever had it before us: we hold a file without a name
            return file
    except BlockingIOError:
        pass
    except OSError:
        os.close(file)
        raise
    os.close(file)
    return None


def _release_all(looking: "asyncio.Future[list[AdoptedFile]]") -> None:
    if not looking.cancelled() and looking.exception() is None:
        for each in looking.result():
            each.release()


def entries_of(path: Path) -> Iterator[Entry]:
    """What was begun and not ended. Lines that cannot be read are passed over: the last one may be torn."""
    began: dict[int, _Begin] = {}
    *lines, _torn = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            said = _decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            log.error("line %s of %s cannot be read and is passed over: %s", number, path, error)
            continue
        if isinstance(said, _Begin):
            began[said.place] = said
        else:
            began.pop(said.place, None)
    for said in began.values():
        yield Entry(CellKey(said.target, said.bucket), said.seq, said.users)
