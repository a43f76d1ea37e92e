"""One writer, several readers and the checkpoints beside them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random

import apsw
import pytest

from plaudit.adapters.sqlite import Database, database
from tests.support.audit import audit_file
from tests.support.clock import ManualClock
from tests.support.stores import Stores, sqlite_stores, stores_on
from tests.support.taps import ALL, LIKE, cell, toggle
from tests.support.wait import until

FRAME_BYTES = 4096 + 24


@asynccontextmanager
async def busy_writing(stores: Stores) -> AsyncIterator[list[int]]:
    """Random toggles on few cells, all the time; the list grows with every commit."""
    random = Random(1)
    done: list[int] = []
    stop = False

    async def write() -> None:
        for n in count():
            if stop:
                return
            users = random.sample(range(60), 10)
            taps = [toggle(f"u{user}", random.choice(ALL)) for user in users]
            await stores.ledger.commit([cell(f"t{i}", *taps) for i in range(4)])
            done.append(n)

    task = asyncio.create_task(write())
    try:
        yield done
    finally:
        stop = True
        await task


@pytest.mark.usefixtures("busy_checkpoints")
async def test_a_reader_sees_whole_commits_only(tmp_path: Path, clock: ManualClock) -> None:
    def look(connection: apsw.Connection) -> int:
        connection.execute("BEGIN")
        try:
            shown = dict(
                connection.execute("SELECT no, (SELECT sum(value) FROM json_each(counts)) FROM target")
            )
            there = dict(
                connection.execute(
                    "SELECT target, count(*) FILTER (WHERE reaction > 0) FROM reaction_row GROUP BY target"
                )
            )
            seqs: int = connection.execute("SELECT coalesce(sum(seq), 0) FROM target").get
            events = connection.execute("SELECT coalesce(sum(events), 0) FROM event").get
        finally:
            connection.execute("COMMIT")
        assert shown == there
        assert seqs == events
        return seqs

    async with Database(tmp_path) as opened:
        async with busy_writing(stores_on(opened, clock)) as done:
            seen: set[int] = set()
            while len(done) < 200 or len(seen) < 20:
                seen |= set(await asyncio.gather(*(opened.read(look) for _ in range(2))))
        audit_file(tmp_path / "plaudit.db")


@pytest.mark.usefixtures("busy_checkpoints")
async def test_the_log_stays_short_under_sustained_writes(tmp_path: Path, clock: ManualClock) -> None:
    wal = tmp_path / "plaudit.db-wal"
    restarts = written = 0
    async with sqlite_stores(tmp_path, clock) as stores, busy_writing(stores) as done:
        await until(lambda: len(done) > 0, "the first commit")
        salt = wal.read_bytes()[16:24]
        deadline = time.monotonic() + 30
        while restarts < 5 or wal.stat().st_size > written / 4:
            assert time.monotonic() < deadline, (
                f"{restarts} restarts, {written} written, {wal.stat().st_size} kept"
            )
            await stores.counts("t1")
            with wal.open("rb") as file:
                file.seek(16)
                if (now := file.read(8)) != salt:
                    salt, restarts = now, restarts + 1
            written = len(done) * 8 * FRAME_BYTES  # at least: four cells, their rows, two indexes, events
    audit_file(tmp_path / "plaudit.db")


@pytest.mark.usefixtures("busy_checkpoints")
async def test_a_long_read_does_not_hold_up_writers(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log cannot be restarted while somebody reads an old state: writers must not wait for it."""
    monkeypatch.setattr(database, "BUSY_MS", 60_000)  # longer than any machine stalls
    async with sqlite_stores(tmp_path, clock) as stores, busy_writing(stores) as done:
        await until(lambda: len(done) > 20, "some commits")
        reader = apsw.Connection(str(tmp_path / "plaudit.db"), flags=apsw.SQLITE_OPEN_READONLY)
        reader.execute("BEGIN")
        before = reader.execute("SELECT id, seq FROM target").fetchall()
        slowest, held = 0.0, len(done)
        while len(done) < held + 300:
            start, number = time.monotonic(), len(done)
            await until(lambda number=number: len(done) > number, "the next commit", within_s=30)  # type: ignore[misc] # bound now
            slowest = max(slowest, time.monotonic() - start)
        assert slowest < database.BUSY_MS / 1000 / 4
        assert reader.execute("SELECT id, seq FROM target").fetchall() == before
        reader.execute("COMMIT")
        reader.close()
        wal = tmp_path / "plaudit.db-wal"
        salt = wal.read_bytes()[16:24]
        await until(lambda: wal.read_bytes()[16:24] != salt, "the log starts again once the reader is gone")
    audit_file(tmp_path / "plaudit.db")


@pytest.mark.parametrize("limit", [1, 3, 4, 50])
async def test_reactors_with_equal_times_come_page_by_page_without_gap_or_repeat(
    tmp_path: Path, clock: ManualClock, limit: int
) -> None:
    """Imported rows may share their times; taps cannot."""
    async with Database(tmp_path) as opened:
        stores = stores_on(opened, clock)
        people = [(f"u{n}", ALL[n % 5], 1000 + n // 9) for n in range(40)]
        await stores.tap("t", *(toggle(user, code) for user, code, _ in people))

        def same_times(connection: apsw.Connection) -> None:
            connection.executemany(
                "UPDATE reaction_row SET created_at = ?3, age = 0 WHERE user = ?1 AND reaction = ?2", people
            )

        await opened.write(same_times)
        found: list[tuple[str, int, int]] = []
        place = None
        while page := await stores.reactors.reactors("t", ALL, place, limit):
            found += [(entry.key, entry.reaction, entry.created_at) for entry in page]
            place = (page[-1].created_at, page[-1].key)
        assert found == sorted(people, key=lambda line: (line[2], line[0]), reverse=True)


async def test_a_call_may_be_larger_than_one_statement_can_bind(tmp_path: Path, clock: ManualClock) -> None:
    users = [f"u{n}" for n in range(128)]
    targets = [f"t{n}" for n in range(100)]
    async with sqlite_stores(tmp_path, clock) as stores:
        for total in (128, 0):
            results = await stores.ledger.commit(
                [cell(t, *(toggle(u, LIKE) for u in users)) for t in targets]
            )
            assert {r.target.header.total for r in results if r.target.header} == {total}
    audit_file(tmp_path / "plaudit.db")
