"""Whole installations in files: out and in again, looked at first, stopped and skipped."""

import random
from pathlib import Path

import pytest

from plaudit import bootstrap
from plaudit.adapters.sqlite import SqlitePreview
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header
from plaudit.domain.errors import Conflict, Invalid
from plaudit.domain.merge import Tally
from plaudit.domain.transfer import ReactionRecord
from plaudit.ports.transfer import Batch
from plaudit.services.transfer import Format, OnError, Report
from plaudit.settings import Settings
from tests.support.audit import audit_file
from tests.support.clock import START_US, ManualClock
from tests.support.installation import TARGETS, USERS, content, live
from tests.support.stores import sqlite_stores
from tests.support.taps import LIKE, NONE, cell, set_to, toggle


def ignore(*_: object) -> None:
    pass


def settings_of(folder: Path) -> Settings:
    return Settings(data=folder, auth_secret="a secret that is only good enough for tests")


async def export(folder: Path, file: Path, file_format: Format = "jsonl") -> int:
    done = await bootstrap.export_file(settings_of(folder), file, file_format, force=True, look=ignore)
    return done.records


async def take(
    folder: Path,
    file: Path,
    file_format: Format = "jsonl",
    *,
    on_error: OnError = "stop",
    dry_run: bool = False,
    rejects: list[bytes] | None = None,
) -> Report:
    return await bootstrap.import_file(
        settings_of(folder),
        file,
        file_format,
        on_error=on_error,
        dry_run=dry_run,
        reject=ignore if rejects is None else rejects.append,
        look=ignore,
    )


@pytest.mark.parametrize("seed", range(4))
async def test_an_import_of_an_export_is_the_identity(tmp_path: Path, seed: int) -> None:
    clock = ManualClock()
    async with sqlite_stores(tmp_path / "a", clock) as stores:
        await live(stores, clock, random.Random(seed))
        file = tmp_path / f"all.jsonl{'.gz' if seed % 2 else ''}"
        await export(tmp_path / "a", file)
    report = await take(tmp_path / "b", file)
    assert (report.refused.total(), report.stopped) == (0, False)
    audit_file(tmp_path / "b" / "plaudit.db")
    assert content(tmp_path / "b") == content(tmp_path / "a")
    again = tmp_path / "again.jsonl"
    await export(tmp_path / "b", again)
    await export(tmp_path / "a", tmp_path / "plain.jsonl")
    assert sorted(again.read_bytes().splitlines()) == sorted(
        (tmp_path / "plain.jsonl").read_bytes().splitlines()
    )
    for folder in ("a", "b"):
        report = await take(tmp_path / folder, file)
        assert (report.tally, set(report.tally.skipped)) == (
            Tally(skipped=report.tally.skipped),
            {"already_there"},
        ), "what is there changes nothing"


async def test_csv_carries_the_reactions(tmp_path: Path) -> None:
    clock = ManualClock()
    async with sqlite_stores(tmp_path / "a", clock) as stores:
        await live(stores, clock, random.Random(5))
    await export(tmp_path / "a", tmp_path / "all.csv", "csv")
    await take(tmp_path / "b", tmp_path / "all.csv", "csv")
    audit_file(tmp_path / "b" / "plaudit.db")
    there = {key: row for key, row in content(tmp_path / "a")["rows"].items() if row[0]}
    assert content(tmp_path / "b")["rows"] == there


async def test_imported_cells_serve_and_agree_with_their_counts(tmp_path: Path) -> None:
    """The next taps on an imported installation do what they would have done on the old one."""
    clock = ManualClock()
    async with sqlite_stores(tmp_path / "a", clock) as stores:
        await live(stores, clock, random.Random(6))
    await export(tmp_path / "a", tmp_path / "all.jsonl")
    await take(tmp_path / "b", tmp_path / "all.jsonl")
    answers = []
    for folder in ("a", "b"):
        async with sqlite_stores(tmp_path / folder, ManualClock(clock.now_us() + 1)) as stores:
            results = await stores.ledger.commit(
                [cell(target, *(toggle(user, LIKE) for user in USERS)) for target in TARGETS]
            )
        answers.append([result.answers for result in results])
        audit_file(tmp_path / folder / "plaudit.db")
    assert answers[0] == answers[1]


async def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    async with sqlite_stores(tmp_path / "a", clock) as stores:
        await stores.tap("t", toggle("ann"))
    before = (tmp_path / "a" / "plaudit.db").read_bytes()
    file = tmp_path / "f.jsonl"
    file.write_text(
        '{"target_id":"t","user_id":"bob","reaction":"like","created_at":"2025-01-01T00:00:00Z"}\n'
        '{"target_id":"t","user_id":"bob","reaction":"nope","created_at":"2025-01-01T00:00:00Z"}\n'
        '{"target_id":"t","user_id":"cid","reaction":"like","created_at":"2025-01-01T00:00:00Z",'
        '"target_type":"comment"}\n\nrubbish\n'
    )
    report = await take(tmp_path / "a", file, dry_run=True)
    assert (report.lines, report.tally.created) == (4, 1)
    assert report.refused == {"unknown_reaction": 1, "target_type_mismatch": 1, "invalid_json": 1}
    assert [example.line for example in sorted(report.examples, key=lambda example: example.line)] == [
        2,
        3,
        5,
    ]
    assert (tmp_path / "a" / "plaudit.db").read_bytes() == before
    empty = await take(tmp_path / "nowhere", file, dry_run=True)
    assert empty.tally.created == 1
    assert not (tmp_path / "nowhere").exists()


async def test_a_dry_run_looks_at_a_file_that_is_being_served(tmp_path: Path) -> None:
    async with sqlite_stores(tmp_path, ManualClock()) as stores:
        await stores.tap("t", toggle("ann"))
        batch = Batch(
            reactions={"t": [ReactionRecord("t", "ann", LIKE, 1, 1), ReactionRecord("t", "bob", LIKE, 1, 1)]}
        )
        found = await SqlitePreview(tmp_path).store(batch, whole=True)
        assert found.tally == Tally(created=1, skipped=found.tally.skipped)
        (tmp_path / "any.jsonl").touch()
        with pytest.raises(Conflict):
            await take(tmp_path, tmp_path / "any.jsonl")


def reactions_file(path: Path, bad: int, lines: int = 10) -> list[bytes]:
    text = [
        b'{"target_id":"t%d","user_id":"u%d","reaction":"like","created_at":"2025-01-01T00:00:00Z"}'
        % (n % 3, n)
        for n in range(lines)
    ]
    text[bad] = text[bad].replace(b"like", b"lick")
    path.write_bytes(b"\n".join(text) + b"\n")
    return text


async def test_a_bad_line_stops_at_the_last_whole_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plaudit.services.transfer.RECORDS_AT_ONCE", 4)
    file = tmp_path / "f.jsonl"
    text = reactions_file(file, bad=6)
    report = await take(tmp_path / "a", file)
    assert (report.stopped, report.stored_to, report.lines, report.tally.created) == (True, 4, 4, 4)
    assert [(example.line, example.code) for example in report.examples] == [(7, "unknown_reaction")]
    text[6] = text[6].replace(b"lick", b"like")
    file.write_bytes(b"\n".join(text))
    report = await take(tmp_path / "a", file)
    assert (report.stopped, report.stored_to, report.tally.created) == (False, 10, 6)
    assert report.tally.skipped == {"already_there": 4}
    audit_file(tmp_path / "a" / "plaudit.db")


async def test_what_only_the_store_can_refuse_stops_too(tmp_path: Path) -> None:
    async with sqlite_stores(tmp_path / "a", ManualClock()) as stores:
        await stores.directory.register("t1", Registration(type="comment"))
    file = tmp_path / "f.csv"
    file.write_bytes(
        b"target_id,user_id,reaction,created_at,target_type\n"
        b"t0,u,like,2025-01-01T00:00:00Z,post\nt1,u,like,2025-01-01T00:00:00Z,post\n"
    )
    rejects: list[bytes] = []
    report = await take(tmp_path / "a", file, "csv", rejects=rejects)
    assert (report.stopped, report.stored_to, report.tally) == (True, 0, Tally())
    report = await take(tmp_path / "a", file, "csv", on_error="skip", rejects=rejects)
    assert (report.stopped, report.tally.created, report.refused) == (False, 1, {"target_type_mismatch": 1})
    aside = b"".join(rejects)
    assert aside.startswith(b"target_id,user_id,reaction,created_at")
    (tmp_path / "rejects.csv").write_bytes(aside.replace(b",post", b",comment"))


async def test_bad_lines_are_put_aside_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    text = reactions_file(file, bad=3)
    odd = [b"\x00", b"\xff\xfe", b"x" * 70_000, b"[]", b"null"]
    file.write_bytes(b"\n".join([*odd, *text]))
    rejects: list[bytes] = []
    report = await take(tmp_path / "a", file, on_error="skip", rejects=rejects)
    assert report.tally.created == 9
    assert report.refused == {
        "invalid_json": 2,
        "line_too_long": 1,
        "invalid_field": 2,
        "unknown_reaction": 1,
    }
    assert b"".join(rejects).splitlines() == [odd[0], odd[1], odd[3], odd[4], text[3]]


async def test_examples_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_bytes(b"rubbish\n" * 5000)
    report = await take(tmp_path / "a", tmp_path / "f.jsonl", on_error="skip")
    assert (report.refused.total(), len(report.examples), report.examples[-1].line) == (5000, 20, 20)


async def test_csv_without_a_header_is_refused_as_a_whole(tmp_path: Path) -> None:
    for text in (b"", b"t,u,like,2025-01-01T00:00:00Z\n"):
        (tmp_path / "f.csv").write_bytes(text)
        with pytest.raises(Invalid):
            await take(tmp_path / "a", tmp_path / "f.csv", "csv", on_error="skip")


async def test_a_profile_is_checked_as_over_http(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_bytes(
        b'{"kind":"user","user_id":"a","avatar_url":"javascript:alert(1)"}\n'
        b'{"kind":"user","user_id":"b","time_zone":"Mars/Base"}\n'
        b'{"kind":"target","target_id":"t","registered":true,"title":"\\u0000"}\n'
    )
    report = await take(tmp_path / "a", tmp_path / "f.jsonl", on_error="skip")
    assert [example.field for example in report.examples] == ["avatar_url", "time_zone", "title"]


async def test_a_removed_reaction_keeps_its_place_for_later(tmp_path: Path) -> None:
    clock = ManualClock()
    async with sqlite_stores(tmp_path / "a", clock) as stores:
        await stores.tap("t", set_to("ann", LIKE))
        clock.advance(5)
        await stores.tap("t", set_to("ann", NONE))
    await export(tmp_path / "a", tmp_path / "f.jsonl")
    await take(tmp_path / "b", tmp_path / "f.jsonl")
    clock.advance(5)
    async with sqlite_stores(tmp_path / "b", clock) as stores:
        assert (await stores.target("t")).header == Header(2, "post", (), 1, START_US + 5_000_000, START_US)
        await stores.tap("t", set_to("ann", LIKE))
        [entry] = await stores.own.reacted("ann", None, 10)
    assert entry.created_at == START_US
