"""Another user than the one who runs the tests, for files that belong to somebody else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOBODY = 65534
# Everything is imported first: that user may not be allowed to where Python is.
_AS_NOBODY = f"""
import encodings.idna, importlib.readers, os
import plaudit.bootstrap.notifications, plaudit.bootstrap.serving
from plaudit import cli
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
cli.main()
"""


def needs_root() -> None:
    """Skip with one clear line, or fail where nothing may be missing."""
    if os.geteuid() != 0:
        line = "files cannot be given to another user here; run as root"
        if os.environ.get("CI") == "true":
            pytest.fail(line, pytrace=False)
        pytest.skip(line)


def given(path: Path) -> Path:
    """The same path, with all that is in it, as that user's."""
    for one in (path, *path.rglob("*")):
        os.chown(one, NOBODY, NOBODY)
    return path


def as_nobody(*arguments: object, cwd: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """What `plaudit` says to that user."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PLAUDIT_")}
    return subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, *map(str, arguments)],
        cwd=cwd,
        env={**inherited, "COLUMNS": "1000", **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
