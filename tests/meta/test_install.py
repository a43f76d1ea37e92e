"""What no Python registry has is installed where that can be done without asking, and else named in one line."""

import shutil
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "install-system.sh"
# Not nginx: the script looks where Debian keeps it, so it finds the one of this machine.
NEEDED = {"openjdk-17-jre-headless", "maven", "redis-server", "chromium", "php-cli", "npm"}


def install(folder: Path, user: int) -> tuple[str, str]:
    """Run it on a machine that has nothing, as this user: what it says, and what it asks `apt-get` for."""
    programs, asked = folder / "bin", folder / "asked"
    programs.mkdir()
    for name in ("find", "grep", "uname"):
        (programs / name).symlink_to(shutil.which(name) or name)
    for name, does in (("id", f"echo {user}"), ("apt-get", f'echo "$@" >> {asked}')):
        program = programs / name
        program.write_text(f"#!/bin/sh\n{does}\n")
        program.chmod(0o755)
    done = subprocess.run(
        [shutil.which("sh") or "sh", SCRIPT, "test"],
        env={"PATH": str(programs), "HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, asked.read_text() if asked.exists() else ""


def test_root_on_debian_gets_everything(tmp_path: Path) -> None:
    said, asked = install(tmp_path, 0)
    assert said.startswith("installing ")
    update, installed = asked.splitlines()
    assert "update" in update
    assert set(installed.split()) >= NEEDED


def test_others_are_told_in_one_line(tmp_path: Path) -> None:
    said, asked = install(tmp_path, 1000)
    assert asked == ""
    assert said.count("\n") == 1
    assert set(said.split()) >= {"not", "installed:", *NEEDED}
