"""The secret in a data folder: made once, whole or not at all, and named where it is none."""

import os
from pathlib import Path
from typing import Any

import pytest

from plaudit.adapters import secret
from plaudit.adapters.secret import kept_secret
from plaudit.doctor import tokens
from plaudit.domain.errors import Corrupt, Unavailable
from plaudit.settings import Settings


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    made = kept_secret(tmp_path / "data")
    assert len(made) >= 32
    assert kept_secret(tmp_path / "data") == made
    assert os.listdir(tmp_path / "data") == ["secret"]
    assert (tmp_path / "data" / "secret").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "\n", "too short"])
def test_a_file_without_a_secret_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(Corrupt, match=f"{path} holds no secret"):
        kept_secret(tmp_path)
    [found] = tokens(Settings(data=tmp_path))
    assert (found.state, str(path) in found.detail) == ("fault", True)
    assert path.read_text() == text, "nobody replaces it"


def test_a_disk_that_is_full_leaves_no_empty_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(Unavailable, match="No space left"):
            kept_secret(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_disk_without_links_has_a_secret_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: Path, target: Path) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refused)
    assert kept_secret(tmp_path) == kept_secret(tmp_path)
    assert os.listdir(tmp_path) == ["secret"]


def test_who_comes_second_takes_the_first_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(path: Path) -> None:
        path.write_text("x" * 40)
        made(path)

    made: Any = secret._make
    monkeypatch.setattr(secret, "_make", make)
    assert kept_secret(tmp_path) == "x" * 40
    assert os.listdir(tmp_path) == ["secret"]
