"""Root at work on the data of a service that runs as another user: what root makes there, that user can use."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_cli import plaudit
from tests.support.users import NOBODY, as_nobody, given, needs_root

LINE = '{"target_id":"t","user_id":"u","reaction":"like","created_at":"2025-01-01T00:00:00Z"}\n'


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A folder where others may come too, with data of root's and a backup of it."""
    needs_root()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "f.jsonl").write_text(LINE)
        for command in ("token --user ann", "import f.jsonl", "backup b.db --with-secret"):
            done = plaudit(*command.split(), cwd=folder, PLAUDIT_DATA=str(folder / "other"))
            assert done.returncode == 0, done.stderr
        (folder / "b.db").chmod(0o644)
        yield folder


@pytest.fixture
def data(made: Path) -> Iterator[Path]:
    """An empty folder of another user's."""
    folder = made / "data"
    folder.mkdir(mode=0o700)
    yield given(folder)
    shutil.rmtree(folder)


def owners(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_uid, path.stat().st_gid) for path in folder.iterdir()}


def run(data: Path, *arguments: str) -> None:
    done = plaudit(*arguments, cwd=data.parent, PLAUDIT_DATA=str(data))
    assert done.returncode == 0, done.stderr


def test_what_root_restores_belongs_to_whose_the_folder_is(data: Path) -> None:
    run(data, "restore", "b.db")
    assert owners(data) == dict.fromkeys(("plaudit.db", "plaudit.lock", "secret"), (NOBODY, NOBODY))
    assert (data / "plaudit.db").stat().st_mode & 0o777 == 0o600


def test_a_restored_file_has_owner_and_mode_of_the_one_it_replaces(data: Path) -> None:
    run(data, "restore", "b.db")
    os.chown(data / "plaudit.db", NOBODY - 1, NOBODY - 2)
    (data / "plaudit.db").chmod(0o640)
    run(data, "restore", "b.db", "--force")
    restored = (data / "plaudit.db").stat()
    assert (restored.st_uid, restored.st_gid) == (NOBODY - 1, NOBODY - 2)
    assert restored.st_mode & 0o777 == 0o640


def test_what_root_imports_into_a_new_file_belongs_to_whose_the_folder_is(data: Path) -> None:
    run(data, "import", "f.jsonl")
    assert set(owners(data).values()) == {(NOBODY, NOBODY)}


def test_no_link_gives_root_s_files_away(data: Path) -> None:
    mine = data.parent / "mine"
    mine.write_text("root's")
    (data / "plaudit.lock").symlink_to(mine)
    plaudit("restore", "b.db", cwd=data.parent, PLAUDIT_DATA=str(data))
    assert (mine.read_text(), mine.stat().st_uid) == ("root's", 0)


COMMANDS = (
    "serve --port 0",
    "import f.jsonl",
    "export x.jsonl",
    "backup x.db",
    "restore b.db --force",
    "notifications dead-letters",
)


@pytest.mark.parametrize("command", [*COMMANDS, "token --user ann"])
def test_who_may_not_use_the_folder_is_told_whose_it_is(data: Path, command: str) -> None:
    other = data.with_name("other")
    said = as_nobody(*command.split(), cwd=data.parent, PLAUDIT_DATA=str(other))
    assert said.returncode == 3
    assert f"{other} belongs to root (drwx------), and this runs as nobody: run it as root" in said.stderr
    assert "127.0.0.1" not in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize("command", COMMANDS[:-2])
def test_who_may_not_open_the_database_is_told_whose_it_is(data: Path, command: str) -> None:
    run(data, "restore", "b.db")
    os.chown(data / "plaudit.db", 0, 0)
    said = as_nobody(*command.split(), cwd=data.parent, PLAUDIT_DATA=str(data))
    assert said.returncode == 3
    assert f"{data / 'plaudit.db'} belongs to root (-rw-------), and this runs as nobody" in said.stderr
    assert f"give {data / 'plaudit.db'} to nobody" in said.stderr
    assert "127.0.0.1" not in said.stderr


def test_the_doctor_says_whose_it_is(data: Path) -> None:
    def looked(folder: Path) -> str:
        said = as_nobody("doctor", cwd=Path("/"), PLAUDIT_DATA=str(folder))
        assert said.returncode == 1, said.stderr
        return said.stdout

    assert looked(data.with_name("other")).count("belongs to root") == 2
    run(data, "restore", "b.db")
    for name in ("plaudit.db", "secret"):
        os.chown(data / name, 0, 0)
    assert looked(data).count("belongs to root") == 2
    data.parent.chmod(0o700)
    try:
        assert f"{data.parent} belongs to root" in looked(data)
    finally:
        data.parent.chmod(0o777)


def test_who_may_not_read_the_settings_of_a_folder_is_told_where_to_go(made: Path) -> None:
    said = as_nobody("doctor", cwd=made / "other")
    assert said.returncode == 2
    assert f"{made / 'other' / 'plaudit.toml'} cannot be read by this user" in said.stderr
    assert "cd /etc/plaudit" in said.stderr
