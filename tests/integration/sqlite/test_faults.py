"""A disk that fails: the named outcome is true, nothing acknowledged is lost, and work goes on when it works again."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import get_args

import apsw
import pytest

from plaudit.adapters.sqlite import Database, database
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Answer, Outcome
from plaudit.domain.errors import Conflict, OutcomeUnknown, Unavailable
from plaudit.ports.directory import Profile
from plaudit.ports.removals import Job
from tests.integration.sqlite.faults import Disk, Fault, Which, full, unsure
from tests.support.audit import audit_file
from tests.support.clock import ManualClock
from tests.support.stores import Stores, sqlite_stores, stores_on
from tests.support.taps import LIKE, LOVE, NONE, cell, set_to, toggle

pytestmark = pytest.mark.usefixtures("no_checkpoints")

NOTHING_STORED = [
    pytest.param(apsw.SQLITE_IOERR_WRITE, id="write-error"),
    pytest.param(apsw.SQLITE_FULL, id="disk-full"),
    pytest.param(apsw.SQLITE_READONLY, id="read-only"),
]


async def counts(stores: Stores) -> list[tuple[int, ...]]:
    return [await stores.counts(target) for target in ("a", "b", "c")]


async def three_cells(stores: Stores, key: str) -> list[Answer]:
    """One call over three cells, one of them new to the file each time the key is."""
    work = [cell(target, toggle("ann", LOVE, key)) for target in ("a", "b", "c")]
    results = await stores.ledger.commit(
        [*work, cell(f"new-{key}", *(toggle(f"u{n}", LIKE, key) for n in range(40)))]
    )
    return [answer for result in results for answer in result.answers if isinstance(answer, Answer)]


async def as_after_a_crash(folder: Path, clock: ManualClock, into: Path, key: str) -> tuple[bool, bool]:
    """Open a copy of the files as they are now: whether the call is in it, and whether a retry was a replay."""
    into.mkdir()
    for name in ("plaudit.db", "plaudit.db-wal"):
        shutil.copyfile(folder / name, into / name)
    async with sqlite_stores(into, clock) as stores:
        there = await stores.counts("a") == (0, 1)
        replayed = {answer.replayed for answer in await three_cells(stores, key)}
        assert len(replayed) == 1, "the cells of one call were stored apart"
        assert await counts(stores) == [(0, 1)] * 3
        audit_file(into / "plaudit.db")
    return there, replayed.pop()


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("code", NOTHING_STORED)
async def test_a_failed_write_of_any_part_of_a_commit_stores_nothing(
    tmp_path: Path, clock: ManualClock, disk: Disk, code: int, torn: bool
) -> None:
    folder = tmp_path / "data"
    async with sqlite_stores(folder, clock, vfs=disk.vfs) as stores:
        await stores.tap("t", *(toggle(f"u{n}") for n in range(100)))
        fault = Fault("wal", "write", code)
        for skip in range(1000):
            disk.fault = fault = Fault("wal", "write", code, skip=skip, torn=torn)
            try:
                await three_cells(stores, "k")
            except Unavailable:
                assert await counts(stores) == [()] * 3
                if skip % 5 == 0:
                    there = await as_after_a_crash(folder, clock, tmp_path / f"copy{skip}", "k")
                    assert there == (False, False)
            else:
                break
        assert skip > 10, "the commit was expected to be many writes"
        assert fault.hits == 0
        disk.fault = None
        assert {answer.replayed for answer in await three_cells(stores, "k")} == {True}
        assert await counts(stores) == [(0, 1)] * 3
        audit_file(folder / "plaudit.db")
    audit_file(folder / "plaudit.db")


async def test_a_failed_sync_leaves_the_outcome_unknown_and_the_key_settles_it(
    tmp_path: Path, clock: ManualClock, disk: Disk
) -> None:
    folder = tmp_path / "data"
    async with sqlite_stores(folder, clock, vfs=disk.vfs) as stores:
        await stores.tap("t", toggle("ann"))
        disk.fault = unsure()
        with pytest.raises(OutcomeUnknown):
            await three_cells(stores, "k")
        there, replayed = await as_after_a_crash(folder, clock, tmp_path / "copy", "k")
        assert there == replayed
        disk.fault = None
        await three_cells(stores, "k")
        assert {answer.replayed for answer in await three_cells(stores, "k")} == {True}
        assert await counts(stores) == [(0, 1)] * 3
        audit_file(folder / "plaudit.db")
    async with sqlite_stores(folder, clock) as stores:
        assert {answer.replayed for answer in await three_cells(stores, "k")} == {True}
        assert await counts(stores) == [(0, 1)] * 3


async def test_an_unknown_outcome_is_settled_after_the_process_died(
    tmp_path: Path, clock: ManualClock, disk: Disk
) -> None:
    """The other order: retried failures, then a smaller commit over the same place in the log, then the crash."""
    folder = tmp_path / "data"
    async with sqlite_stores(folder, clock, vfs=disk.vfs) as stores:
        await stores.tap("t", toggle("ann"))
        assert await stores.counts("t") == (1,), "a reader that stays: nobody starts again from the log"
        unknown = folding = 0
        while unknown < 3:
            disk.fault = unsure(times=1, skip=folding)
            with pytest.raises((OutcomeUnknown, Unavailable)) as raised:
                await three_cells(stores, "k")
            unknown += raised.type is OutcomeUnknown
            folding = int(
                raised.type is Unavailable
            )  # what was hit then is the sync before the log is folded back
        await stores.tap("t", toggle("bob"))
        there, replayed = await as_after_a_crash(folder, clock, tmp_path / "copy", "k")
        assert (there, replayed) == (False, False), "its place in the log was taken by a later commit"


JOB = Job(id="j", kind="erase_user", subject="ann", state="running", created_at=1)
CALLS: dict[str, Callable[[Stores], Awaitable[object]]] = {
    "register": lambda stores: stores.directory.register("t", Registration(type="post", owner="olga")),
    "put_profile": lambda stores: stores.directory.put_profile("ann", Profile(name="Ann")),
    "begin_purge": lambda stores: stores.removals.begin_purge("t", JOB),
    "purge_some": lambda stores: stores.removals.purge_some("gone", 10),
    "mark_erased": lambda stores: stores.removals.mark_erased("ann", JOB),
    "erase_some": lambda stores: stores.removals.erase_some("ann", 10),
    "save": lambda stores: stores.jobs.save(JOB),
    "acknowledge": lambda stores: stores.log.acknowledge("x", 1),
    "trim": lambda stores: stores.log.trim(10),
}


@pytest.mark.parametrize(("fault", "outcome"), [(full, Unavailable), (unsure, OutcomeUnknown)])
@pytest.mark.parametrize("what", CALLS)
async def test_every_port_tells_the_outcome_and_the_same_call_again_works(
    tmp_path: Path,
    clock: ManualClock,
    disk: Disk,
    fault: Callable[[], Fault],
    outcome: type[Exception],
    what: str,
) -> None:
    async with sqlite_stores(tmp_path, clock, vfs=disk.vfs) as stores:
        await stores.ledger.commit([cell(t, *map(toggle, ("ann", "bob", "cid"))) for t in ("t", "gone")])
        await stores.removals.begin_purge("gone", JOB)
        await stores.log.acknowledge("y", await stores.log.end())
        disk.fault = fault()
        with pytest.raises(outcome):
            await CALLS[what](stores)
        audit_file(tmp_path / "plaudit.db")
        disk.fault = None
        await CALLS[what](stores)
        audit_file(tmp_path / "plaudit.db")


async def test_after_a_failure_commits_are_still_synced_before_they_are_reported(
    tmp_path: Path, clock: ManualClock, disk: Disk
) -> None:
    async with sqlite_stores(tmp_path, clock, vfs=disk.vfs) as stores:
        for fault in (None, full(times=1), unsure(times=1)):
            disk.fault = fault
            if fault is not None:
                with pytest.raises((Unavailable, OutcomeUnknown)):
                    await stores.tap("t", toggle("ann"))
            for n in range(5):
                await stores.tap("t", toggle(f"u{n}"))
                assert disk.unsynced == set()


async def test_a_lock_that_cannot_be_had_is_unavailable(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_MS", 20)
    async with sqlite_stores(tmp_path, clock) as stores:
        await stores.tap("t", toggle("ann"))
        other = apsw.Connection(str(tmp_path / "plaudit.db"))
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(Unavailable):
                await stores.tap("t", toggle("bob"))
        other.execute("ROLLBACK")
        other.close()
        await stores.tap("t", toggle("bob"))
        assert await stores.counts("t") == (2,)


async def test_a_file_that_cannot_be_reopened_is_unavailable_until_it_can(
    tmp_path: Path, clock: ManualClock, disk: Disk
) -> None:
    async with Database(tmp_path, vfs=disk.vfs) as opened:
        stores = stores_on(opened, clock)
        await stores.tap("t", toggle("ann"))
        disk.fault, disk.refuse_open = Fault("wal", "write", apsw.SQLITE_IOERR_WRITE, times=1), True
        for _ in range(3):
            with pytest.raises(Unavailable):
                await stores.tap("t", toggle("bob"))
            assert not opened.writable
        disk.refuse_open = False
        await stores.tap("t", toggle("bob"))
        assert opened.writable
        assert await stores.counts("t") == (2,)


@pytest.mark.parametrize(
    "still", [None, Fault("db", "write", apsw.SQLITE_FULL)], ids=["healed", "no folding"]
)
@pytest.mark.parametrize("broken", [full, unsure])
async def test_writing_works_again_by_itself_where_nobody_writes(
    tmp_path: Path,
    clock: ManualClock,
    disk: Disk,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: Callable[[], Fault],
    still: Fault | None,
) -> None:
    """Who believes a process that says it cannot write sends it no tap to find out with."""
    monkeypatch.setattr(database, "CHECKPOINT_EVERY_S", 0.01)
    async with Database(tmp_path, vfs=disk.vfs) as opened:
        stores = stores_on(opened, clock)
        await stores.tap("t", toggle("ann"))
        disk.fault = fault = broken()
        with pytest.raises((Unavailable, OutcomeUnknown)):
            await stores.tap("t", set_to("bob", LIKE))
        async with asyncio.timeout(10):
            while fault.hits < 10:
                assert not opened.writable
                await asyncio.sleep(0.01)
            disk.fault = still
            while not opened.writable:
                await asyncio.sleep(0.01)
        assert "wal" not in disk.unsynced
        said = [r.message.partition(";")[0] for r in caplog.records if r.message.startswith("writing")]
        assert said == ["writing failed", "writing works again"]
        generation = opened.generation
        await stores.tap("t", set_to("bob", LIKE))
        assert await stores.counts("t") == (2,)
        assert opened.generation == generation
        disk.fault = None
    audit_file(tmp_path / "plaudit.db")


async def test_new_targets_get_numbers_of_their_own_after_failures(
    tmp_path: Path, clock: ManualClock, disk: Disk
) -> None:
    async with sqlite_stores(tmp_path, clock, vfs=disk.vfs) as stores:
        for n in range(6):
            disk.fault = full(times=1) if n % 2 else unsure(times=1)
            with pytest.raises((Unavailable, OutcomeUnknown)):
                await stores.ledger.commit([cell(f"lost{n}-{m}", toggle("ann")) for m in range(3)])
            await stores.ledger.commit([cell(f"t{n}-{m}", toggle("ann")) for m in range(3)])
        found = await stores.counters.targets([f"t{n}-{m}" for n in range(6) for m in range(3)])
        assert len(found) == 18
        assert all(target.header is not None and target.header.total == 1 for target in found.values())
        audit_file(tmp_path / "plaudit.db")


@pytest.mark.parametrize("code", [apsw.SQLITE_IOERR_READ, apsw.SQLITE_CANTOPEN, apsw.SQLITE_NOMEM])
@pytest.mark.parametrize("which", get_args(Which))
async def test_reads_that_fail_are_unavailable_and_then_work_again(
    tmp_path: Path, clock: ManualClock, disk: Disk, which: Which, code: int
) -> None:
    async with sqlite_stores(tmp_path, clock) as stores:
        await stores.tap("t", *(toggle(f"u{n}") for n in range(100)))
        await stores.directory.put_profile("u1", Profile(name="U"))
    async with sqlite_stores(tmp_path, clock, vfs=disk.vfs) as stores:
        await stores.tap("t", *(toggle(f"u{n}") for n in range(90)))
        reads: list[Callable[[], Awaitable[object]]] = [
            lambda: stores.counters.targets(["t"]),
            lambda: stores.own.mine("u95", ["t"]),
            lambda: stores.own.reacted("u95", None, 10),
            lambda: stores.reactors.reactors("t", [LIKE], None, 10),
            lambda: stores.directory.profiles(["u1"]),
            lambda: stores.jobs.unfinished(),
            lambda: stores.log.read("x", 10),
        ]
        await stores.tap("t", toggle("u0"), toggle("u0"))
        failed = 0
        for read in reads:
            disk.fault = Fault(which, "read", code)
            try:
                await read()
            except Unavailable:
                failed += 1
        assert failed >= (len(reads) - 2 if which == "db" else 1)
        disk.fault = None
        assert await stores.counts("t") == (10,)
        for read in reads:
            await read()
        assert len(await stores.reactors.reactors("t", [LIKE], None, 100)) == 10


async def test_reads_work_while_writes_do_not(tmp_path: Path, clock: ManualClock, disk: Disk) -> None:
    async with sqlite_stores(tmp_path, clock, vfs=disk.vfs) as stores:
        await stores.tap("t", toggle("ann"))
        disk.fault = full()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await stores.tap("t", toggle("bob"))
            found = await asyncio.gather(*(stores.counts("t") for _ in range(8)))
            assert found == [(1,)] * 8


async def test_an_error_of_plaudits_own_rolls_back_and_is_passed_on(
    tmp_path: Path, clock: ManualClock, disk: Disk
) -> None:
    async with Database(tmp_path, vfs=disk.vfs) as opened:
        stores = stores_on(opened, clock)
        await stores.tap("t", toggle("ann"))

        def work(connection: apsw.Connection) -> None:
            connection.execute("DELETE FROM reaction_row")
            raise Conflict("changed my mind")

        for _ in range(2):
            with pytest.raises(Conflict, match="changed my mind"):
                await opened.write(work)
        assert opened.writable
        assert opened.generation == 1
        audit_file(tmp_path / "plaudit.db")
        await stores.tap("t", toggle("bob"))
        assert await stores.counts("t") == (2,)


async def test_a_call_that_names_a_target_twice_is_a_mistake_and_stores_nothing(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with sqlite_stores(tmp_path, clock) as stores:
        with pytest.raises(ValueError, match="once per call"):
            await stores.ledger.commit([cell("t", toggle("ann")), cell("u"), cell("t", toggle("bob"))])
        assert await stores.counters.targets(["t", "u"]) == {}


async def test_a_failing_checkpoint_loses_nothing(
    tmp_path: Path, clock: ManualClock, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_EVERY_S", 0.005)
    monkeypatch.setattr(database, "RESTART_AT_FRAMES", 10)
    async with sqlite_stores(tmp_path, clock, vfs=disk.vfs) as stores:
        for fault in (Fault("db", "write", apsw.SQLITE_FULL), Fault("db", "sync", apsw.SQLITE_IOERR_FSYNC)):
            disk.fault = fault
            tapped = 0
            async with asyncio.timeout(20):
                while fault.hits < 3 or tapped < 50:
                    await stores.tap("t", toggle(f"{fault.step}{tapped}"))
                    tapped += 1
            disk.fault = None
            assert await stores.own.mine(f"{fault.step}0", ["t"]) == {"t": LIKE}
        audit_file(tmp_path / "plaudit.db")
    audit_file(tmp_path / "plaudit.db")


@pytest.mark.parametrize("times", [2, 3, 4])
async def test_a_replay_is_on_disk_before_it_is_told_though_syncs_failed(
    tmp_path: Path, clock: ManualClock, disk: Disk, times: int
) -> None:
    """After a failed fsync the log's pages may be in memory only, and a later fsync does not write them again."""
    folder, into = tmp_path / "data", tmp_path / "copy"
    async with sqlite_stores(folder, clock, vfs=disk.vfs) as stores:
        await stores.tap("t", toggle("bob"))
        disk.fault = fault = unsure(times)  # at the commit, at the close after it, and at opening again
        with pytest.raises(OutcomeUnknown):
            await three_cells(stores, "k")
        while fault.hits < times:
            with pytest.raises(Unavailable):
                await three_cells(stores, "k")
        assert {answer.replayed for answer in await three_cells(stores, "k")} == {True}
        assert "db" not in disk.unsynced
        into.mkdir()
        shutil.copyfile(folder / "plaudit.db", into / "plaudit.db")  # without the log: it may be lost
    async with sqlite_stores(into, clock) as stores:
        assert await counts(stores) == [(0, 1)] * 3


async def test_what_a_killed_process_left_in_the_log_is_on_disk_before_it_is_told(
    tmp_path: Path, clock: ManualClock, disk: Disk
) -> None:
    folder, killed, into = tmp_path / "data", tmp_path / "killed", tmp_path / "copy"
    async with sqlite_stores(folder, clock) as stores:
        await three_cells(stores, "k")
        killed.mkdir()
        for name in ("plaudit.db", "plaudit.db-wal"):
            shutil.copyfile(folder / name, killed / name)
    disk.fault = Fault("db", "sync", apsw.SQLITE_IOERR_FSYNC, times=1)
    with pytest.raises(Unavailable, match="cannot be opened"):
        async with sqlite_stores(killed, clock, vfs=disk.vfs):
            pass
    async with sqlite_stores(killed, clock, vfs=disk.vfs):
        assert "db" not in disk.unsynced
        into.mkdir()
        shutil.copyfile(killed / "plaudit.db", into / "plaudit.db")
    async with sqlite_stores(into, clock) as stores:
        assert await counts(stores) == [(0, 1)] * 3


async def test_what_is_answered_after_an_unknown_commit_is_not_undone_by_a_crash(
    tmp_path: Path, clock: ManualClock, disk: Disk
) -> None:
    """An `unchanged` that changes nothing itself still writes over the commit that may lie behind the log's end."""
    folder = tmp_path / "data"
    async with sqlite_stores(folder, clock, vfs=disk.vfs) as stores:
        await stores.tap("t", toggle("bob"))
        assert await stores.counts("t") == (1,), "a reader that stays: nobody starts again from the log"
        disk.fault = unsure(times=1)
        with pytest.raises(OutcomeUnknown):
            await stores.tap("t", set_to("ann", LOVE))
        disk.fault = None
        answer = await stores.answer("t", set_to("ann", NONE))
        assert answer.outcome == Outcome.UNCHANGED
        copy = tmp_path / "copy"
        copy.mkdir()
        for name in ("plaudit.db", "plaudit.db-wal"):
            shutil.copyfile(folder / name, copy / name)
    async with sqlite_stores(copy, clock) as stores:
        assert await stores.own.mine("ann", ["t"]) == {}, (
            "the crash brought back what was answered as not there"
        )
        assert await stores.counts("t") == (1,)
