"""A file system that is really full, or read-only: taps are refused, nothing acknowledged is lost, and it goes on."""

import os
import subprocess
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import NoReturn

import pytest

from plaudit.adapters.sqlite import SqliteCopies
from plaudit.domain.errors import OutcomeUnknown, Unavailable
from tests.support.audit import audit_file
from tests.support.clock import ManualClock
from tests.support.stores import Stores, sqlite_stores
from tests.support.taps import ALL, LIKE, cell, toggle

SIZE_MB = 6


def cannot_mount(why: str) -> NoReturn:
    """Skip with one clear line, or fail where nothing may be missing."""
    line = f"a small file system cannot be mounted here ({why}); run as root"
    if os.environ.get("CI") == "true":
        pytest.fail(line, pytrace=False)
    pytest.skip(line)


def mount(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of its own with a few MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        done = mount("-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder))
    except FileNotFoundError:
        cannot_mount("no mount command")
    if done.returncode:
        cannot_mount(
            done.stderr.partition("\n")[0].rpartition(": ")[2] or f"mount returned {done.returncode}"
        )
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def tap_until_refused(
    stores: Stores, acknowledged: dict[tuple[str, str], int], clock: ManualClock
) -> None:
    """Tap more and more users until the disk is full; what was acknowledged is added."""
    for n in range(len(acknowledged), len(acknowledged) + 10_000):
        clock.advance(1)
        code = ALL[n % 6]
        users = [f"user-with-a-long-name-{n}-{i}" for i in range(50)]
        try:
            await stores.ledger.commit([cell(f"t{n % 7}", *(toggle(user, code) for user in users))])
        except (Unavailable, OutcomeUnknown):
            return
        acknowledged |= {(user, f"t{n % 7}"): code for user in users}
    pytest.fail("the disk never filled up")


async def missing(stores: Stores, acknowledged: dict[tuple[str, str], int]) -> list[tuple[str, str]]:
    """Acknowledged taps that are not there."""
    found = {}
    for target in {target for _, target in acknowledged}:
        for entry in await stores.reactors.reactors(target, ALL, None, 1_000_000):
            found[entry.key, target] = entry.reaction
    return [key for key, code in acknowledged.items() if found.get(key) != code]


async def test_a_full_disk_refuses_taps_until_there_is_room(small: Path, clock: ManualClock) -> None:
    ballast = small / "ballast"
    ballast.write_bytes(bytes(2 << 20))
    acknowledged: dict[tuple[str, str], int] = {}
    async with sqlite_stores(small / "data", clock) as stores:
        await tap_until_refused(stores, acknowledged, clock)
        full = len(acknowledged)
        for _ in range(5):
            with pytest.raises((Unavailable, OutcomeUnknown)):
                await stores.ledger.commit([cell("t0", *(toggle(f"u{n}" * 20) for n in range(128)))])
        assert await missing(stores, acknowledged) == [], "reading goes on"
        ballast.unlink()
        await tap_until_refused(stores, acknowledged, clock)
        assert len(acknowledged) > full + 500
        assert await missing(stores, acknowledged) == []
        audit_file(small / "data" / "plaudit.db")
    async with sqlite_stores(small / "data", clock) as stores:
        assert await missing(stores, acknowledged) == [], "the disk is full again, and reading goes on"
        audit_file(small / "data" / "plaudit.db")


async def test_an_interrupted_key_counts_once_over_a_full_disk(small: Path, clock: ManualClock) -> None:
    ballast = small / "ballast"
    ballast.write_bytes(bytes(2 << 20))
    async with sqlite_stores(small / "data", clock) as stores:
        await tap_until_refused(stores, {}, clock)
        with pytest.raises((Unavailable, OutcomeUnknown)):
            await stores.ledger.commit([cell("new", *(toggle(f"u{n}" * 20, LIKE, "k") for n in range(128)))])
        ballast.unlink()
        for _ in range(2):
            await stores.tap("new", *(toggle(f"u{n}" * 20, LIKE, "k") for n in range(128)))
            assert await stores.counts("new") == (128,)


async def test_a_disk_that_is_full_from_the_start_is_unavailable_and_can_be_opened_later(
    small: Path, clock: ManualClock
) -> None:
    ballast = small / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        file.writelines(repeat(bytes(4096)))
    with pytest.raises(Unavailable, match="cannot be opened"):
        async with sqlite_stores(small / "data", clock):
            pass
    ballast.unlink()
    async with sqlite_stores(small / "data", clock) as stores:
        await stores.tap("t", toggle("ann"))
    audit_file(small / "data" / "plaudit.db")


async def test_a_read_only_file_system_is_unavailable_and_writable_again_later(
    small: Path, clock: ManualClock
) -> None:
    async with sqlite_stores(small / "data", clock) as stores:
        await stores.tap("t", toggle("ann"))
    assert mount("-o", "remount,ro", str(small)).returncode == 0
    with pytest.raises(Unavailable, match="cannot be opened"):
        async with sqlite_stores(small / "data", clock):
            pass
    assert mount("-o", "remount,rw", str(small)).returncode == 0
    async with sqlite_stores(small / "data", clock) as stores:
        await stores.tap("t", toggle("bob"))
        assert await stores.counts("t") == (2,)


def fill(ballast: Path, left_bytes: int) -> None:
    """Leave so much room on a file system, and no more."""
    disk = os.statvfs(ballast.parent)
    with ballast.open("ab") as file:
        file.write(bytes(disk.f_bavail * disk.f_frsize - left_bytes))


@pytest.mark.parametrize("left", ["little", "less and less"])
async def test_a_copy_without_room_says_so_and_leaves_nothing(
    tmp_path: Path, small: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    monkeypatch.setattr("plaudit.adapters.sqlite.copies.PAGES_AT_ONCE", 5)
    async with sqlite_stores(tmp_path / "data", clock) as stores:
        for n in range(40):
            await stores.ledger.commit([cell(f"t{n}", *(toggle(f"user-{n}-{i}") for i in range(100)))])
        stores.copies.backup(tmp_path / "b.db", ignore)
    size = (tmp_path / "b.db").stat().st_size
    (small / "data").mkdir()
    ballast = small / "ballast"

    def look(done: int, total: int) -> None:
        if left == "less and less":
            fill(ballast, 0)

    def no_room(copy: Callable[[], object]) -> None:
        ballast.unlink(missing_ok=True)
        fill(ballast, size // 2 if left == "little" else size + 65_536)
        with pytest.raises(Unavailable, match=f"no space left in {small}") as error:
            copy()
        assert (f"{size:,} bytes" in str(error.value)) is (left == "little")

    no_room(lambda: SqliteCopies(tmp_path / "data", clock).backup(small / "b.db", look))
    fresh = SqliteCopies(small / "data", clock)
    no_room(lambda: fresh.restore(tmp_path / "b.db", force=False, progress=look))
    assert {path.name for path in small.rglob("*")} == {"ballast", "data", "plaudit.lock"}
    ballast.unlink()
    fresh.restore(tmp_path / "b.db", force=False, progress=ignore)
    audit_file(small / "data" / "plaudit.db")


async def test_a_disk_that_does_not_tell_its_room_takes_a_copy(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sqlite_stores(tmp_path / "data", clock) as stores:
        await stores.tap("t", toggle("ann"))
        monkeypatch.setattr("os.statvfs", lambda _: os.statvfs_result([4096, 4096, *[0] * 8]))
        stores.copies.backup(tmp_path / "b.db", ignore)
    audit_file(tmp_path / "b.db")


def ignore(*_: object) -> None:
    pass
