"""What docs/running.md says works when it is pasted: what it installs serves and is backed up, and is restored."""

import os
import re
import shutil
import subprocess
import textwrap
import tomllib
from pathlib import Path

import httpx
import pytest

from tests.meta.files import ROOT
from tests.support import server
from tests.support.server import PLAUDIT, ServerProcess

# In the places of systemd's programs: what is called is noted, and a command runs with the environment it is given.
SYSTEMCTL = """#!/bin/bash
echo "systemctl $*" >> "$CALLS"
"""
SYSTEMD_RUN = """#!/bin/bash
while [[ $1 == --* ]]; do
    case $1 in
        --quiet | --pipe | --wait | --collect | --uid=plaudit) ;;
        --working-directory=*) cd "${1#*=}" || exit 200 ;;
        --property=EnvironmentFile=-*) set -a; . "${1#*=-}"; set +a ;;
        --setenv=*) export "${1#*=}" ;;
        *) exit 201 ;;
    esac
    shift
done
echo "${1##*/} $2" >> "$CALLS"
exec "$@"
"""


def blocks(word: str) -> list[str]:
    """The shell blocks of the page with this word in them."""
    text = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    return [block for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) if word in block]


@pytest.mark.timeout(600)
def test_the_steps_install_a_plaudit_that_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (steps,) = blocks("venv")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PLAUDIT")}
    env["PLAUDIT"] = str(tmp_path / "opt")
    done = subprocess.run(["bash", "-euc", steps], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    program = tmp_path / "opt" / "bin" / "plaudit"
    monkeypatch.setattr(server, "PLAUDIT", program)
    with ServerProcess(tmp_path / "data") as running:
        env |= {"PLAUDIT_DATA": str(running.data), "PLAUDIT_PORT": str(running.port), "COLUMNS": "500"}
        for command, said in (("doctor", f"ready at {running.url}"), (f"backup {tmp_path}/a.db", "a.db")):
            looked = subprocess.run(
                [program, *command.split()], env=env, cwd=tmp_path, capture_output=True, text=True
            )
            assert looked.returncode == 0, looked.stdout + looked.stderr
            assert said in looked.stdout + looked.stderr
    assert (tmp_path / "a.db").stat().st_mode & 0o077 == 0


def test_a_page_of_the_named_origin_may_call(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"^  ```toml\n(.*?)  ```", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "plaudit.toml").write_text(textwrap.dedent(named))
    [site] = tomllib.loads(textwrap.dedent(named))["cors_origins"]
    wish = {"Origin": site, "Access-Control-Request-Method": "PUT"}
    with ServerProcess(tmp_path / "data") as running:
        answer = httpx.options(f"{running.url}/api/v1/reactions", headers=wish, timeout=60)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, site)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The folders that the page names, a service that was used and is backed up, and systemd's programs."""
    for folder in ("bin", "etc/plaudit", "var/lib/plaudit-backups"):
        (tmp_path / folder).mkdir(parents=True)
    for name, text in (("systemctl", SYSTEMCTL), ("systemd-run", SYSTEMD_RUN)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "etc" / "plaudit" / "env").write_text("PLAUDIT_USER_CLAIM=uid\n")
    with ServerProcess(tmp_path / "var" / "lib" / "plaudit") as running:
        backup = tmp_path / "var" / "lib" / "plaudit-backups" / "2026-05-01T031500.db"
        env = os.environ | {"PLAUDIT_DATA": str(running.data)}
        subprocess.run([PLAUDIT, "backup", backup], env=env, cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def paste(machine: Path) -> tuple[str, list[str]]:
    """The blocks for a restore, with the folders of this machine in the places of the real ones."""
    steps = "".join(blocks("as_plaudit")).replace("/opt/plaudit/bin/plaudit", str(PLAUDIT))
    for place in ("/etc/plaudit", "/var/lib/plaudit"):
        steps = steps.replace(place, f"{machine}{place}")
    steps = re.sub(r"^curl.*$", "", steps, flags=re.MULTILINE)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PLAUDIT")}
    env |= {"PATH": f"{machine}/bin:{env['PATH']}", "CALLS": str(machine / "calls")}
    done = subprocess.run(
        ["bash", "-uc", steps], cwd=machine, env=env | {"COLUMNS": "500"}, capture_output=True, text=True
    )
    return done.stdout + done.stderr, (machine / "calls").read_text().splitlines()


def test_the_steps_of_a_restore_bring_the_newest_backup_back(machine: Path) -> None:
    database = machine / "var" / "lib" / "plaudit" / "plaudit.db"
    database.write_bytes(b"rubbish" * 5000)
    said, calls = paste(machine)
    assert calls == [
        "systemctl stop plaudit.service",
        "plaudit restore",
        "plaudit doctor",
        "systemctl start plaudit.service",
    ], said
    assert f"restored into {database.parent}\n" in said
    assert "PLAUDIT_DATA is not set" not in said
    assert database.read_bytes().startswith(b"SQLite format 3")
    assert [path for path in database.parent.iterdir() if "before-restore" in path.name]


def test_a_restore_that_is_refused_starts_nothing(machine: Path) -> None:
    (machine / "var" / "lib" / "plaudit-backups" / "2026-05-02T031500.db").write_bytes(b"rubbish" * 5000)
    said, calls = paste(machine)
    assert calls == ["systemctl stop plaudit.service", "plaudit restore"], said
    assert "no SQLite database" in said


@pytest.mark.skipif(shutil.which("systemd-run") is None, reason="systemd-run is not installed")
def test_systemd_run_knows_the_options() -> None:
    known = subprocess.run(["systemd-run", "--help"], capture_output=True, text=True, check=True).stdout
    (block,) = blocks("as_plaudit()")
    assert set(re.findall(r" (--[a-z-]+)", block)) <= set(re.findall(r"(--[a-z-]+)", known))
