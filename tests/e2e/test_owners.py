"""Root at work on the data of a service that runs as another user: what root makes there, that user can use."""

import os
from pathlib import Path

import pytest

from tests.e2e.test_cli import plaudit
from tests.support.users import NOBODY, given, needs_root

LINE = '{"target_id":"t","user_id":"u","reaction":"like","created_at":"2025-01-01T00:00:00Z"}\n'


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of another user's, and a backup with its secret to put there."""
    needs_root()
    (tmp_path / "f.jsonl").write_text(LINE)
    env = {"PLAUDIT_DATA": str(tmp_path / "other")}
    for command in ("token --user ann", "import f.jsonl", "backup b.db --with-secret"):
        done = plaudit(*command.split(), cwd=tmp_path, **env)
        assert done.returncode == 0, done.stderr
    (tmp_path / "data").mkdir(mode=0o700)
    return given(tmp_path / "data")


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
