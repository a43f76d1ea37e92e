"""Backups of a live file, and what may be restored."""

import asyncio
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from plaudit.adapters.sqlite import Database, SqliteCopies, database
from plaudit.adapters.sqlite import copies as module
from plaudit.domain.catalogue import Registration
from plaudit.domain.errors import Conflict, Corrupt, Unavailable
from plaudit.domain.restored import floor_at
from plaudit.domain.transfer import ReactionRecord
from plaudit.ports.directory import Profile
from plaudit.ports.transfer import Batch
from tests.support.api import open_api
from tests.support.audit import audit_file
from tests.support.clock import START_US, ManualClock
from tests.support.installation import content, job, live
from tests.support.stores import sqlite_stores
from tests.support.taps import LIKE, cell, toggle


def ignore(*_: object) -> None:
    pass


async def test_a_backup_restores_to_what_it_was_with_higher_versions(tmp_path: Path) -> None:
    clock, copies = ManualClock(), SqliteCopies(tmp_path / "a", ManualClock(START_US + 10**13))
    async with sqlite_stores(tmp_path / "a", clock) as stores:
        await live(stores, clock, random.Random(7))
        before = content(tmp_path / "a")
        copies.backup(tmp_path / "backup", ignore)
        await stores.tap("t1", toggle("after"))
        shown = await stores.tap("born after", toggle("after"), toggle("bob"))
    assert content(tmp_path / "a") != before
    kept = copies.restore(tmp_path / "backup", force=True, progress=ignore)
    assert kept is not None
    audit_file(kept)
    audit_file(tmp_path / "a" / "plaudit.db")
    restored = content(tmp_path / "a")
    assert {name: restored[name] for name in ("rows", "users", "counts")} == {
        name: before[name] for name in ("rows", "users", "counts")
    }
    assert all(line[-1] > before["targets"][id_][-1] for id_, line in restored["targets"].items())
    async with sqlite_stores(tmp_path / "a", clock) as stores:
        again = await stores.tap("born after", toggle("after"))
        made = await stores.directory.register("made after", Registration(type="post"))
        gone = await stores.removals.begin_purge("gone after", job("delete_target", "gone after"))
    assert shown.target.header is not None
    for target in (again.target, made, gone):
        assert target.header is not None
        assert target.header.seq > 1 << 50, "a target that was lost starts above what it had"


async def test_a_database_that_holds_nothing_needs_no_force(tmp_path: Path) -> None:
    async with sqlite_stores(tmp_path / "a", ManualClock()) as stores:
        await stores.tap("t", toggle("ann"))
        stores.copies.backup(tmp_path / "backup", ignore)
    copies = SqliteCopies(tmp_path / "b", ManualClock())
    async with Database(tmp_path / "b"):
        pass
    copies.restore(tmp_path / "backup", force=False, progress=ignore)
    assert content(tmp_path / "b")["rows"] == content(tmp_path / "a")["rows"]
    with pytest.raises(Conflict):
        copies.restore(tmp_path / "backup", force=False, progress=ignore)


async def test_versions_go_up_whichever_backup_is_restored(tmp_path: Path) -> None:
    clock = ManualClock()
    copies = SqliteCopies(tmp_path / "a", clock)
    async with sqlite_stores(tmp_path / "a", clock) as stores:
        await stores.tap("t", toggle("ann"))
        copies.backup(tmp_path / "old", ignore)
    seen = 1
    for _ in range(4):
        clock.advance(1)
        copies.restore(tmp_path / "old", force=True, progress=ignore)
        async with sqlite_stores(tmp_path / "a", clock) as stores:
            for user in ("bob", "cid"):
                header = (await stores.tap("t", toggle(user))).target.header
                assert header is not None
                assert header.seq > seen
                seen = header.seq
            fresh = (await stores.tap("new", toggle("ann"))).target.header
            assert fresh is not None
            assert fresh.seq > 1 << 50
    assert len([name for name in os.listdir(tmp_path / "a") if "before-restore" in name]) == 4


async def test_an_import_into_a_restored_file_stays_above_its_floor(tmp_path: Path) -> None:
    clock = ManualClock()
    async with sqlite_stores(tmp_path / "a", clock) as stores:
        await stores.tap("t", toggle("ann"))
        stores.copies.backup(tmp_path / "backup", ignore)
    SqliteCopies(tmp_path / "b", clock).restore(tmp_path / "backup", force=False, progress=ignore)
    async with sqlite_stores(tmp_path / "b", clock) as stores:
        await stores.intake.store(
            Batch(reactions={"u": [ReactionRecord("u", "ann", LIKE, 1, 1)]}), whole=True
        )
        header = (await stores.target("u")).header
    assert header is not None
    assert header.seq > 1 << 50


async def first_version(folder: Path, target: str) -> int:
    """Of a target that the file does not have."""
    async with sqlite_stores(folder, ManualClock()) as stores:
        header = (await stores.tap(target, toggle("ann"))).target.header
    assert header is not None
    return header.seq


async def test_lost_targets_get_other_versions_though_the_backup_has_no_target(tmp_path: Path) -> None:
    clock = ManualClock()
    copies = SqliteCopies(tmp_path / "a", clock)
    async with sqlite_stores(tmp_path / "a", clock) as stores:
        await stores.directory.put_profile("ann", Profile(name="Ann"))
    copies.backup(tmp_path / "backup", ignore)
    seen = await first_version(tmp_path / "a", "t")
    for _ in range(2):
        clock.advance(1)
        copies.restore(tmp_path / "backup", force=True, progress=ignore)
        again = await first_version(tmp_path / "a", "t")
        assert again > max(seen, 1 << 50)
        seen = again


async def test_a_restore_by_a_clock_that_is_behind_begins_no_lower_than_the_one_before(
    tmp_path: Path,
) -> None:
    async with sqlite_stores(tmp_path / "a", ManualClock()) as stores:
        await stores.directory.put_profile("ann", Profile(name="Ann"))
    for n, at in enumerate((START_US, START_US // 2)):
        copies = SqliteCopies(tmp_path / "a", ManualClock(at))
        copies.backup(tmp_path / f"backup{n}", ignore)
        copies.restore(tmp_path / f"backup{n}", force=True, progress=ignore)
        assert await first_version(tmp_path / "a", f"t{n}") > floor_at(START_US)


@pytest.mark.parametrize("restored", [False, True])
async def test_a_file_that_was_restored_before_its_floor_was_stored_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored: bool
) -> None:
    floor = floor_at(START_US)
    (tmp_path / "a").mkdir()
    with apsw.Connection(str(tmp_path / "a" / "plaudit.db")) as file, monkeypatch.context() as before:
        steps = database.migrations()[:5]
        before.setattr(database, "migrations", lambda: steps)
        database.migrate(file)
        file.execute(
            "INSERT INTO target (no, id, seq, type, counts, rows, last_at, born, recent, deleted)"
            " VALUES (1, 'old', ?, 'post', '[]', 0, 0, 0, '[]', 0)",
            (floor + 7 if restored else 7,),
        )
    file.close()
    assert await first_version(tmp_path / "a", "new") == (floor + 1 if restored else 1)


async def test_a_backup_during_load_is_consistent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plaudit.adapters.sqlite.copies.PAGES_AT_ONCE", 5)
    clock = ManualClock()
    async with sqlite_stores(tmp_path / "a", clock) as stores:
        stop = False

        async def tap_on() -> int:
            taps = 0
            while not stop:
                user = f"u{taps % 500}"
                await stores.ledger.commit([cell(f"t{(taps + n) % 50}", toggle(user)) for n in range(5)])
                taps += 5
            return taps

        async with asyncio.TaskGroup() as group:
            load = group.create_task(tap_on())
            for n in range(5):
                await asyncio.sleep(0.05)
                await asyncio.to_thread(stores.copies.backup, tmp_path / f"backup{n}", ignore)
            stop = True
    assert load.result() > 0
    for n in range(5):
        audit_file(tmp_path / f"backup{n}")
    assert {path.name for path in tmp_path.iterdir()} == {"a", *(f"backup{n}" for n in range(5))}


def damaged(path: Path) -> dict[str, bytes]:
    sound = path.read_bytes()
    with apsw.Connection(str(path)) as file:
        page_bytes = int(file.pragma("page_size"))
        leaf = file.execute(
            "SELECT pageno FROM dbstat WHERE name = 'reacted' AND pagetype = 'leaf' LIMIT 1"
        ).get
    file.close()
    free_block = bytearray(sound)
    free_block[(leaf - 1) * page_bytes + 1] = 0xFF  # where the page's first free block is: behind its end
    other = bytearray(sound)
    other[68:72] = b"\0\0\0\1"
    newer = bytearray(sound)
    newer[60:64] = (999).to_bytes(4, "big")
    return {
        "empty": b"",
        "no database": b"no database" * 1000,
        "cut off": sound[: len(sound) // 2],
        "overwritten": sound[:4096] + b"\xff" * 8192 + sound[12288:],
        "readable, and wrong in itself": bytes(free_block),
        "of another program": bytes(other),
        "of a newer version": bytes(newer),
    }


async def test_no_unsound_backup_is_restored(tmp_path: Path) -> None:
    clock = ManualClock()
    async with sqlite_stores(tmp_path / "a", clock) as stores:
        await live(stores, clock, random.Random(8))
        stores.copies.backup(tmp_path / "sound", ignore)
    before = (tmp_path / "a" / "plaudit.db").read_bytes()
    copies = SqliteCopies(tmp_path / "a", clock)
    for name, bytes_ in damaged(tmp_path / "sound").items():
        (tmp_path / "bad").write_bytes(bytes_)
        with pytest.raises(Corrupt):
            copies.restore(tmp_path / "bad", force=True, progress=ignore)
        assert (tmp_path / "a" / "plaudit.db").read_bytes() == before, name
    with pytest.raises(Unavailable):
        copies.restore(tmp_path / "nothing", force=True, progress=ignore)
    with pytest.raises(Conflict, match="--force"):
        copies.restore(tmp_path / "sound", force=False, progress=ignore)
    assert (tmp_path / "a" / "plaudit.db").read_bytes() == before
    left = {"last-backup", "plaudit.db", "plaudit.db-shm", "plaudit.db-wal", "plaudit.lock"}
    assert set(os.listdir(tmp_path / "a")) <= left, "nothing half-made is left"


async def test_a_damaged_database_is_replaced_and_kept_with_its_log(tmp_path: Path) -> None:
    clock = ManualClock()
    async with sqlite_stores(tmp_path / "a", clock) as stores:
        await stores.tap("t", toggle("ann"))
        stores.copies.backup(tmp_path / "backup", ignore)
    for name in ("plaudit.db", "plaudit.db-wal"):
        (tmp_path / "a" / name).write_bytes(b"rubbish" * 5000)
    kept = SqliteCopies(tmp_path / "a", clock).restore(tmp_path / "backup", force=True, progress=ignore)
    assert kept is not None
    assert kept.read_bytes() == kept.with_name(f"{kept.name}-wal").read_bytes() == b"rubbish" * 5000
    audit_file(tmp_path / "a" / "plaudit.db")
    async with Database(tmp_path / "a"):
        pass


async def test_a_copy_is_on_disk_before_it_has_its_name_and_then_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut may leave a name without a file behind it, or a store without its name."""
    synced: list[tuple[str, bool]] = []  # what, and whether the copy had its name by then
    copy = tmp_path / "backup"

    def syncing(sync: Callable[[Path], None]) -> Callable[[Path], None]:
        def on_disk(path: Path) -> None:
            sync(path)
            synced.append((str(path.relative_to(tmp_path)), copy.exists()))

        return on_disk

    for name in ("sync_file", "sync_folder"):
        monkeypatch.setattr(module, name, syncing(getattr(module, name)))
    async with sqlite_stores(tmp_path / "a", ManualClock()) as stores:
        await stores.tap("t", toggle("ann"))
        stores.copies.backup(copy, ignore)
    assert synced == [("backup.partial", False), (".", True)]
    synced.clear()
    (tmp_path / "b").mkdir()
    copy = tmp_path / "b" / "plaudit.db"
    SqliteCopies(tmp_path / "b", ManualClock()).restore(tmp_path / "backup", force=False, progress=ignore)
    assert synced == [("b/plaudit.db.restoring", False), ("b", True)]


async def test_a_service_tells_when_it_was_last_backed_up(tmp_path: Path) -> None:
    async def told() -> float:
        text = (await api.call("GET", "/metrics")).text
        [value] = re.findall(r"^plaudit_last_backup_timestamp_seconds (\S+)$", text, re.MULTILINE)
        return float(value)

    copies = SqliteCopies(tmp_path / "data", ManualClock())
    async with open_api(tmp_path / "data") as api:
        assert await told() == 0
        copies.backup(tmp_path / "b", ignore)
        assert abs(await told() - time.time()) < 60
        os.utime(tmp_path / "data" / "last-backup", (1, 1))
        with pytest.raises(Conflict):
            copies.backup(tmp_path / "b", ignore)
        assert await told() == 1
        copies.backup(tmp_path / "c", ignore)
        assert abs(await told() - time.time()) < 60
