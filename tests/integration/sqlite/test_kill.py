"""kill -9 at any moment loses no acknowledged tap, and frees the folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from plaudit.adapters.sqlite import Database
from plaudit.domain.errors import Conflict
from tests.support.audit import audit_file
from tests.support.clock import ManualClock
from tests.support.stores import sqlite_stores

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def tapping(folder: Path, prefix: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that is writing to the folder; killed at the latest when the block ends."""
    command = [sys.executable, "-m", "tests.integration.sqlite.tapper", str(folder), prefix]
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()
            process.wait()


def killed_after(folder: Path, prefix: str, lines: int) -> list[tuple[str, str, int]]:
    """What was acknowledged by a process that is killed once it has acknowledged that much."""
    with tapping(folder, prefix) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        acknowledged += [line for line in process.stdout if line.endswith("\n")]
    entries = [line.split() for line in acknowledged]
    return [(user, target, int(code)) for user, target, code in entries]


async def test_every_tap_that_was_acknowledged_before_a_kill_is_there(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    random = Random(seed)
    acknowledged: list[tuple[str, str, int]] = []
    for run in range(5):
        acknowledged += killed_after(tmp_path, f"run{run}", random.randint(1, 1500))
        audit_file(tmp_path / "plaudit.db")
        async with sqlite_stores(tmp_path, ManualClock()) as stores:
            found: dict[tuple[str, str], int] = {}
            for target in {target for _, target, _ in acknowledged}:
                for entry in await stores.reactors.reactors(target, range(1, 7), None, 1_000_000):
                    found[entry.key, target] = entry.reaction
        lost = [line for line in acknowledged if found.get(line[:2]) != line[2]]
        assert lost == [], f"seed {seed}, run {run}"
        audit_file(tmp_path / "plaudit.db")


async def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    with tapping(tmp_path, "first") as process:
        with pytest.raises(Conflict, match=rf"\b{process.pid}\b"):
            async with Database(tmp_path):
                pass
        assert process.poll() is None, "the refused one must not disturb the first"
        assert process.stdout is not None
        assert process.stdout.readline()
        process.kill()
        process.wait()
        async with Database(tmp_path):
            pass
    audit_file(tmp_path / "plaudit.db")
