"""The journal in files: what a process that is gone left open is found, once, by whoever looks."""

import asyncio
import fcntl
import os
from pathlib import Path

import pytest

from plaudit.adapters.journal import FOLDER, FileJournal, FileJournals
from plaudit.domain.errors import Unavailable
from plaudit.ports.cells import CellKey
from plaudit.ports.journal import Entry
from tests.support.wait import happens

A, B = CellKey("a"), CellKey("b", 7)


def files(data: Path) -> list[Path]:
    return sorted((data / FOLDER).iterdir())


def killed(journal: FileJournal) -> None:
    """As the kernel does with what a killed process had open."""
    os.close(journal._file)


async def entries(data: Path) -> list[Entry]:
    """What is open in what was left behind."""
    adopted = await FileJournals(data).adopt()
    found = [entry for each in adopted for entry in each.entries]
    for each in adopted:
        each.release()
    return found


def test_the_lines_are_these_for_ever(tmp_path: Path) -> None:
    with FileJournal(tmp_path) as journal:
        journal.end(journal.begin(B, 9, ["ann", "b/b"]))
        journal.begin(A, 0, [])
        [path] = files(tmp_path)
        assert path.read_bytes() == (
            b'["begin.v1",1,"b",7,9,["ann","b/b"]]\n["end.v1",1]\n["begin.v1",2,"a",0,0,[]]\n'
        )
        assert path.stat().st_mode & 0o777 == 0o600
    assert files(tmp_path) == [path], "something is open in it"


async def test_a_process_that_ends_with_nothing_open_leaves_nothing(tmp_path: Path) -> None:
    with FileJournal(tmp_path) as journal:
        journal.end(journal.begin(A, 0, ["ann"]))
    assert files(tmp_path) == []
    assert await entries(tmp_path) == []
    assert await entries(tmp_path / "never made") == []


async def test_one_adopts_until_it_drops_or_releases(tmp_path: Path) -> None:
    with FileJournal(tmp_path) as journal:
        journal.begin(A, 0, ["ann"])
    [adopted] = await FileJournals(tmp_path).adopt()
    assert await entries(tmp_path) == []
    adopted.release()
    adopted.release()
    [adopted] = await FileJournals(tmp_path).adopt()
    adopted.drop()
    adopted.release()
    assert files(tmp_path) == []


@pytest.mark.parametrize("torn", [b'["begin.v1",2,"a",0,1,["bo', b"[", b'["end.v1",1]'])
async def test_a_torn_last_line_never_left(tmp_path: Path, torn: bytes) -> None:
    with FileJournal(tmp_path) as journal:
        journal.begin(A, 0, ["ann"])
    [path] = files(tmp_path)
    with path.open("ab") as file:
        file.write(torn)
    assert await entries(tmp_path) == [Entry(A, 0, ("ann",))]


async def test_a_line_that_nobody_can_read_takes_no_other_with_it(tmp_path: Path) -> None:
    with FileJournal(tmp_path) as journal:
        journal.begin(A, 0, ["ann"])
        [path] = files(tmp_path)
        with path.open("ab") as file:
            file.write(b"\0\0\0\xff\n")
        journal.begin(B, 1, ["bob"])
    assert await entries(tmp_path) == [Entry(A, 0, ("ann",)), Entry(B, 1, ("bob",))]


async def test_a_file_that_grew_is_written_anew_with_what_is_open(tmp_path: Path) -> None:
    with FileJournal(tmp_path, rotate_at_bytes=2000) as journal:
        stays = [journal.begin(A, n, ["ann"]) for n in range(3)]
        for n in range(1000):
            journal.end(journal.begin(B, n, ["bob", "cid"]))
            [path] = files(tmp_path)
            assert path.stat().st_size <= 2000
        journal.end(stays[1])
        assert await entries(tmp_path) == [], "the new file is locked too"
        last = journal.begin(B, 7, ["dan"])
        assert last == 1004
    assert await entries(tmp_path) == [
        Entry(A, 0, ("ann",)),
        Entry(A, 2, ("ann",)),
        Entry(B, 7, ("dan",)),
    ]


async def test_what_is_open_for_long_is_not_written_anew_at_every_turn(tmp_path: Path) -> None:
    with FileJournal(tmp_path, rotate_at_bytes=1000) as journal:
        names = set()
        for n in range(200):
            journal.begin(A, n, ["ann"])
            names |= set(files(tmp_path))
        assert len(names) < 8
    assert len(await entries(tmp_path)) == 200


async def test_a_full_disk_refuses_and_spoils_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FileJournal(tmp_path) as journal:
        journal.begin(A, 0, ["ann"])
        write = os.write
        monkeypatch.setattr(os, "write", lambda file, lines: write(file, lines[:9]))
        with pytest.raises(Unavailable):
            journal.begin(A, 1, ["bob"])
        monkeypatch.undo()
        journal.begin(A, 2, ["cid"])
    assert await entries(tmp_path) == [Entry(A, 0, ("ann",)), Entry(A, 2, ("cid",))]


async def test_who_is_stopped_while_it_looks_holds_nothing(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path).__enter__()
    journal.begin(A, 3, ["ann"])
    killed(journal)
    looking = asyncio.create_task(FileJournals(tmp_path).adopt())
    await asyncio.sleep(0)  # its thread is looking
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking

    async def free() -> bool:
        return await entries(tmp_path) == [Entry(A, 3, ("ann",))]

    await happens(free, "the journal to be free")


async def test_what_another_has_dropped_meanwhile_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FileJournal(tmp_path).__enter__()
    journal.begin(A, 3, ["ann"])
    killed(journal)
    lock = fcntl.flock

    def late(file: int, how: int) -> None:
        for path in files(tmp_path):
            path.unlink()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    assert await FileJournals(tmp_path).adopt() == []


async def test_no_journal_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file in its place")
    with pytest.raises(Unavailable):
        FileJournal(tmp_path).__enter__()
