"""Files of lines: bounded when read, whole or absent when written."""

import gzip
import os
import tracemalloc
from pathlib import Path

import pytest

from plaudit.adapters.files import LineFile, new_file
from plaudit.domain.errors import Conflict, Corrupt, Unavailable

MOST = 100


def lines(path: Path) -> list[tuple[int, bytes | None]]:
    with LineFile(path, MOST) as file:
        return list(file)


@pytest.mark.parametrize("name", ["f.jsonl", "f.jsonl.gz"])
def test_lines_are_numbered_and_bounded(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    long = b"x" * 1_000_000
    content = (
        b"\xef\xbb\xbfone\r\n\n" + b"y" * MOST + b"\r\n" + b"y" * (MOST + 1) + b"\n" + long + b"\n\x00\nlast"
    )
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert lines(path) == [
        (1, b"one"),
        (2, b""),
        (3, b"y" * MOST),
        (4, None),
        (5, None),
        (6, b"\x00"),
        (7, b"last"),
    ]


def test_a_huge_line_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    with path.open("wb") as file:
        file.truncate(1 << 28)  # nothing but NUL, and none of it on disk
        file.seek(0, os.SEEK_END)
        file.write(b"\nend")
    tracemalloc.start()
    assert lines(path) == [(1, None), (2, b"end")]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_how_far_it_is_read_is_known(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b"a line\n" * 10)
    with LineFile(path, MOST) as file:
        assert (file.read_bytes, file.size_bytes) == (0, 70)
        assert len(list(file)) == 10
        assert file.read_bytes == 70


def test_damaged_packing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl.gz"
    whole = gzip.compress(b"a line\n" * 1000)
    for content in (b"no gzip", whole[:-9], whole[:20] + b"\xff" * 9 + whole[29:]):
        path.write_bytes(content)
        with pytest.raises(Corrupt):
            lines(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(Unavailable, match=str(path)):
            lines(path)


@pytest.mark.parametrize("name", ["f.jsonl", "f.jsonl.gz"])
def test_a_new_file_appears_when_it_is_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with new_file(path, force=False) as write:
        for _ in range(10_000):
            write(b"a line\n")
        assert not path.exists()
    assert os.listdir(tmp_path) == [name]
    assert path.stat().st_mode & 0o077 == 0
    assert len(lines(path)) == 10_000


def test_a_file_that_is_there_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(Conflict), new_file(path, force=False):
        pass
    assert path.read_text() == "old"
    with new_file(path, force=True) as write:
        write(b"new")
    assert path.read_text() == "new"


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(TypeError), new_file(path, force=True) as write:
        write("no bytes")  # type: ignore[arg-type] # on purpose
    assert os.listdir(tmp_path) == ["f"]
    assert path.read_text() == "old"
    with pytest.raises(Unavailable), new_file(tmp_path / "no folder" / "f", force=False):
        pass
