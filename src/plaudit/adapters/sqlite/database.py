"""One SQLite file, opened safely: one writer thread, a few readers, checkpoints beside them.

Guarantees: one process writes (a lock file), a write is on disk before it is reported, every write is one transaction,
and an error says whether the transaction happened. Refuses: a file of a newer Plaudit, of another program, or one that
another process is writing; a refused file is left as it was.

Sources: sqlite.org/wal.html (checkpoints, one writer), sqlite.org/pragma.html (synchronous, user_version).
"""

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Self, TypeVar

import apsw

from plaudit.adapters.files import give, trouble
from plaudit.adapters.sqlite.lock import lock_folder
from plaudit.adapters.sqlite.work import DAMAGED, Work, failure_of
from plaudit.domain.errors import Corrupt, OutcomeUnknown, Overloaded, Unavailable

T = TypeVar("T")

APPLICATION_ID = 0x504C4454  # "PLDT" in the file's header
FILE_NAME = "plaudit.db"
BUSY_MS = 10_000
RESTART_WAIT_MS = 50  # for readers of an old part of the log, while the writer waits too
READERS = 2
MAX_READS_WAITING = 1_000
MAX_WRITES_WAITING = 500  # a transaction each: taps queue behind them
ANSWER_WITHIN_S = 10.0
CLOSE_WITHIN_S = 20.0
CHECKPOINT_EVERY_S = 0.5
PAGE_BYTES = 2048  # a tap changes a few bytes on several pages, and every changed page goes to the log whole
RESTART_AT_FRAMES = 32_768  # 64 MiB: so far may the log grow before the writer has to wait a moment
SHORT_REST_FRAMES = 2_048
FOLD_AGAIN = 4

# A COMMIT that failed with one of these wrote no complete commit frame: the frames are written in order and the last
# one carries the mark. Any other failure of COMMIT (fsync above all) leaves it unknown.
_NOT_COMMITTED = {apsw.SQLITE_FULL, apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_READONLY, apsw.SQLITE_BUSY}

log = logging.getLogger("plaudit.sqlite")


class Database:
    """The file and the threads around it. Use as an async context manager.

    `vfs` names a registered SQLite VFS; None is the operating system's.
    """

    def __init__(self, folder: Path, *, vfs: str | None = None) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        self.vfs = vfs
        self._lock: int | None = None
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._writer: apsw.Connection | None = None
        self._thread = threading.Thread(target=self._write_forever, name="plaudit-writer", daemon=True)
        self._checkpointer = threading.Thread(
            target=self._checkpoint_forever, name="plaudit-checkpoint", daemon=True
        )
        self._closing = threading.Event()
        self._local = threading.local()
        self._read_connections: list[apsw.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="plaudit-read")
        self._reads = 0
        self._counting = threading.Lock()
        self.writable = True
        # A commit that failed may lie in the log, whole, behind its end: the next transaction writes over it, also if
        # it changes nothing else. Else a crash could bring back what somebody was told is not there.
        self._fence = False
        self.landed_late: Callable[[], None] = lambda: None
        self.found_damage: Callable[[], None] = lambda: None
        """Called on the event loop: a write has ended whose caller was told that nobody knows; a place is damaged."""
        self._restarting = False
        self._probing = False
        self.generation = 0  # changes with every new writer connection: what the old one learnt is void

    async def __aenter__(self) -> Self:
        """Open the file, create what is missing. Raises `Conflict`, `Corrupt` or `Unavailable`, holding nothing."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = lock_folder(self.folder)
            new = not self.path.exists()
            self._writer = self._open_writer()
            if new:
                give(self.path, self.folder)
            migrate(self._writer)
            self._fold_back(apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except BaseException as error:
            self._let_go()
            if isinstance(error, apsw.NotADBError | apsw.CorruptError):
                raise Corrupt(f"{self.path} is damaged or no SQLite database: {error}") from error
            if isinstance(error, apsw.Error | OSError):
                raise Unavailable(f"{self.path} cannot be opened: {trouble(self.path, error)}") from error
            raise
        self._thread.start()
        self._checkpointer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Finish what was handed over, fold the log back into the file, and let go of it."""
        self._closing.set()
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join, CLOSE_WITHIN_S)
        if self._thread.is_alive():
            log.error("the disk does not answer; the process ends without closing the file")
            return
        await asyncio.to_thread(self._checkpointer.join)
        await asyncio.to_thread(self._readers.shutdown)
        try:
            await asyncio.to_thread(self._fold_back, apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error as error:
            log.warning("the log could not be folded into the file; the next start will do it: %s", error)
        self._let_go()

    async def write(self, work: Callable[[apsw.Connection], T], *, patient: bool = False) -> T:
        """Run `work` in one durable transaction on the writer thread, after everything handed over before.

        Raises `Unavailable` or `Corrupt` (rolled back) or `OutcomeUnknown`, and `Overloaded` (never begun) where too
        much waits or it was not begun in time; errors of Plaudit's own roll back and pass through. `patient` is who
        hands over one piece of work at a time and watches the clock alone: for him there is always room, no deadline.
        """
        if self._closing.is_set():
            raise Unavailable("the database is closed")
        # What was withdrawn is counted too, for as long as the writer has not come by: the queue is what is bounded.
        if not patient and self._inbox.qsize() >= MAX_WRITES_WAITING:
            raise Overloaded("Too many writes are waiting for the database; try again in a moment.")
        handed: Work[T] = Work(lambda: self._transact(work), self.landed_late)
        self._inbox.put(handed)
        return await self._done(handed, patient=patient)

    async def read(self, work: Callable[[apsw.Connection], T], *, patient: bool = False) -> T:
        """Run `work` on a read connection in a thread of its own. Raises `Unavailable`, `Corrupt` or `Overloaded`.

        Each statement sees one state of the file; work that needs one state over several begins a transaction.
        `patient` is as for `write`: who was not answered in time would only have the same read a second time.
        """
        if self._closing.is_set():
            raise Unavailable("the database is closed")
        if not patient and self._reads >= MAX_READS_WAITING:
            raise Overloaded("Too many reads are waiting for the database; try again in a moment.")
        with self._counting:
            self._reads += 1
        handed: Work[T] = Work(lambda: self._read(work), lambda: None)
        self._readers.submit(self._read_counted, handed)
        try:
            return await self._done(handed, patient=patient)
        except (Overloaded, OutcomeUnknown):
            raise Unavailable("the disk did not answer in time") from None

    async def _done(self, handed: Work[T], *, patient: bool) -> T:
        try:
            return await handed.done(None if patient else ANSWER_WITHIN_S)
        except Corrupt:
            self.found_damage()
            raise

    def _read_counted(self, handed: Work[T]) -> None:
        """Who goes away leaves it in the queue, where it counts until a thread has come by."""
        try:
            handed()
        finally:
            with self._counting:
                self._reads -= 1

    def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        try:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = connect(self.path, apsw.SQLITE_OPEN_READONLY, self.vfs)
                self._local.connection = connection
                self._read_connections.append(connection)
            return work(connection)
        except (apsw.Error, *DAMAGED) as error:
            raise failure_of(error) from error

    def _write_forever(self) -> None:
        while (run := self._inbox.get()) is not None:
            run()

    def _transact(self, work: Callable[[apsw.Connection], T]) -> T:
        try:
            if self._writer is None:
                self._writer = self._open_writer(0)  # a file that is missing now is away, not new
                self._fold_back(apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._writer.execute("BEGIN IMMEDIATE")
            if self._fence:
                self._writer.pragma("user_version", self._writer.pragma("user_version"))
            result = work(self._writer)
        except (apsw.Error, *DAMAGED) as error:
            failure = failure_of(error)
            if isinstance(failure, Corrupt) and self._writer is not None and self._writer.in_transaction:
                self._roll_back()  # one place is damaged; the next transaction may go by others
                if self._writer is not None:
                    self._writer.pragma("shrink_memory")  # what was read wrong once is read again
            else:
                self._after_failure(error)
            raise failure from error
        except BaseException:
            self._roll_back()
            raise
        try:
            self._writer.execute("COMMIT")
        except apsw.Error as error:
            self._fence = True
            self._after_failure(error)
            codes = {getattr(error, "result", None), getattr(error, "extendedresult", None)}
            if codes & _NOT_COMMITTED:
                raise Unavailable(f"the database cannot be used: {error}") from error
            raise OutcomeUnknown(f"the disk did not confirm a commit: {error}") from error
        if not self.writable:
            log.warning("writing works again; taps are taken")
        self.writable = True
        self._fence = False
        return result

    def _after_failure(self, error: Exception) -> None:
        """Start again on a new connection: after an I/O error nothing the old one remembers is to be relied on."""
        if self.writable:
            log.error("writing failed; taps are refused until it works again: %s", error)
        self.writable = False
        self._roll_back()
        self._close_writer()

    def _roll_back(self) -> None:
        if self._writer is not None and self._writer.in_transaction:
            try:
                self._writer.execute("ROLLBACK")
            except apsw.Error as error:
                log.warning("rollback failed; the connection is given up: %s", error)
                self._close_writer()

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            close(writer)

    def _open_writer(self, create: int = apsw.SQLITE_OPEN_CREATE) -> apsw.Connection:
        self.generation += 1
        connection = connect(self.path, apsw.SQLITE_OPEN_READWRITE | create, self.vfs)
        try:
            check_ours(connection)  # before anything is changed in it
            connection.pragma("page_size", PAGE_BYTES)  # of a new file; an existing one keeps its own
            if connection.pragma("journal_mode", "wal") != "wal":
                raise Unavailable(f"{self.folder} cannot hold a write-ahead log; a local disk can")
            connection.pragma("synchronous", 2)  # FULL: a commit is on disk before it is reported
            connection.pragma("wal_autocheckpoint", 0)  # the checkpointer does it, not the writer
            connection.pragma("journal_size_limit", 64 * 1024 * 1024)
        except BaseException:
            close(connection)
            raise
        return connection

    def _checkpoint_forever(self) -> None:
        connection: apsw.Connection | None = None
        failing = False
        while not self._closing.wait(CHECKPOINT_EVERY_S):
            if not self.writable and not self._probing:
                self._probing = True  # one at a time, also while the disk does not answer
                self._inbox.put(self._probe)
            try:
                if connection is None:
                    connection = connect(self.path, apsw.SQLITE_OPEN_READWRITE, self.vfs)
                frames, done = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                for _ in range(FOLD_AGAIN):
                    if frames <= RESTART_AT_FRAMES or frames - done <= SHORT_REST_FRAMES:
                        break  # else the writer would have to wait for a long rest
                    frames, done = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                # Under load the log never drains by itself. What a long read holds back is not worth waiting for.
                if frames > RESTART_AT_FRAMES >= frames - done and not self._restarting:
                    self._restarting = True  # one at a time, also while the writer is held up
                    self._inbox.put(self._restart_log)
                failing = False
            except apsw.BusyError:
                pass  # the writer is folding it back itself
            except apsw.Error as error:
                if not failing:
                    log.warning("checkpoints fail, and the log grows until they work again: %s", error)
                failing = True
        if connection is not None:
            close(connection)

    def _probe(self) -> None:
        """Write, because nobody else may: a process that says it cannot is sent no taps. On the writer thread."""
        try:
            if not self.writable:
                self._fence = True  # so that a transaction without work writes and syncs, too
                # The first failure was logged, and the thread goes on whatever happens.
                with suppress(Exception):
                    self._transact(lambda _: None)
        finally:
            self._probing = False

    def _restart_log(self) -> None:
        """Fold the short rest of the log back, so that the next commit begins at its start. On the writer thread: no
        other has to compete for the write lock, and none can take it from under a commit."""
        self._restarting = False
        if self._writer is None:
            return
        try:
            self._writer.set_busy_timeout(RESTART_WAIT_MS)
            self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        except apsw.BusyError:
            pass  # somebody reads an old part of the log; the checkpointer comes back
        except apsw.Error as error:
            log.warning("the log could not be restarted, will try again: %s", error)
        finally:
            self._writer.set_busy_timeout(BUSY_MS)

    def _fold_back(self, mode: int) -> None:
        """Fold the log into the file. Raises `apsw.Error` if the disk cannot.

        Whoever opens the file starts from the log, and what that holds may be in the page cache only: the commit before
        may have failed in fsync. Once folded it is on disk, before anybody is told of it.
        """
        if self._writer is not None:
            try:
                self._writer.wal_checkpoint(mode=mode)
            except (apsw.BusyError, apsw.FullError) as error:
                # Somebody reads an older state, or there is no room: then reading at least goes on.
                if self.writable:
                    log.warning("the log was not folded into the file; a later checkpoint will: %s", error)

    def _let_go(self) -> None:
        for connection in self._read_connections:
            close(connection)
        self._close_writer()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def connect(path: Path, flags: int, vfs: str | None = None) -> apsw.Connection:
    """A connection to the file, tuned for many small transactions."""
    connection = apsw.Connection(str(path), flags=flags, vfs=vfs, statementcachesize=256)
    try:
        connection.set_busy_timeout(BUSY_MS)
        connection.pragma("cache_size", -32 * 1024)
        connection.pragma("temp_store", 2)
        connection.pragma("fullfsync", 1)  # macOS: fsync alone leaves the data in the drive's cache
    except apsw.Error:
        close(connection)
        raise
    return connection


def close(connection: apsw.Connection) -> None:
    """Close it, whatever the disk does. The last one folds the log back; if it cannot, the next start does."""
    try:
        connection.close(True)
    except apsw.Error as error:
        log.warning("closing the database failed: %s", error)


def migrations() -> list[tuple[int, str]]:
    """Every schema step as (version, SQL), in order."""
    folder = files("plaudit.adapters.sqlite") / "migrations"
    return sorted((int(f.name[:4]), f.read_text()) for f in folder.iterdir() if f.name.endswith(".sql"))


def check_ours(connection: apsw.Connection) -> None:
    """Raises `Corrupt` for a file that is not ours or is newer. Changes nothing."""
    newest = migrations()[-1][0]
    version = int(connection.pragma("user_version"))
    application = int(connection.pragma("application_id"))
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").get == 0
    if application != APPLICATION_ID and not (empty and application == 0):
        raise Corrupt(f"{connection.filename} is a database of another program; choose another PLAUDIT_DATA.")
    if version > newest:
        raise Corrupt(
            f"{connection.filename} has schema {version}, this Plaudit knows up to {newest}: "
            "it was written by a newer version. Install that version, or restore an older backup."
        )


def migrate(connection: apsw.Connection) -> None:
    """Bring the file to this version's schema, each step in a transaction of its own."""
    version = int(connection.pragma("user_version"))
    for number, sql in migrations():
        if number > version:
            with connection:
                connection.execute(sql)
                connection.pragma("application_id", APPLICATION_ID)
                connection.pragma("user_version", number)
