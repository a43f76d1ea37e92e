"""Opening and closing: whose file it is, which schema it has, and that nothing is left behind."""

import asyncio
import os
import sqlite3
import threading
from pathlib import Path

import apsw
import pytest

from plaudit.adapters.sqlite import Database, database
from plaudit.domain.catalogue import Registration
from plaudit.domain.errors import Conflict, Corrupt, Unavailable
from plaudit.ports.directory import Profile
from plaudit.ports.removals import Job
from tests.integration.sqlite.faults import Disk
from tests.support.audit import audit_file
from tests.support.clock import ManualClock
from tests.support.stores import sqlite_stores, stores_on
from tests.support.taps import LIKE, cell, set_to, toggle

NEWEST = database.migrations()[-1][0]
NEXT = (NEWEST + 1, "-- A step that a later version would bring.\nALTER TABLE target ADD COLUMN colour TEXT;")
BROKEN = (NEWEST + 1, "-- Half of it works.\nCREATE TABLE half (a);\nCREATE TABLE target (b);")


def schema(path: Path) -> tuple[int, int, str]:
    """user_version, application_id and journal mode as the file has them."""
    connection = sqlite3.connect(path)
    try:
        [(version,), (application,), (mode,)] = (
            connection.execute(f"PRAGMA {name}").fetchone()
            for name in ("user_version", "application_id", "journal_mode")
        )
    finally:
        connection.close()
    return version, application, mode


def left_open(folder: Path) -> list[str]:
    """Files in the folder that this process still has open, and threads that still run."""
    files = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            name = os.readlink(descriptor)
        except OSError:  # the one that lists the folder is gone by now
            continue
        if name.startswith(str(folder)):
            files.append(name)
    return files + [thread.name for thread in threading.enumerate() if thread.name.startswith("plaudit-")]


async def refused(folder: Path, error: type[Exception], text: str) -> None:
    """Opening raises this error with this text, and leaves nothing open and no lock behind."""
    with pytest.raises(error, match=text):
        async with Database(folder):
            pass
    assert left_open(folder) == []


async def add_step(folder: Path, monkeypatch: pytest.MonkeyPatch, step: tuple[int, str]) -> None:
    """Open the folder as a version with one more schema step would."""
    with monkeypatch.context() as patch:
        steps = [*database.migrations(), step]
        patch.setattr(database, "migrations", lambda: steps)
        async with Database(folder):
            pass


async def test_a_new_folder_gets_the_newest_schema(tmp_path: Path) -> None:
    folder = tmp_path / "some" / "where"
    async with Database(folder):
        pass
    newest = database.migrations()[-1][0]
    assert schema(folder / "plaudit.db") == (newest, database.APPLICATION_ID, "wal")
    assert (folder / "plaudit.db").read_bytes()[68:72] == b"PLDT"


def test_schema_steps_are_numbered_without_gaps() -> None:
    assert [number for number, _ in database.migrations()] == list(range(1, len(database.migrations()) + 1))


async def test_an_older_file_is_brought_forward_and_keeps_its_taps(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sqlite_stores(tmp_path, clock) as stores:
        await stores.tap("t", toggle("ann", LIKE, "k"))
    await add_step(tmp_path, monkeypatch, NEXT)
    assert schema(tmp_path / "plaudit.db")[0] == NEWEST + 1
    audit_file(tmp_path / "plaudit.db")
    connection = apsw.Connection(str(tmp_path / "plaudit.db"))
    assert connection.execute("SELECT id, colour, counts FROM target").fetchall() == [("t", None, "[1]")]
    connection.close()


async def test_a_newer_file_is_refused_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_step(tmp_path, monkeypatch, NEXT)
    before = (tmp_path / "plaudit.db").read_bytes()
    await refused(tmp_path, Corrupt, f"schema {NEWEST + 1}, this Plaudit knows up to {NEWEST}.*newer version")
    assert (tmp_path / "plaudit.db").read_bytes() == before


async def test_a_step_that_fails_half_way_is_undone_whole(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sqlite_stores(tmp_path, clock) as stores:
        await stores.tap("t", toggle("ann"))
    with pytest.raises(Unavailable, match="target"):
        await add_step(tmp_path, monkeypatch, BROKEN)
    assert left_open(tmp_path) == []
    assert schema(tmp_path / "plaudit.db")[0] == NEWEST
    await add_step(tmp_path, monkeypatch, (NEWEST + 1, "-- Now right.\nCREATE TABLE half (a);"))
    assert schema(tmp_path / "plaudit.db")[0] == NEWEST + 1


@pytest.mark.parametrize("application_id", [0, 0x0F055112])
async def test_a_database_of_another_program_is_refused_and_left_as_it_is(
    tmp_path: Path, application_id: int
) -> None:
    path = tmp_path / "plaudit.db"
    other = sqlite3.connect(path)
    other.executescript(
        f"PRAGMA application_id = {application_id}; CREATE TABLE target (id); PRAGMA user_version = 1"
    )
    other.close()
    before = path.read_bytes()
    await refused(tmp_path, Corrupt, "another program")
    assert path.read_bytes() == before
    assert schema(path)[2] == "delete"


@pytest.mark.parametrize(
    "content", [b"These are my holiday photos.\n" * 500, b"\x00\xff" * 4096, b"a short note"]
)
async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "plaudit.db"
    path.write_bytes(content)
    await refused(tmp_path, Corrupt, "damaged or no SQLite database")
    assert path.read_bytes() == content


async def test_a_file_whose_end_is_missing_is_refused(tmp_path: Path, clock: ManualClock) -> None:
    async with sqlite_stores(tmp_path, clock) as stores:
        await stores.tap("t", toggle("ann"))
    path = tmp_path / "plaudit.db"
    path.write_bytes(path.read_bytes()[:2000])
    await refused(tmp_path, Corrupt, "damaged or no SQLite database")


async def test_an_empty_file_becomes_a_database(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "plaudit.db").touch()
    async with sqlite_stores(tmp_path, clock) as stores:
        await stores.tap("t", toggle("ann"))
    audit_file(tmp_path / "plaudit.db")


async def test_what_cannot_be_opened_is_unavailable(tmp_path: Path, disk: Disk) -> None:
    (tmp_path / "file").touch()
    await refused(tmp_path / "file", Unavailable, "cannot be opened")
    (tmp_path / "folder" / "plaudit.db").mkdir(parents=True)
    await refused(tmp_path / "folder", Unavailable, "cannot be opened")
    disk.refuse_open = True
    with pytest.raises(Unavailable, match="cannot be opened"):
        async with Database(tmp_path / "refused", vfs=disk.vfs):
            pass
    assert left_open(tmp_path) == []


async def test_a_second_writer_in_the_same_process_is_refused_too(tmp_path: Path, clock: ManualClock) -> None:
    async with sqlite_stores(tmp_path, clock) as stores:
        with pytest.raises(Conflict, match=rf"\b{os.getpid()}\b"):
            async with Database(tmp_path):
                pass
        await stores.tap("t", toggle("ann"))
    async with sqlite_stores(tmp_path, clock) as stores:
        assert await stores.counts("t") == (1,)


async def test_closing_leaves_one_whole_file_and_nothing_open(tmp_path: Path, clock: ManualClock) -> None:
    async with sqlite_stores(tmp_path, clock) as stores:
        await asyncio.gather(*(stores.tap(f"t{n}", toggle("ann")) for n in range(20)))
        await asyncio.gather(*(stores.counts(f"t{n}") for n in range(20)))
    assert left_open(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plaudit.db", "plaudit.lock"]
    audit_file(tmp_path / "plaudit.db")


async def test_closing_finishes_what_was_handed_over(tmp_path: Path, clock: ManualClock) -> None:
    async with sqlite_stores(tmp_path, clock) as stores:
        writes = [
            asyncio.create_task(stores.ledger.commit([cell(f"t{n}", toggle("ann"))])) for n in range(50)
        ]
        await asyncio.sleep(0)  # every one of them is in the queue after this
    results = await asyncio.gather(*writes)
    assert len(results) == 50
    async with sqlite_stores(tmp_path, clock) as stores:
        assert len(await stores.counters.targets([f"t{n}" for n in range(50)])) == 50


async def test_a_closed_database_is_unavailable_and_keeps_nobody_waiting(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with Database(tmp_path) as opened:
        stores = stores_on(opened, clock)
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable):
            await stores.ledger.commit([cell("t", toggle("ann"))])
        with pytest.raises(Unavailable):
            await stores.counts("t")


async def test_a_caller_that_goes_away_stops_nobody(tmp_path: Path, clock: ManualClock) -> None:
    async with sqlite_stores(tmp_path, clock) as stores:
        gone = [asyncio.create_task(stores.ledger.commit([cell("t", toggle(f"u{n}"))])) for n in range(20)]
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        await stores.tap("t", toggle("ann"))
        header = (await stores.target("t")).header
        assert header is not None
        assert header.total == header.rows == 21
    audit_file(tmp_path / "plaudit.db")


async def test_everything_is_there_after_reopening(tmp_path: Path, clock: ManualClock) -> None:
    job = Job(id="j", kind="erase_user", subject="eve", state="running", created_at=1, removed={"rows": 2})
    async with sqlite_stores(tmp_path, clock) as stores:
        await stores.directory.register("t", Registration(type="post", owner="olga"))
        await stores.tap("t", toggle("ann", LIKE, "k"), set_to("bob", 2))
        await stores.directory.put_profile("ann", Profile(name="Ann"))
        await stores.removals.mark_erased("eve", job)
        await stores.log.acknowledge("x", 1)
        before = await stores.target("t"), await stores.log.read("x", 10)
    async with sqlite_stores(tmp_path, clock) as stores:
        assert (await stores.target("t"), await stores.log.read("x", 10)) == before
        assert (await stores.answer("t", toggle("ann", LIKE, "k"))).replayed
        assert await stores.directory.profiles(["ann"]) == {"ann": Profile(name="Ann")}
        assert await stores.jobs.unfinished() == [job]
        await stores.tap("u", toggle("ann"))
        assert await stores.own.mine("ann", ["t", "u"]) == {"t": LIKE, "u": LIKE}


async def test_a_volume_that_was_away_is_written_again(tmp_path: Path) -> None:
    """Its mount point is there meanwhile: a file made in it would be empty, and taken for the one that is missed."""
    folder, away = tmp_path / "data", tmp_path / "away"

    def fail(connection: apsw.Connection) -> None:
        raise apsw.IOError("disk I/O error")

    def write(connection: apsw.Connection) -> None:
        connection.execute("UPDATE consumer SET position = position")

    async with Database(folder) as database:
        await database.write(write)
        with pytest.raises(Unavailable):
            await database.write(fail)
        folder.rename(away)
        folder.mkdir()
        for _ in range(2):
            with pytest.raises(Unavailable):
                await database.write(write)
        assert list(folder.iterdir()) == []
        folder.rmdir()
        away.rename(folder)
        await database.write(write)
        assert database.writable
