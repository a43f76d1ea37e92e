"""Raw sockets for clients that do not behave, and the two questions after each: do others notice, does memory stay?"""

import asyncio
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from tests.support.server import HOST, ServerProcess

ROOT = Path(__file__).parents[2]
WINDOW_S = 1.0
WINDOWS = 3  # the median of them counts: an attack goes on over all of them, noise from elsewhere does not
FLOOR_MS = 5.0
SLOWER = 2.0
STUCK_MS = 1000.0
KEPT_KB = 20 * 1024
KEPT_KB_PER_CONNECTION = 4
CALM_WITHIN_S = 40.0
WITHIN_S = 15.0

GET = b"GET /healthz HTTP/1.1\r\nHost: plaudit\r\n\r\n"
BODY = b'{"target_id":"hostile","reaction_type":"like"}'


class Waits(NamedTuple):
    """p99s in milliseconds: from request to answer, and of the server's processor time in it."""

    waited_ms: float
    worked_ms: float


def tap_head(server: ServerProcess, *lines: bytes) -> bytes:
    """The request line and headers of a good tap up to its framing, which `lines` give."""
    token = server.token("mallory").encode()
    head = [
        *(b"PUT /api/v1/reactions HTTP/1.1", b"Host: plaudit", b"Content-Type: application/json"),
        b"Authorization: Bearer " + token,
        *lines,
    ]
    return b"\r\n".join(head) + b"\r\n\r\n"


def whole_tap(server: ServerProcess) -> bytes:
    """A good tap."""
    return tap_head(server, b"Content-Length: %d" % len(BODY)) + BODY


def connect(server: ServerProcess) -> socket.socket:
    """A connection that nothing was sent over yet."""
    return socket.create_connection((HOST, server.port), timeout=WITHIN_S)


def until_closed(client: socket.socket) -> bytes:
    """All that comes before the server closes; raises `TimeoutError` if it does not."""
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except ConnectionError:  # it closed with bytes of ours unread
        pass
    return b"".join(parts)


def exchange(server: ServerProcess, *parts: bytes) -> bytes:
    """Send all of it, whether or not the server still listens, and return all it said before it closed."""
    with connect(server) as client:
        try:
            for part in parts:
                client.sendall(part)
        except ConnectionError:  # it has heard enough
            pass
        return until_closed(client)


def statuses(answer: bytes) -> list[int]:
    """The status of each answer in what a connection said."""
    return [int(piece[2:5]) for piece in answer.split(b"HTTP/1.")[1:]]


async def drip(server: ServerProcess, head: bytes, rest: bytes, gap_s: float) -> tuple[bytes, float]:
    """Send `head`, then `rest` byte by byte; what came back before the server closed, and after how many seconds."""
    started = time.monotonic()
    reader, writer = await asyncio.open_connection(HOST, server.port)

    async def send() -> None:
        try:
            writer.write(head)
            for place in range(len(rest)):
                await asyncio.sleep(gap_s)
                writer.write(rest[place : place + 1])
                await writer.drain()
        except ConnectionError:  # closed meanwhile, which is the point
            pass

    sending = asyncio.create_task(send())
    answer = b""
    try:
        answer = await reader.read()
    except ConnectionError:  # it closed with bytes of ours unread
        pass
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.transport.abort()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    return answer, time.monotonic() - started


def resident_kb(server: ServerProcess) -> int:
    """Resident memory of the server."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def gentle(server: ServerProcess) -> Waits:
    """What a client that behaves sees, measured for a moment from another process."""
    command = [
        *(sys.executable, "-m", "tests.fuzz.gentle"),
        *(str(server.port), str(server.pid), server.token("gentle"), str(WINDOW_S)),
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    waited, worked = run.stdout.split()
    return Waits(float(waited), float(worked))


@asynccontextmanager
async def others_unharmed(
    server: ServerProcess, connections: int, slower: float = SLOWER
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Around an attack: yields what to call while it is under way, which raises unless others wait for less than
    `slower` x as much work of the server as before, or x `FLOOR_MS` where it was less. After the block, memory comes
    back down.

    Work is judged, and not time, for time is also that of attackers and tests on the same cores: ten times as long
    in one run as in the next. Time has a bound for what waits without working.
    """
    before_kb = resident_kb(server)
    before = await _windows(server)
    seen: list[Waits] = []

    async def measured() -> None:
        seen.extend(await _windows(server))
        worked_ms = statistics.median(window.worked_ms for window in seen)
        allowed_ms = slower * max(FLOOR_MS, statistics.median(window.worked_ms for window in before))
        figures = f"before {before}, during the attack {seen}"
        print(f"{figures}; {before_kb} KB before, {resident_kb(server)} KB during")  # noqa: T201 - seen with -s
        assert worked_ms < allowed_ms, figures
        assert statistics.median(window.waited_ms for window in seen) < STUCK_MS, figures

    yield measured
    assert seen, "nobody measured"
    await asyncio.to_thread(_calm, server, before_kb + KEPT_KB + KEPT_KB_PER_CONNECTION * connections)


async def _windows(server: ServerProcess) -> list[Waits]:
    return [await asyncio.to_thread(gentle, server) for _ in range(WINDOWS)]


@asynccontextmanager
async def repeating(clients: int, once: Callable[[], Coroutine[None, None, None]]) -> AsyncIterator[None]:
    """So many clients that each do `once` again and again while the block runs, and end what they began."""

    over = asyncio.Event()

    async def repeat() -> None:
        while not over.is_set():
            await once()

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(repeat())
        yield
        over.set()


def _calm(server: ServerProcess, allowed_kb: int) -> None:
    """Wait until memory is down again. Sends a little: the allocator gives pages back when it is asked for some."""
    deadline = time.monotonic() + CALM_WITHIN_S
    connection = HTTPConnection(HOST, server.port, timeout=WITHIN_S)
    while (now_kb := resident_kb(server)) > allowed_kb:
        assert time.monotonic() < deadline, f"{now_kb} KB resident, {allowed_kb} KB allowed"
        for _ in range(50):
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            time.sleep(0.001)
    connection.close()
