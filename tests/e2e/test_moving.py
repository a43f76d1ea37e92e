"""Import, export, backup and restore from the command line, beside a server that runs, and killed half-way."""

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw
import httpx
import pytest

from tests.support.audit import audit_file
from tests.support.clients import Client, Tally
from tests.support.installation import content
from tests.support.server import PLAUDIT, ServerProcess

HEADER = "target_id,user_id,reaction,created_at"
LINE = '{"target_id":"t%d","user_id":"u%d","reaction":"like","created_at":"2025-01-01T00:00:%02dZ"}\n'


def environment(data: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PLAUDIT_")}
    return {**inherited, "COLUMNS": "200", "PLAUDIT_DATA": str(data)}


@contextmanager
def ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """It is gone at the end, whatever happens."""
    try:
        yield
    finally:
        process.kill()
        process.communicate()


def plaudit(data: Path, *arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(PLAUDIT), *map(str, arguments)],
        cwd=data.parent,
        env=environment(data),
        input=stdin,
        capture_output=True,
        timeout=60,
    )


def done(ended: subprocess.CompletedProcess[bytes]) -> str:
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stderr.decode()


def lines(number: int) -> str:
    return "".join(LINE % (n % 97, n, n % 60) for n in range(number))


def stored_rows(data: Path) -> int:
    connection = apsw.Connection(str(data / "plaudit.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(1000)
        return int(connection.execute("SELECT count(*) FROM reaction_row").get)
    except apsw.SQLError:
        return 0  # no tables yet
    finally:
        connection.close(True)


def test_there_and_back_again(tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl.gz"
    file.write_bytes(gzip.compress(lines(500).encode()))
    said = done(plaudit(tmp_path / "a", "import", file))
    assert "500  reactions taken in" in said
    assert "lines/s" in said
    assert "500  left out: the same state is there already" in done(plaudit(tmp_path / "a", "import", file))
    piped = plaudit(tmp_path / "a", "export", "-")
    assert "597 records written" in done(piped)
    assert len(piped.stdout.splitlines()) == 597
    done(plaudit(tmp_path / "b", "import", "-", stdin=piped.stdout))
    assert content(tmp_path / "b") == content(tmp_path / "a")
    done(plaudit(tmp_path / "a", "export", "all.csv"))
    assert (tmp_path / "all.csv").read_text().splitlines()[:2] == [
        f"{HEADER},updated_at,target_type",
        "t0,u0,like,2025-01-01T00:00:00Z,2025-01-01T00:00:00Z,post",
    ]
    done(plaudit(tmp_path / "c", "import", "all.csv"))
    assert content(tmp_path / "c")["rows"] == content(tmp_path / "a")["rows"]


def test_exit_codes_say_what_is_wrong(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (tmp_path / "bad.csv").write_text(f"{HEADER}\nt,u,like,yesterday\nt,v,like,2025-01-01T00:00:00Z\n")
    (tmp_path / "odd.csv").write_text("a,b\n")
    (tmp_path / "f").write_text(lines(1))
    (tmp_path / "damaged.jsonl.gz").write_bytes(b"no gzip")
    for arguments, code, what in (
        (["import", "bad.csv"], 1, b"line 2: invalid_time (created_at)"),
        (["import", "odd.csv"], 1, b"no column 'a'"),
        (["import", "f"], 2, b"--format"),
        (["import", "missing.jsonl"], 3, b"missing.jsonl"),
        (["import", "damaged.jsonl.gz"], 3, b"gzip"),
        (["import", "f", "--format", "xml"], 2, b"xml"),
        (["backup", "bad.csv"], 3, b"bad.csv exists"),
        (["restore", "bad.csv"], 3, b"no SQLite database"),
        (["restore", "missing"], 3, b"missing"),
        (["export", "bad.csv"], 3, b"bad.csv exists"),
        (["export", "nowhere/x.csv"], 3, b"nowhere"),
    ):
        ended = plaudit(data, *arguments)
        assert (ended.returncode, what in ended.stderr) == (code, True), (arguments, ended.stderr)
        assert b"Traceback" not in ended.stderr
    skipped = plaudit(data, "import", "bad.csv", "--on-error", "skip")
    assert skipped.returncode == 1
    assert f"refused lines are in {tmp_path}/bad.csv.rejects" in skipped.stderr.decode()
    assert (tmp_path / "bad.csv.rejects").read_text() == f"{HEADER}\nt,u,like,yesterday\n"
    assert stored_rows(data) == 1


def test_commands_say_from_the_root_where_they_wrote_and_that_nobody_chose_it(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text(lines(1))
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PLAUDIT_")}
    for command, place in (
        ("import f.jsonl", "data"),
        ("backup b.db --with-secret", "b.db"),
        ("export all.jsonl", "all.jsonl"),
        ("restore b.db", "data/plaudit.db exists"),
        ("restore b.db --force", "data"),
        ("restore b.db --force", "data/plaudit.db.before-restore-"),
    ):
        ended = subprocess.run(
            [str(PLAUDIT), *command.split()], cwd=tmp_path, env=bare, capture_output=True, text=True
        )
        assert f"{tmp_path}/{place}" in ended.stderr, command
        if ended.returncode == 0 and not command.startswith("export"):
            assert f"{tmp_path}/data (PLAUDIT_DATA is not set)" in ended.stderr
    assert "is not set" not in done(plaudit(tmp_path / "other", "restore", "b.db"))


def test_a_running_server_keeps_imports_out_and_lets_the_rest_in(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text(lines(100))
    with ServerProcess(tmp_path / "data") as server:
        bearer = {"Authorization": f"Bearer {server.token('ann')}"}
        tap = {"target_id": "t1", "reaction_type": "love"}
        assert httpx.put(f"{server.url}/api/v1/reactions", headers=bearer, json=tap).status_code == 200
        for arguments in (["import", "f.jsonl"], ["restore", "b0", "--force"]):
            (tmp_path / "b0").write_bytes(b"")
            refused = plaudit(server.data, *arguments)
            assert refused.returncode == 3
            assert f"process {server.pid}" in refused.stderr.decode()
        looked = done(plaudit(server.data, "import", "f.jsonl", "--dry-run"))
        assert "100  reactions would be taken in" in looked
        assert "nothing is stored" in looked
        done(plaudit(server.data, "export", "all.jsonl"))
        assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 2
        counts = httpx.get(f"{server.url}/api/v1/reactions/counts?target_ids=t1").json()
        assert counts["counts"]["t1"]["total"] == 1
    done(plaudit(server.data, "import", "f.jsonl"))
    server.start()
    counts = httpx.get(f"{server.url}/api/v1/reactions/counts?target_ids=t1").json()
    assert counts["counts"]["t1"]["total"] == 3
    assert server.stop() == 0
    audit_file(server.data / "plaudit.db")


# Who was started in the background by a shell ignores SIGINT, and so do its children unless they say otherwise.
SMALL_BATCHES = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from plaudit.services import transfer
from plaudit.cli import main
transfer.RECORDS_AT_ONCE = 200
main()
"""


def test_an_import_that_is_killed_goes_on_when_it_is_run_again(tmp_path: Path) -> None:
    total = 20_000
    file = tmp_path / "f.jsonl"
    file.write_text('{"kind":"user","user_id":"u7","name":"Seven"}\n' + lines(total))

    def start(data: Path) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", SMALL_BATCHES, "import", str(file)]
        return subprocess.Popen(command, env=environment(data), cwd=tmp_path, stderr=subprocess.PIPE)

    whole = start(tmp_path / "whole")
    _, said = whole.communicate(timeout=60)
    assert whole.returncode == 0, said.decode()
    data, kills = tmp_path / "data", 0
    for goal in (1_000, 6_000, 11_000):
        process = start(data)
        deadline = time.monotonic() + 30
        while not (data / "plaudit.db").exists() or stored_rows(data) < goal:
            assert process.poll() is None, "ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.kill()
        process.communicate()
        kills += stored_rows(data) < total
        audit_file(data / "plaudit.db")
    assert kills == 3, "every kill was in the middle"
    last = start(data)
    _, said = last.communicate(timeout=60)
    assert last.returncode == 0, said.decode()
    audit_file(data / "plaudit.db")
    assert content(data) == content(tmp_path / "whole")


def test_an_interrupted_import_says_how_to_go_on(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", SMALL_BATCHES, "import", "-"],
        env=environment(tmp_path / "data"),
        cwd=tmp_path,
        stdin=reader,
        stderr=subprocess.PIPE,
    )
    os.close(reader)
    with ended(process), os.fdopen(writer, "wb") as pipe:
        pipe.write(lines(500).encode())
        pipe.flush()
        deadline = time.monotonic() + 30
        while not (tmp_path / "data" / "plaudit.db").exists() or stored_rows(tmp_path / "data") < 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # What waits for a pipe that says nothing hears the second one; two that come too close together are one.
        for patience_s in (0.2, 5, 20):
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience_s)
                break
        _, said = process.communicate(timeout=20)
    assert process.returncode == 1, said.decode()
    assert b"run it again" in said
    audit_file(tmp_path / "data" / "plaudit.db")


HALF_WAY = """
import signal
from plaudit.adapters.sqlite import copies
from plaudit.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
copies._copy_pages = lambda *_: signal.pause()
main()
"""


@pytest.mark.parametrize(
    ("command", "half_made"),
    [("backup b.db", "b.db.partial"), ("restore whole.db --force", "data/plaudit.db.restoring")],
)
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_copy_that_is_stopped_leaves_nothing_half_made(
    tmp_path: Path, command: str, half_made: str, stop: signal.Signals
) -> None:
    (tmp_path / "f.jsonl").write_text(lines(100))
    for before in ("import f.jsonl", "backup whole.db"):
        done(plaudit(tmp_path / "data", *before.split()))
    names = {path.name for path in tmp_path.rglob("*")}
    process = subprocess.Popen(
        [sys.executable, "-c", HALF_WAY, *command.split()],
        env=environment(tmp_path / "data"),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
    )
    with ended(process):
        deadline = time.monotonic() + 30
        while not (tmp_path / half_made).exists():
            assert process.poll() is None, "ended before it was stopped"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(stop)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, b"was interrupted" in said) == (1, True), said.decode()
    assert {path.name for path in tmp_path.rglob("*")} - names <= {"plaudit.db-shm", "plaudit.db-wal"}
    assert stored_rows(tmp_path / "data") == 100


@pytest.mark.timeout(180)
async def test_backups_under_load_are_whole_and_one_restores_with_its_secret(tmp_path: Path) -> None:
    tally, stop = Tally(), asyncio.Event()
    with ServerProcess(tmp_path / "data", env={"PLAUDIT_RATE_LIMIT_PER_S": "0"}) as server:
        users = [f"user{n}" for n in range(16)]
        targets = [f"post:{n}" for n in range(40)]
        clients = [Client(server.url, server.token(user), user, targets, tally) for user in users]
        token = server.token("user0")
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run(stop))
            for n in range(3):
                options = ["--with-secret"] if n == 2 else []
                done(await asyncio.to_thread(plaudit, server.data, "backup", tmp_path / f"b{n}", *options))
            stop.set()
        shown = httpx.get(f"{server.url}/api/v1/reactions/counts?target_ids=post:1,post:2").json()["counts"]
    assert tally.problems == []
    for n in range(3):
        audit_file(tmp_path / f"b{n}")
    assert (tmp_path / "b2.secret").read_text() == (server.data / "secret").read_text()
    assert not (tmp_path / "b1.secret").exists()
    assert "with its secret" in done(plaudit(tmp_path / "new", "restore", tmp_path / "b2"))
    with ServerProcess(tmp_path / "new") as restored:
        for target, old in shown.items():
            path = f"{restored.url}/api/v1/reactions/counts?target_ids={target}"
            assert httpx.get(path).json()["counts"][target]["version"] > old["version"]
        mine = httpx.get(f"{restored.url}/api/v1/me/reactions", headers={"Authorization": f"Bearer {token}"})
        assert mine.status_code == 200, "the secret came back"
        json.loads(mine.content)
    assert plaudit(tmp_path / "new", "restore", tmp_path / "b0").returncode == 3
    assert "what was there before is in" in done(
        plaudit(tmp_path / "new", "restore", tmp_path / "b0", "--force")
    )
    audit_file(tmp_path / "new" / "plaudit.db")
