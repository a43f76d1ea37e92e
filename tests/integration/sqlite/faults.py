"""A disk that fails when told to: an SQLite VFS over the real one."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Literal

import apsw

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Which = Literal["db", "wal"]
Step = Literal["read", "write", "sync", "truncate"]

_numbers = count(1)


@dataclass
class Fault:
    """Fails one kind of step on one kind of file with an SQLite result code, after `skip` such steps went well.

    `torn`: half of a failing write reaches the file first, as on a disk that fills up. `times`: None for ever.
    """

    which: Which
    step: Step
    code: int
    skip: int = 0
    times: int | None = None
    torn: bool = False
    hits: int = 0

    def strikes(self, which: Which | None, step: Step) -> bool:
        """Whether this step fails."""
        if (which, step) != (self.which, self.step) or (self.times is not None and self.hits >= self.times):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.hits += 1
        return True


def full(times: int | None = None, skip: int = 0) -> Fault:
    """There is no room for the log to grow."""
    return Fault("wal", "write", apsw.SQLITE_FULL, skip, times)


def unsure(times: int | None = None, skip: int = 0) -> Fault:
    """The log cannot be synced."""
    return Fault("wal", "sync", apsw.SQLITE_IOERR_FSYNC, skip, times)


@dataclass
class Disk:
    """What the test tells the VFS, and what it learns from it. `unsynced`: files written to since their last sync."""

    vfs: str = field(default_factory=lambda: f"faulty{next(_numbers)}")
    fault: Fault | None = None
    refuse_open: bool = False
    unsynced: set[Which] = field(default_factory=set)
    hanging_at: Step | None = None  # on the log
    hangs: threading.Event = field(default_factory=threading.Event)
    works: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def hanging(self, at: Step = "sync") -> Iterator[None]:
        """Inside, whoever does this to the log is held up; `hangs` is set when somebody is."""
        self.hanging_at = at
        try:
            yield
        finally:
            self.hanging_at = None
            self.works.set()

    def check(self, which: Which | None, step: Step, torn: Callable[[], None] | None = None) -> None:
        """Raise what SQLite is to see."""
        if which == "wal" and step == self.hanging_at:
            self.hangs.set()
            self.works.wait()
        fault = self.fault
        if fault is not None and fault.strikes(which, step):
            if fault.torn and torn is not None:
                torn()
            raise apsw.exception_for(fault.code)


class FaultyVfs(apsw.VFS):
    """Registers itself under the name of its disk; `unregister` when the last connection is closed."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(disk.vfs, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        if self._disk.refuse_open:
            raise apsw.exception_for(apsw.SQLITE_CANTOPEN)
        return _FaultyFile(self._disk, name, flags)


class _FaultyFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        self._which: Which | None = None
        if flags[0] & apsw.SQLITE_OPEN_WAL:
            self._which = "wal"
        elif flags[0] & apsw.SQLITE_OPEN_MAIN_DB:
            self._which = "db"
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        self._disk.check(self._which, "read")
        return super().xRead(amount, offset)

    def xWrite(self, data: "ReadableBuffer", offset: int) -> None:  # noqa: N802 - SQLite's name
        half = memoryview(data)[: len(memoryview(data)) // 2]
        self._disk.check(self._which, "write", lambda: super(_FaultyFile, self).xWrite(half, offset))
        if self._which:
            self._disk.unsynced.add(self._which)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.check(self._which, "sync")
        super().xSync(flags)
        if self._which:
            self._disk.unsynced.discard(self._which)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.check(self._which, "truncate")
        super().xTruncate(newsize)
