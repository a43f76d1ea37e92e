"""Disks that fail, quick or sleeping checkpoints, and folders to put a database into."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from plaudit.adapters.sqlite import Database, database
from tests.integration.sqlite.faults import Disk, FaultyVfs
from tests.support.clock import ManualClock
from tests.support.stores import Stores, stores_on


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def opened(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Database]:
    """An open database."""
    async with Database(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def stores(opened: Database, clock: ManualClock) -> Stores:
    """Every port over it."""
    return stores_on(opened, clock)


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk to open databases on (`vfs=disk.vfs`), with nothing wrong yet."""
    disk = Disk()
    vfs = FaultyVfs(disk)
    yield disk
    vfs.unregister()


@pytest.fixture
def no_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the test and the writer touch the files."""
    monkeypatch.setattr(database, "CHECKPOINT_EVERY_S", 3600.0)


@pytest.fixture
def busy_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints all the time, and restarts of a log that is still short."""
    monkeypatch.setattr(database, "CHECKPOINT_EVERY_S", 0.01)
    monkeypatch.setattr(database, "RESTART_AT_FRAMES", 200)
