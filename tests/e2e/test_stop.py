"""SIGTERM under load: what is queued is committed and answered, what comes then is refused, and the port closes."""

import asyncio
from pathlib import Path

from tests.e2e.test_kill import expected_of, progress, stored
from tests.support.audit import audit_file
from tests.support.clients import Client, Tally
from tests.support.server import ServerProcess


async def test_a_stop_under_load_answers_all_it_stored_and_a_restart_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    tally, stop = Tally(), asyncio.Event()
    with ServerProcess(data, env={"PLAUDIT_RATE_LIMIT_PER_S": "0"}) as server:
        users = [f"user{n}" for n in range(16)]
        clients = [
            Client(server.url, server.token(user), user, ["post:1", "post:2"], tally) for user in users
        ]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run(stop))
            for _ in range(2):
                await progress(tally, 100)
                assert await asyncio.to_thread(server.stop) == 0
                await asyncio.to_thread(server.start)
            await progress(tally, 100)
            stop.set()
    assert tally.problems == []
    assert tally.refused > 0, "nobody came while it stopped: this proves nothing"
    assert tally.interrupted == 0, "somebody was told nothing"
    assert stored(data) == expected_of(clients)
    audit_file(data / "plaudit.db")


def test_an_idle_server_stops_at_once(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        assert server.stop(within_s=5) == 0
    assert "Traceback" not in server.log
