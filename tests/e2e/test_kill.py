"""kill -9 under load, twenty times: every acknowledged tap is there, and no retry counts twice."""

import asyncio
import random
import time
from pathlib import Path

import apsw
import pytest

from tests.support.audit import audit_file
from tests.support.clients import REACTIONS, Client, Tally
from tests.support.server import ServerProcess

CLIENTS = 24
TARGETS = [f"post:{n}" for n in range(12)] + ["post:viral"] * 12
KILLS = 20
TAPS_BETWEEN = 40
PROGRESS_WITHIN_S = 30.0


def stored(data: Path) -> dict[tuple[str, str], str]:
    """Every reaction in the file, by (user, target)."""
    connection = apsw.Connection(str(data / "plaudit.db"), flags=apsw.SQLITE_OPEN_READONLY)
    rows = connection.execute(
        "SELECT r.user, t.id, r.reaction FROM reaction_row r JOIN target t ON t.no = r.target WHERE r.reaction > 0"
    )
    found = {(str(user), str(target)): REACTIONS[int(str(code)) - 1] for user, target, code in rows}
    connection.close()
    return found


def expected_of(clients: list[Client]) -> dict[tuple[str, str], str]:
    """Every reaction that was acknowledged last, by (user, target)."""
    return {
        (client.user, target): reaction
        for client in clients
        for target, reaction in client.state.items()
        if reaction is not None
    }


async def progress(tally: Tally, taps: int) -> None:
    """Wait until that many more taps were acknowledged."""
    goal = tally.acknowledged + taps
    async with asyncio.timeout(PROGRESS_WITHIN_S):
        while tally.acknowledged < goal:
            await asyncio.sleep(0.002)


async def kill_under_load(data: Path, kills: int) -> tuple[Tally, list[Client], list[str]]:
    """Run clients against a server that is killed again and again; returns the table of kills too."""
    tally, stop, moment = Tally(), asyncio.Event(), random.Random(0)
    table = [f"{'kill':>4} {'acknowledged':>12} {'interrupted':>11} {'stored':>6} {'ready again':>11}"]
    with ServerProcess(data, env={"PLAUDIT_RATE_LIMIT_PER_S": "0"}) as server:
        users = [f"user{n}" for n in range(CLIENTS)]
        clients = [Client(server.url, server.token(user), user, TARGETS, tally) for user in users]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run(stop))
            for number in range(1, kills + 1):
                await progress(tally, TAPS_BETWEEN)
                await asyncio.sleep(moment.random() * 0.02)  # anywhere in the life of a commit
                acknowledged, interrupted, found = tally.acknowledged, tally.interrupted, tally.found_stored
                server.kill()
                started = time.monotonic()
                await asyncio.to_thread(server.start)
                ready_s = time.monotonic() - started
                await progress(tally, CLIENTS * 2)  # every interrupted tap has been settled by its retry
                table.append(
                    f"{number:>4} {acknowledged:>12,} {tally.interrupted - interrupted:>11}"
                    f" {tally.found_stored - found:>6} {ready_s:>9.2f} s"
                )
            stop.set()
    return tally, clients, table


@pytest.mark.timeout(180)
async def test_no_acknowledged_tap_is_lost_and_none_counts_twice(tmp_path: Path) -> None:
    data = tmp_path / "data"
    tally, clients, table = await kill_under_load(data, KILLS)
    print("\n".join(table))  # noqa: T201 - the table of kills, for whoever runs it with -s
    assert tally.problems == []
    assert tally.interrupted > 0, "the kills interrupted nobody: the test proves nothing"
    assert stored(data) == expected_of(clients)
    audit_file(data / "plaudit.db")
