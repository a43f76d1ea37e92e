"""The audit that other tests rely on finds every kind of difference."""

from pathlib import Path

import apsw
import pytest

from tests.support.audit import audit_file
from tests.support.clock import ManualClock
from tests.support.stores import sqlite_stores
from tests.support.taps import LOVE, cell, toggle

DAMAGES = {
    "a row too few": "DELETE FROM reaction_row WHERE user = 'ann'",
    "a row too many": "INSERT INTO reaction_row VALUES (1, 'eve', 1, 1, 0, NULL, 0)",
    "another reaction": "UPDATE reaction_row SET reaction = 3 WHERE user = 'bob'",
    "a count too high": "UPDATE target SET counts = '[2,1]'",
    "rows miscounted": "UPDATE target SET rows = rows + 1",
    "recent has a stranger": "UPDATE target SET recent = json_insert(recent, '$[#]', json('[\"eve\",1]'))",
    "recent has another reaction": "UPDATE target SET recent = replace(recent, '2', '1')",
    "rows of no target": "UPDATE reaction_row SET target = 99",
    "deleted and counted": "UPDATE target SET deleted = 1",
    "purged and rows left": "UPDATE target SET deleted = 2, counts = '[]', recent = '[]'",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_the_audit_finds_a_difference(tmp_path: Path, clock: ManualClock, damage: str) -> None:
    async with sqlite_stores(tmp_path, clock) as stores:
        await stores.ledger.commit(
            [cell("t", toggle("ann"), toggle("bob", LOVE), toggle("cid"), toggle("cid"))]
        )
    path = tmp_path / "plaudit.db"
    audit_file(path)
    connection = apsw.Connection(str(path))
    connection.execute(damage)
    connection.close()
    with pytest.raises(AssertionError, match=r"differences in plaudit\.db"):
        audit_file(path)
