"""A page of the file that cannot be read: what needs it fails and says so, and everything else goes on."""

import asyncio
from pathlib import Path

import pytest

from plaudit.adapters.sqlite import inspect
from tests.support.api import REACTIONS, Api, assert_problem, open_api
from tests.support.clock import ManualClock
from tests.support.damage import damage
from tests.support.stores import sqlite_stores
from tests.support.taps import toggle

GOOD = tuple(f"good{n}" for n in range(30))
USERS = 60  # of each target: more than a page of rows


async def fill(folder: Path, *targets: str) -> None:
    """Targets with pages of rows of their own, and a file that was closed."""
    async with sqlite_stores(folder, ManualClock()) as stores:
        for target in targets:
            await stores.tap(target, *(toggle(f"{target}-u{n}") for n in range(USERS)))


async def put(api: Api, target: str, status: int) -> str:
    headers = api.host | {"Plaudit-User": f"{target}-u30"}
    body = {"target_id": target, "reaction_type": "love"}
    answer = await api.call("PUT", REACTIONS, headers=headers, json=body, status=status)
    if status == 500:
        assert_problem(answer, "internal")
    return answer.text


async def test_taps_on_other_targets_are_stored_and_the_damage_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(tmp_path, *GOOD[:15], "bad", *GOOD[15:])
    damage(tmp_path / "plaudit.db", "reaction_row", b"bad-u30")
    async with open_api(tmp_path) as api:
        for _ in range(3):
            await asyncio.gather(put(api, "bad", 500), *(put(api, target, 200) for target in GOOD))
            assert (await api.call("GET", "/readyz")).text == "ready\n"
        assert "damaged" not in await put(api, "bad", 500), "the caller is not told of the file"
        metrics = (await api.call("GET", "/metrics")).text
    found = dict(line.split() for line in metrics.splitlines() if line.startswith("plaudit_"))
    assert float(found["plaudit_damaged_reads_total"]) >= 4
    assert found["plaudit_writable"] == "1.0"
    assert found['plaudit_taps_total{outcome="internal"}'] == "4.0"
    assert "taps on bad cannot be stored" in caplog.text
    assert "taps are refused until it works again" not in caplog.text
    assert inspect(tmp_path, 10, 10, 1.0).fault, "the doctor sees it, to whom the alert sends people"
