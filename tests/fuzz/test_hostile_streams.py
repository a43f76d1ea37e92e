"""Thousands of listeners, and listeners that do not read: all are told, others do not notice, memory has an end."""

import asyncio
import resource
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.fuzz.hostile import others_unharmed, resident_kb
from tests.integration.http.test_stream import until_listeners
from tests.support.server import ServerProcess
from tests.support.streams import StreamClient

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to see the server's memory"),
    pytest.mark.timeout(400),
]

CROWD = 2_000
KB_EACH = 60
STALLED_S = 2.0
DEAF = 100
KB_EACH_DEAF = 200  # a snapshot of 100 long names is 25 KB, and one or two are on their way
WITHIN_S = 90.0
SLOWER = 4.0  # a tap that a crowd listens to is told to each of them, and that is work


async def tapping(server: ServerProcess, targets: list[str], stop: asyncio.Event) -> dict[str, int]:
    """Tap these targets in turn until told to stop; the last version of each."""
    last: dict[str, int] = {}
    headers = {"Authorization": f"Bearer {server.token(None, service=True)}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=WITHIN_S) as http:
        number = 0
        while not stop.is_set():
            target, user = targets[number % len(targets)], f"u{number}"
            body = {"target_id": target, "reaction_type": "like"}
            answer = await http.put("/api/v1/reactions", json=body, headers={"Plaudit-User": user})
            last[target] = answer.raise_for_status().json()["counts"]["version"]
            number += 1
            await asyncio.sleep(0.01)  # the attack is the crowd
    return last


async def test_a_crowd_on_one_target(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, CROWD + 500), hard), hard))
    env = {"PLAUDIT_RATE_LIMIT_PER_S": "0", "PLAUDIT_MAX_STREAMS": str(CROWD)}
    with ServerProcess(tmp_path / "data", env=env) as server:
        async with others_unharmed(server, CROWD, SLOWER) as measured:
            before_kb = resident_kb(server)
            crowd = await asyncio.to_thread(
                lambda: [StreamClient(server, "viral").open() for _ in range(CROWD)]
            )
            stop = asyncio.Event()
            taps = asyncio.create_task(tapping(server, ["viral"], stop))
            reading = asyncio.create_task(asyncio.to_thread(_read, crowd, stop))
            await measured()
            stop.set()
            last = (await taps)["viral"]
            await reading
            started = time.monotonic()
            await asyncio.to_thread(_until, crowd, "viral", last)
            print(f"the last state reached all within {time.monotonic() - started:.2f} s")  # noqa: T201 - seen with -s
            assert resident_kb(server) - before_kb < KB_EACH * CROWD
            for client in crowd:
                client.socket.close()
            await asyncio.to_thread(until_listeners, server, 0, WITHIN_S)
        assert server.stop(within_s=30) == 0
    assert "Traceback" not in server.log


def _until(crowd: list[StreamClient], target: str, version: int) -> None:
    for client in crowd:
        client.socket.settimeout(WITHIN_S)
        client.until(target, version, WITHIN_S)


def _read(crowd: list[StreamClient], stop: asyncio.Event) -> None:
    """Read what has come so far, of everybody in turn, so that nobody is slow."""
    while not stop.is_set():
        for client in crowd:
            client.glance()
        time.sleep(0.1)  # leaves the machine to the others


async def test_listeners_that_never_read(tmp_path: Path) -> None:
    """Their connections are closed, and until then nothing piles up for them."""
    ids = [f"{'long-name-' * 12}{n}" for n in range(100)]
    env = {"PLAUDIT_RATE_LIMIT_PER_S": "0", "PLAUDIT_STALLED_CONNECTION_S": str(STALLED_S)}
    with ServerProcess(tmp_path / "data", env=env) as server, StreamClient(server, ids[0]).open() as other:
        before_kb = resident_kb(server)
        deaf = [StreamClient(server, *ids, receive_buffer_bytes=2304) for _ in range(DEAF)]
        await asyncio.to_thread(until_listeners, server, DEAF + 1, WITHIN_S)
        stop = asyncio.Event()
        taps = asyncio.create_task(tapping(server, ids, stop))
        reading = asyncio.create_task(asyncio.to_thread(_read, [other], stop))
        await asyncio.to_thread(until_listeners, server, 1, WITHIN_S)
        assert resident_kb(server) - before_kb < KB_EACH_DEAF * DEAF
        stop.set()
        last = await taps
        await reading
        await asyncio.to_thread(_until, [other], ids[0], last[ids[0]])
        for client in deaf:
            client.socket.close()
    assert "Traceback" not in server.log
