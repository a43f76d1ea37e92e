"""Schemathesis reads the served OpenAPI document and calls a real server with what it makes of it.

No 5xx, no status, media type, header or shape that the document does not have. The same requests every time.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

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
HOST_APP = ("register_target", "registration", "delete_target", "describe_user", "erase_user", "job")
# A stream does not end, so there is no answer to hold against the document; tests/integration/http/test_stream.py does.
ENDLESS = ("stream",)
NOTIFICATIONS = (
    *("notifications", "read_notifications", "notification_settings", "set_notification_settings"),
    *("add_device", "remove_device"),
)
# Half a minute would go into making up boundary values for these two, so they get random ones only.
DESCRIBING = ("register_target", "describe_user")


class Run(NamedTuple):
    """Calls of these operations, or of all others. `token`: whose, or a bad one as it is; `least`: so many requests."""

    token: str | None
    phases: str
    operations: Sequence[str]
    without: bool
    least: int
    examples: int = 25


ALL = "examples,coverage,fuzzing,stateful"
# Each of the two has a server of its own, and they go on side by side: what one does changes nothing for the other.
# Those without a good token are refused before anything else is looked at, so few examples do.
USERS = {
    "a user": Run("user", ALL, (*HOST_APP, *NOTIFICATIONS), True, 500),
    "a user who is told": Run("user", "examples,coverage,fuzzing", NOTIFICATIONS, False, 300),
    "whoever has no token": Run(None, "examples,fuzzing", DESCRIBING, True, 100, 10),
}
OTHERS = {
    "the host app": Run("service", ALL, (*DESCRIBING, *NOTIFICATIONS), True, 500),
    "the host app describing": Run("service", "examples,fuzzing", DESCRIBING, False, 40),
    "whoever has a bad token": Run("a.b.c", "examples,fuzzing", DESCRIBING, True, 100, 10),
}


def play(folder: Path, runs: dict[str, Run], told: dict[str, Future[int]]) -> None:
    """Play these runs one after the other on one server, telling how many requests each of them made."""
    try:
        with ServerProcess(folder / "data", env={"PLAUDIT_RATE_LIMIT_PER_S": "0"}) as server:
            for name, run in runs.items():
                try:
                    told[name].set_result(generated(server, folder, run))
                except Exception as error:
                    told[name].set_exception(error)
        assert "Traceback" not in server.log
        audit_file(folder / "data" / "plaudit.db")
    except BaseException as error:
        for name in runs:
            if not told[name].done():
                told[name].set_exception(error)
        raise


def generated(server: ServerProcess, folder: Path, run: Run) -> int:
    """Let Schemathesis call; returns with how many requests. Raises `AssertionError`."""
    command = [str(PROGRAM), "run", f"{server.url}/openapi.json", "--checks", CHECKS, "--phases", run.phases]
    command += ["--generation-deterministic", "--max-examples", str(run.examples), "--continue-on-failure"]
    command += ["--suppress-health-check", "all", "--no-color", "--warnings", "off"]
    for operation in (*run.operations, *ENDLESS) if run.without else run.operations:
        command += ["--exclude-operation-id" if run.without else "--include-operation-id", operation]
    token = run.token
    if token == "user":
        token = server.token("ann", grants=["*"])
    elif token == "service":
        token = server.token(None, service=True)
    if token is not None:
        command += ["--header", f"Authorization: Bearer {token}"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = re.search(r"(\d+) generated, (\d+) passed", ended.stdout)
    assert found is not None, ended.stdout
    assert found[1] == found[2]
    return int(found[1])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[int]]]:
    """The runs, under way."""
    found: dict[str, Future[int]] = {name: Future() for name in (*USERS, *OTHERS)}
    with ThreadPoolExecutor(2) as threads:
        playing = [
            threads.submit(play, tmp_path_factory.mktemp("schemathesis"), runs, found)
            for runs in (USERS, OTHERS)
        ]
        yield found
    for ended in playing:
        ended.result()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "run"), (USERS | OTHERS).items(), ids=(USERS | OTHERS).keys())
def test_every_answer_is_one_that_the_document_has(told: dict[str, Future[int]], name: str, run: Run) -> None:
    assert told[name].result() > run.least
