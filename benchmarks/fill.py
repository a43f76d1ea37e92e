"""A store to measure on: ten reactions on each target, with 10-character ids, through `plaudit import`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

PER_TARGET = 10
FIRST_S = 1_700_000_000
REACTIONS = ("like", "love", "haha", "wow", "sad", "angry")


def user_number(i: int, targets: int, rows: int) -> int:
    """The user of the i-th reaction; benchmarks/common.lua computes the same."""
    return (i % targets * 13 + i // targets * 7) % (targets + rows // targets * 7)


def lines(rows: int) -> Iterator[str]:
    """The reactions as JSONL, oldest first on every target."""
    targets = rows // PER_TARGET
    for i in range(rows):
        target, round_ = i % targets, i // targets
        at = FIRST_S + round_ * 10_000_000 + target % 9_999_999
        yield (
            f'{{"target_id":"p{target:09d}","user_id":"u{user_number(i, targets, rows):09d}",'
            f'"reaction":"{REACTIONS[i % 6]}","created_at":"{_rfc3339(at)}"}}\n'
        )


def _rfc3339(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


def fill(data: Path, rows: int) -> None:
    """Import that many reactions into a new data folder."""
    source = data.with_suffix(".jsonl")
    with source.open("w") as file:
        file.writelines(lines(rows))
    command = [str(Path(sys.executable).with_name("plaudit")), "import", str(source)]
    subprocess.run(
        command, env={**os.environ, "PLAUDIT_DATA": str(data)}, check=True, stdout=subprocess.DEVNULL
    )
    source.unlink()
