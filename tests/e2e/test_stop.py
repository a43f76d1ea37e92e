"""SIGTERM under load: what is queued is committed and answered, what comes then is refused, and the port closes."""

import asyncio
import time
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
            stops = 0
            while stops < 2 or (tally.refused == 0 and stops < 10):  # until somebody came while it stopped
                await progress(tally, 100)
                assert await asyncio.to_thread(server.stop) == 0
                await asyncio.to_thread(server.start)
                stops += 1
            await progress(tally, 100)
            stop.set()
    assert tally.problems == []
    assert tally.refused > 0, "nobody came while it stopped: this proves nothing"
    assert tally.interrupted == 0, "somebody was told nothing"
    assert stored(data) == expected_of(clients)
    audit_file(data / "plaudit.db")


def test_an_idle_server_stops_at_once(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        took_s = list[float]()
        while not took_s or (min(took_s) > 5 and len(took_s) < 3):  # a machine may stall, but not each time
            if not server.running:
                server.start()
            began_s = time.monotonic()
            assert server.stop(within_s=30) == 0
            took_s.append(time.monotonic() - began_s)
        assert min(took_s) < 5, "there is nothing to wait for"
    assert "leaving connections" not in server.log
    assert "Traceback" not in server.log
