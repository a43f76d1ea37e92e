"""An open loop: taps are sent when they are due, whether or not earlier ones were answered.

Latency counts from the moment a tap was due, so a server that stalls cannot hide it (a closed loop would stop asking).
Plain HTTP/1.1 over a fixed number of connections, each with one request at a time.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, cast

import uvloop

SHORTEST_S = 0.001


class OpenLoop(NamedTuple):
    """What an open loop saw. Rates per second, latencies in milliseconds."""

    offered: float
    answered: float
    p50_ms: float
    p99_ms: float
    errors: int


class Answered(NamedTuple):
    """One answer. `due_s`: when its request was due, by `time.perf_counter`: all processes have the same one."""

    due_s: float
    latency_s: float
    status: int


class Offered(NamedTuple):
    """Every answer, and how many requests got none."""

    answers: list[Answered]
    unanswered: int


class _Connection(asyncio.Protocol):
    """One connection: writes a request, waits for the end of its answer."""

    def __init__(self, free: Callable[["_Connection"], None]) -> None:
        self._free = free
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""
        self._due = 0.0
        self.answers: list[Answered] = []
        self.errors = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's are no subclass of it

    def send(self, due: float, request: bytes) -> None:
        """Send one request that was due at `due` (perf_counter seconds)."""
        assert self._transport is not None
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            status = int(head[9:12])
            self.answers.append(Answered(self._due, time.perf_counter() - self._due, status))
            self.errors += status != 200
            self._received = b""
            self._free(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.errors += 1


async def _run(
    port: int, rate: float, seconds: float, connections: int, requests: list[bytes]
) -> tuple[list[Answered], int]:
    """Every answer, and how many requests failed or were refused."""
    loop = asyncio.get_running_loop()
    idle: deque[_Connection] = deque()
    waiting: deque[tuple[float, bytes]] = deque()

    def free(connection: _Connection) -> None:
        if waiting:
            connection.send(*waiting.popleft())
        else:
            idle.append(connection)

    made = [
        (await loop.create_connection(lambda: _Connection(free), "127.0.0.1", port))
        for _ in range(connections)
    ]
    idle.extend(protocol for _, protocol in made)
    started = time.perf_counter()
    sent = 0
    while (now := time.perf_counter()) < started + seconds:
        while sent < (now - started) * rate:
            due = started + sent / rate
            request = requests[sent % len(requests)]
            if idle:
                idle.popleft().send(due, request)
            else:
                waiting.append((due, request))
            sent += 1
        # Until the next one is due, and no shorter than timers are: to look all the time would take a tenth of a core.
        await asyncio.sleep(max(SHORTEST_S, started + sent / rate - time.perf_counter()))
    deadline = time.perf_counter() + 10
    while (waiting or len(idle) < connections) and time.perf_counter() < deadline:  # noqa: ASYNC110 - bounded wait
        await asyncio.sleep(0.01)
    answers = [answer for _, protocol in made for answer in protocol.answers]
    errors = sum(protocol.errors for _, protocol in made) + sent - len(answers)
    for transport, _ in made:
        transport.abort()
    return answers, errors


def tap_requests(count: int, targets: int, token: str) -> list[bytes]:
    """Taps of new users on targets at random, each with a key of its own."""
    chance = random.Random(0)
    found = []
    for key in range(count):
        body = b'{"target_id":"p%09d","reaction_type":"love"}' % chance.randrange(targets)
        found.append(
            b"PUT /api/v1/reactions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nAuthorization: Bearer %b\r\nPlaudit-User: u%09d\r\n"
            b"Idempotency-Key: o%015d\r\n\r\n%b"
            % (len(body), token.encode(), chance.randrange(10**9), key, body)
        )
    return found


def open_loop(port: int, rate: float, seconds: float, connections: int, requests: list[bytes]) -> OpenLoop:
    """Offer `rate` requests a second for some seconds; `requests` are used in turn."""
    answers, errors = uvloop.run(_run(port, rate, seconds, connections, requests))
    latencies = sorted(answer.latency_s for answer in answers)
    p50, p99 = (latencies[int(len(latencies) * share)] * 1e3 for share in (0.5, 0.99))
    return OpenLoop(rate, len(answers) / seconds, p50, p99, errors)


def offer(port: int, rate: float, seconds: float, connections: int, requests: list[bytes]) -> Offered:
    """As `open_loop`, with every answer."""
    return Offered(*uvloop.run(_run(port, rate, seconds, connections, requests)))
