"""The command line as a person meets it: what it prints, and how it ends."""

import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plaudit import bootstrap
from plaudit.bootstrap import serving
from plaudit.cli import cli
from plaudit.http.server import CannotListen
from plaudit.settings import Settings
from tests.support.server import PLAUDIT, ServerProcess


def plaudit(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PLAUDIT_")}
    return subprocess.run(
        [str(PLAUDIT), *arguments],
        cwd=cwd,
        env={**inherited, "COLUMNS": "200", **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_names_every_command(tmp_path: Path) -> None:
    shown = plaudit("--help", cwd=tmp_path)
    assert shown.returncode == 0
    for command in ("serve", "token", "doctor"):
        assert command in shown.stdout
        assert plaudit(command, "--help", cwd=tmp_path).returncode == 0


def test_token_is_accepted_by_a_server_on_the_same_data(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    before = plaudit("token", "--user", "alice", cwd=tmp_path, PLAUDIT_DATA=data)
    assert before.returncode == 0
    with ServerProcess(tmp_path / "data") as server:
        authorization = f"Authorization: Bearer {before.stdout.strip()}"
        answer = subprocess.run(
            ["curl", "-s", f"{server.url}/api/v1/me/reactions", "-H", authorization],
            capture_output=True,
            text=True,
            timeout=10,
        )
    assert answer.stdout == '{"reactions":[],"next_cursor":null}'
    assert (tmp_path / "data" / "secret").stat().st_mode & 0o077 == 0


def test_token_needs_somebody(tmp_path: Path) -> None:
    for arguments in (["token"], ["token", "--user", "a", "--scope", "admin"]):
        ended = plaudit(*arguments, cwd=tmp_path)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "--scope" in ended.stderr


def test_a_wrong_setting_stops_the_process_with_its_name(tmp_path: Path) -> None:
    for name, value in (
        ("PLAUDIT_PORT", "eighty"),
        ("PLAUDIT_PROT", "8080"),
        ("PLAUDIT_AUTH_SECRET", "short"),
        ("PLAUDIT_TARGETS", "some"),
        ("PLAUDIT_REACTIONS", '[{"code": 16, "name": "x", "emoji": "x", "label": "x"}]'),
    ):
        ended = plaudit("serve", cwd=tmp_path, **{name: value})
        assert ended.returncode == 2, name
        assert name.removeprefix("PLAUDIT_").lower() in ended.stderr.lower()
        assert "Traceback" not in ended.stderr


def test_a_secret_that_is_none_stops_the_process_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "secret").touch()
    for command in ("serve --port 0", "token --user ann"):
        ended = plaudit(*command.split(), cwd=tmp_path)
        assert ended.returncode == 3
        assert f"{tmp_path / 'data' / 'secret'} holds no secret" in ended.stderr


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        ended = plaudit("serve", "--port", "0", cwd=tmp_path, PLAUDIT_DATA=str(server.data))
        assert ended.returncode == 3
        assert f"process {server.pid}" in ended.stderr
        taken = plaudit(
            "serve", "--port", str(server.port), cwd=tmp_path, PLAUDIT_DATA=str(tmp_path / "other")
        )
        assert taken.returncode == 2
        assert f"127.0.0.1:{server.port} (PLAUDIT_HOST, PLAUDIT_PORT)" in taken.stderr


def test_a_worker_whose_port_is_taken_names_its_own_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(settings: Settings, _: bootstrap.Role) -> None:
        raise CannotListen(98, f"{settings.worker_port} is taken")

    monkeypatch.setattr(serving, "work", work)
    monkeypatch.setattr(bootstrap, "configure_logging", lambda _: None)
    monkeypatch.setenv("PLAUDIT_WORKER_PORT", "9999")
    ended = CliRunner().invoke(cli, ["worker", "repair"])
    assert ended.exit_code == 2
    assert "127.0.0.1:9999 (PLAUDIT_HOST, PLAUDIT_WORKER_PORT): [Errno 98] 9999 is taken" in ended.stderr


@pytest.mark.parametrize("error", [TimeoutError("Kafka"), ConnectionResetError(104, "Redis")])
def test_not_every_error_of_a_worker_is_one_of_its_address(
    monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    async def work(*_: object) -> None:
        raise error

    monkeypatch.setattr(serving, "work", work)
    monkeypatch.setattr(bootstrap, "configure_logging", lambda _: None)
    ended = CliRunner().invoke(cli, ["worker", "repair"])
    assert ended.exception is error
    assert "PLAUDIT_WORKER_PORT" not in ended.stderr


@pytest.mark.parametrize("host", ["192.0.2.1", "nobody.invalid", "x" * 70 + ".invalid"])
def test_an_address_that_is_not_ours_names_the_settings(tmp_path: Path, host: str) -> None:
    for port in ("0", "8080"):
        ended = plaudit("serve", "--host", host, "--port", port, cwd=tmp_path)
        assert ended.returncode == 2
        assert f"cannot serve on {host}:{port} (PLAUDIT_HOST, PLAUDIT_PORT)" in ended.stderr


def test_doctor_is_content_with_a_running_server_and_finds_faults(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        env = {"PLAUDIT_DATA": str(server.data), "PLAUDIT_PORT": str(server.port)}
        content = plaudit("doctor", cwd=tmp_path, **env)
        assert content.returncode == 0, content.stdout
        assert "ready at" in content.stdout
    (server.data / "secret").chmod(0o644)
    (server.data / "plaudit.db").write_bytes(b"this is no database, but it is long enough to look at" * 100)
    faulty = plaudit("doctor", cwd=tmp_path, **env)
    assert faulty.returncode == 1
    assert faulty.stdout.count("fault") == 2
    assert "chmod 600" in faulty.stdout


def test_doctor_looks_at_an_empty_folder(tmp_path: Path) -> None:
    looked = plaudit("doctor", cwd=tmp_path)
    assert looked.returncode == 0
    assert "the first start makes it" in looked.stdout
    assert not (tmp_path / "data").exists()
