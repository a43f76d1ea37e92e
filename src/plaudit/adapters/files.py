"""Files of lines: read with a bound on every line, written whole or not at all. `.gz` is packed, `-` is the terminal.

Knows nothing of what the lines say.
"""

import gzip
import io
import os
import pwd
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from plaudit.domain.errors import Conflict, Corrupt, Unavailable

_BOM = b"\xef\xbb\xbf"
_CHUNK_BYTES = 1 << 20

Line = tuple[int, bytes | None]  # its number, from 1, and what it says; None: it is too long
Write = Callable[[bytes], object]


class LineFile:
    """A file of lines. Use as a context manager. Raises `Unavailable` if it cannot be opened."""

    def __init__(self, path: Path, max_line_bytes: int) -> None:
        self._path = path
        self._max = max_line_bytes
        self._stack = ExitStack()
        self._raw: IO[bytes] = io.BytesIO()
        self._lines: IO[bytes] = self._raw
        self.size_bytes = 0

    def __enter__(self) -> "LineFile":
        if str(self._path) == "-":
            self._raw = self._lines = sys.stdin.buffer
            return self
        try:
            self._raw = self._lines = self._stack.enter_context(self._path.open("rb"))
        except OSError as error:
            raise Unavailable(f"{self._path} cannot be read: {error.strerror}") from error
        self.size_bytes = os.fstat(self._raw.fileno()).st_size
        if self._path.suffix == ".gz":
            unpacked = self._stack.enter_context(gzip.GzipFile(fileobj=self._raw, mode="rb"))
            self._lines = self._stack.enter_context(io.BufferedReader(unpacked, _CHUNK_BYTES))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def read_bytes(self) -> int:
        """How much of `size_bytes` has been read; 0 where nobody knows."""
        return self._raw.tell() if self.size_bytes else 0

    def __iter__(self) -> Iterator[Line]:
        """The lines without their ends. Raises `Corrupt` for damaged packing, `Unavailable` if reading fails."""
        try:
            yield from self._numbered()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Corrupt(f"{self._path} is no gzip file or is damaged: {error}") from error
        except OSError as error:
            raise Unavailable(f"{self._path} cannot be read: {error}") from error

    def _numbered(self) -> Iterator[Line]:
        readline, most, number = self._lines.readline, self._max + 2, 0
        while text := readline(most):
            number += 1
            whole = text.endswith(b"\n")
            if number == 1:
                text = text.removeprefix(_BOM)
            text = text.rstrip(b"\r\n")
            if len(text) <= self._max:
                yield number, text
                continue
            yield number, None
            while not whole and (rest := readline(_CHUNK_BYTES)):
                whole = rest.endswith(b"\n")


@contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[Write]:
    """Write a file that appears under its name when it is whole and on disk.

    Raises `Conflict` if there is one and `force` is not given, `Unavailable` if it cannot be written. Readable by its
    owner only: it holds who reacted to what.
    """
    if str(path) == "-":
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    if path.exists() and not force:
        raise Conflict(f"{path} exists; name another file, or add --force.")
    partial = path.with_name(f"{path.name}.partial")
    try:
        with own_file(partial) as raw:
            if path.suffix == ".gz":
                # One that packs the same bytes twice writes the same file: no name and no time in it.
                with (
                    gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
                    io.BufferedWriter(packed, _CHUNK_BYTES) as out,
                ):
                    yield out.write
            else:
                yield raw.write
            raw.flush()
            os.fsync(raw.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def own_file(path: Path) -> IO[bytes]:
    """A new, empty file that only its owner can read. What was there is gone."""
    path.unlink(missing_ok=True)
    return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w+b")


def give(path: Path, like: Path) -> None:
    """Give what root has made to the owner of `like`: the service runs as that user, and could not open it else.

    Never what a link leads to, for that user could have put the link there. Where root may not give anything away (a
    container without the capability, a network disk) it stays root's.
    """
    owner = like.stat()
    if os.geteuid() == 0 and path.lstat().st_uid != owner.st_uid:
        with suppress(PermissionError):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def trouble(path: Path, error: Exception) -> str:
    """What went wrong at a file, for whoever has to mend it. SQLite keeps to itself that it may not open one."""
    return forbidden(path.parent) or forbidden(path) or str(error)


def forbidden(path: Path, mode: int = os.R_OK | os.W_OK) -> str | None:
    """Whose this file or folder is and who we are, where that keeps us from using it so, or from coming there."""
    path = path.absolute()
    for place in (*reversed(path.parents), path):
        needed = (os.X_OK if os.path.isdir(place) else 0) | (mode if place == path else 0)
        if os.path.exists(place) and not os.access(place, needed, effective_ids=True):
            return _kept_out(place)
    return None


def _kept_out(path: Path) -> str:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return f"{path} is on a read-only file system"
    there, we = path.stat(), os.geteuid()
    owner = _user(there.st_uid)
    advice = (
        "its mode is in the way"
        if there.st_uid == we
        else f"run it as {owner}, or give {path} to {_user(we)}"
    )
    return (
        f"{path} belongs to {owner} ({stat.filemode(there.st_mode)}), and this runs as {_user(we)}: {advice}"
    )


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def sync_file(path: Path) -> None:
    """Return once what is in the file is on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Return once the names in the folder are on disk."""
    sync_file(path)
