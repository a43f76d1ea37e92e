"""Jobs in the file: stored together with what begins them, counted with what they removed, and over when it is gone."""

from pathlib import Path
from typing import get_args

import apsw
import pytest

from plaudit.adapters.sqlite import Database
from plaudit.domain.cell import Deleted, Refused
from plaudit.domain.errors import Unavailable
from plaudit.ports.removals import Job, JobKind, new_job
from tests.integration.sqlite.faults import Disk, Fault
from tests.support.clock import ManualClock
from tests.support.stores import sqlite_stores, stores_on
from tests.support.taps import toggle

pytestmark = pytest.mark.usefixtures("no_checkpoints")


def fault(skip: int) -> Fault:
    """So many writes to the log go well, and no other."""
    return Fault("wal", "write", apsw.SQLITE_IOERR_WRITE, skip=skip)


@pytest.mark.parametrize("kind", get_args(JobKind))
async def test_a_job_is_stored_together_with_what_begins_it(
    tmp_path: Path, clock: ManualClock, disk: Disk, kind: JobKind
) -> None:
    async with sqlite_stores(tmp_path, clock, vfs=disk.vfs) as stores:
        begin = stores.removals.begin_purge if kind == "delete_target" else stores.removals.mark_erased
        for skip in range(100):
            name = f"s{skip}"
            await stores.tap(name, toggle(name))
            disk.fault = fault(skip)
            try:
                await begin(name, Job(id=name, kind=kind, subject=name, state="running", created_at=1))
            except Unavailable:
                disk.fault = None
                [answer] = (await stores.tap(name, toggle(name))).answers
                assert isinstance(answer, Refused) == (await stores.jobs.get(name) is not None)
            else:
                break
        assert skip > 4, "it was expected to be many writes"


@pytest.mark.parametrize("kind", get_args(JobKind))
async def test_a_step_is_counted_or_not_made(
    tmp_path: Path, clock: ManualClock, disk: Disk, kind: JobKind
) -> None:
    async with sqlite_stores(tmp_path, clock, vfs=disk.vfs) as stores:
        job = Job(id="j", kind=kind, subject="x", state="running", created_at=1)
        for n in range(100):
            await stores.tap("x" if kind == "delete_target" else f"t{n}", toggle("x"), toggle(f"u{n}"))
        if kind == "delete_target":
            await stores.removals.begin_purge("x", job)
        else:
            await stores.removals.mark_erased("x", job)

        async def step() -> int:
            if kind == "delete_target":
                return await stores.removals.purge_some("x", 40, "j")
            return len(await stores.removals.erase_some("x", 40, "j"))

        skip, made = 0, 1
        while made:
            disk.fault = fault(skip)
            try:
                made, skip = await step(), 0
            except Unavailable:
                skip += 1
            disk.fault = None
        found = await stores.jobs.get("j")
        assert found is not None
        assert found.removed == {"rows": 101 if kind == "delete_target" else 100}


@pytest.mark.parametrize("counted", [1, 3, 7])
async def test_rows_decide_when_a_target_is_purged_though_its_line_counted_others(
    tmp_path: Path, clock: ManualClock, counted: int
) -> None:
    async with Database(tmp_path) as database:
        stores = stores_on(database, clock)
        await stores.tap("t", *(toggle(f"u{n}") for n in range(5)))
        await stores.removals.begin_purge("t", new_job("delete_target", "t", 1))
        await database.write(lambda file: file.execute("UPDATE target SET rows = ?", (counted,)).fetchall())
        for removed, left in ((2, 3), (2, 1), (1, 0)):
            assert await stores.removals.purge_some("t", 2) == removed
            header = (await stores.target("t")).header
            assert header is not None
            assert (header.deleted, header.rows > 0) == (
                Deleted.PURGING if left else Deleted.PURGED,
                left > 0,
            )
