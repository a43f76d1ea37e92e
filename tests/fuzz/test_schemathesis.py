"""Schemathesis reads the served OpenAPI document and calls a real server with what it makes of it.

No 5xx, no status, media type, header or shape that the document does not have. The same requests every time.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.audit import audit_file
from tests.support.server import ServerProcess

PROGRAM = Path(sys.executable).with_name("schemathesis")
CHECKS = ",".join(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)
HOST_APP = ("register_target", "delete_target", "describe_user", "erase_user", "job")
# A stream does not end, so there is no answer to hold against the document; tests/integration/http/test_stream.py does.
ENDLESS = ("stream",)
NOTIFICATIONS = (
    *("notifications", "read_notifications", "notification_settings", "set_notification_settings"),
    *("add_device", "remove_device"),
)
# Half a minute would go into making up boundary values for these two, so they get random ones only.
DESCRIBING = ("register_target", "describe_user")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("schemathesis") / "data"
    with ServerProcess(data, env={"PLAUDIT_RATE_LIMIT_PER_S": "0"}) as running:
        yield running
    assert "Traceback" not in running.log
    audit_file(data / "plaudit.db")


def generated(
    server: ServerProcess, folder: Path, token: str | None, phases: str, *operations: str, without: bool
) -> int:
    """Let Schemathesis call these operations, or all others; returns with how many requests."""
    command = [str(PROGRAM), "run", f"{server.url}/openapi.json", "--checks", CHECKS, "--phases", phases]
    command += ["--generation-deterministic", "--max-examples", "25", "--continue-on-failure"]
    command += ["--suppress-health-check", "all", "--no-color", "--warnings", "off"]
    for operation in (*operations, *ENDLESS) if without else operations:
        command += ["--exclude-operation-id" if without else "--include-operation-id", operation]
    if token is not None:
        command += ["--header", f"Authorization: Bearer {token}"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stdout + run.stderr
    found = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
    assert found is not None, run.stdout
    assert found[1] == found[2]
    return int(found[1])


def test_a_user(server: ServerProcess, tmp_path: Path) -> None:
    token, phases = server.token("ann", grants=["*"]), "examples,coverage,fuzzing,stateful"
    assert generated(server, tmp_path, token, phases, *HOST_APP, *NOTIFICATIONS, without=True) > 500


def test_a_user_who_is_told(server: ServerProcess, tmp_path: Path) -> None:
    token, phases = server.token("ann", grants=["*"]), "examples,coverage,fuzzing"
    assert generated(server, tmp_path, token, phases, *NOTIFICATIONS, without=False) > 300


def test_the_host_app(server: ServerProcess, tmp_path: Path) -> None:
    token, phases = server.token(None, service=True), "examples,coverage,fuzzing,stateful"
    assert generated(server, tmp_path, token, phases, *DESCRIBING, *NOTIFICATIONS, without=True) > 500


def test_the_host_app_describing(server: ServerProcess, tmp_path: Path) -> None:
    token = server.token(None, service=True)
    assert generated(server, tmp_path, token, "examples,fuzzing", *DESCRIBING, without=False) > 40


@pytest.mark.parametrize("token", [None, "a.b.c"])
def test_whoever_has_no_good_token(server: ServerProcess, tmp_path: Path, token: str | None) -> None:
    assert generated(server, tmp_path, token, "examples,fuzzing", *DESCRIBING, without=True) > 300
