"""Lists of small targets are sorted, those of big ones come from an index; nobody can tell which."""

import json
import random
from pathlib import Path

import apsw
import pytest

from plaudit.adapters.sqlite import Database, database
from plaudit.adapters.sqlite.lists import _REACTORS
from plaudit.adapters.sqlite.rows import LISTED_ABOVE
from plaudit.domain.transfer import ReactionRecord
from plaudit.ports.lists import Entry
from plaudit.ports.transfer import Batch
from tests.support.clock import ManualClock
from tests.support.stores import Stores, sqlite_stores, stores_on
from tests.support.taps import ALL, cell, set_to

TRIGGER = "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = 'grown'"
LISTED = "SELECT json_array(count(*), total(listed)) FROM reaction_row"


async def everyone(stores: Stores, limit: int, *codes: int) -> list[Entry]:
    """The whole list of the target `t`, page by page."""
    found: list[Entry] = []
    while page := await stores.reactors.reactors(
        "t", codes or ALL, (found[-1].created_at, found[-1].key) if found else None, limit
    ):
        found += page
    return found


def listed(folder: Path) -> tuple[int, int]:
    """How many rows there are, and how many of them are listed."""
    connection = apsw.Connection(str(folder / database.FILE_NAME), flags=apsw.SQLITE_OPEN_READONLY)
    rows, marked = json.loads(connection.execute(LISTED).get)
    connection.close()
    return rows, int(marked)


@pytest.mark.parametrize("seed", range(3))
async def test_a_target_that_grows_has_the_same_list_on_both_sides(tmp_path: Path, seed: int) -> None:
    dice, clock = random.Random(seed), ManualClock()
    async with sqlite_stores(tmp_path, clock) as stores:
        reactions: dict[str, int] = {}
        given_at: dict[str, int] = {}
        while len(reactions) < LISTED_ABOVE + 60:
            users = dice.sample(range(2 * LISTED_ABOVE), dice.choice([1, 7, 100]))
            wishes = {f"u{user:03d}": dice.choice([0, 1, 1, 2, 5]) for user in users}
            clock.advance(1.0)
            taps = [set_to(user, code) for user, code in wishes.items()]
            await stores.ledger.commit([cell("t", *taps), cell("other", *taps[:3])])
            for user, code in wishes.items():
                if code or user in reactions:
                    reactions[user] = code
                if code and user not in given_at:
                    given_at[user] = len(given_at)
            expected = sorted(
                (u for u, code in reactions.items() if code), key=given_at.__getitem__, reverse=True
            )
            found = await everyone(stores, dice.choice([3, 20, 100]))
            assert [(entry.key, entry.reaction) for entry in found] == [(u, reactions[u]) for u in expected]
            ones = [entry.key for entry in await everyone(stores, 50, 1)]
            assert ones == [user for user in expected if reactions[user] == 1]


async def test_all_rows_are_listed_once_a_target_is_big(tmp_path: Path) -> None:
    async with sqlite_stores(tmp_path, ManualClock()) as stores:
        for start in range(0, LISTED_ABOVE, 64):
            await stores.tap("t", *[set_to(f"u{n}", 1) for n in range(start, start + 64)])
        assert listed(tmp_path) == (LISTED_ABOVE, 0)
        await stores.tap("t", set_to("u0", 2))
        assert listed(tmp_path) == (LISTED_ABOVE, 0)
        await stores.tap("t", set_to("one more", 1))
        assert listed(tmp_path) == (LISTED_ABOVE + 1, LISTED_ABOVE + 1)
        await stores.tap("t", set_to("u1", 0), set_to("and another", 3))
        assert listed(tmp_path) == (LISTED_ABOVE + 2, LISTED_ABOVE + 2)


@pytest.mark.parametrize("parts", [[LISTED_ABOVE + 1], [200, 57], [300, 10], [LISTED_ABOVE, 1]])
async def test_an_import_lists_as_taps_do(tmp_path: Path, parts: list[int]) -> None:
    async with sqlite_stores(tmp_path, ManualClock()) as stores:
        users = (f"u{n}" for n in range(sum(parts)))
        for part in parts:
            records = [ReactionRecord("t", next(users), 1, 10 + n, 10 + n, None) for n in range(part)]
            await stores.intake.store(Batch(users=[], targets={}, reactions={"t": records}), whole=True)
        assert listed(tmp_path) == (sum(parts), sum(parts))
        assert len(await everyone(stores, 100)) == sum(parts)


async def test_a_file_of_before_is_listed_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = database.migrations()
    connection = apsw.Connection(str(tmp_path / database.FILE_NAME))
    connection.execute(steps[0][1])
    connection.execute(f"PRAGMA application_id = {database.APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    target = "INSERT INTO target (no, id, seq, type, counts, rows, last_at, born, recent, deleted) VALUES "
    for no, (name, rows) in enumerate([("small", 3), ("t", LISTED_ABOVE + 1)], 1):
        connection.execute(f"{target} ({no}, '{name}', 1, 'post', '[{rows}]', {rows}, 9, 1, '[]', 0)")
        lines = [(no, f"u{n:03d}", 1, 1 + n, 0, None) for n in range(rows)]
        connection.executemany("INSERT INTO reaction_row VALUES (?, ?, ?, ?, ?, ?)", lines)
    connection.close()
    async with Database(tmp_path) as opened:
        assert len(await everyone(stores_on(opened, ManualClock()), 100)) == LISTED_ABOVE + 1
    assert listed(tmp_path) == (LISTED_ABOVE + 4, LISTED_ABOVE + 1)


async def test_the_limit_is_the_same_everywhere_and_the_index_is_used(tmp_path: Path) -> None:
    async with Database(tmp_path) as opened:

        def look(connection: apsw.Connection) -> tuple[str, list[str]]:
            plan = connection.execute(f"EXPLAIN QUERY PLAN {_REACTORS}", ("t", "[1]", 1, "", 1))
            return str(connection.execute(TRIGGER).get), [line[3] for line in plan]

        trigger, plan = await opened.read(look)
    assert f"new.rows > {LISTED_ABOVE} AND old.rows <= {LISTED_ABOVE}" in trigger
    assert any("USING COVERING INDEX reactor" in line or "USING INDEX reactor" in line for line in plan), plan
    assert any("USING PRIMARY KEY (target=?)" in line for line in plan), plan
