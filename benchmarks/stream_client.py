"""Thousands of listeners of one target and those who tap it, in one process, so that one clock times both.

A change counts as made when the first tap of its commit is answered, and as seen by a listener with the first event
whose version is as high. Of each event the oldest change it tells is timed, which is the worst one. Prints a line when
everybody listens, and then, after the seconds asked for, what was seen as JSON.
"""

import argparse
import asyncio
import json
import time
from array import array
from typing import cast

import uvloop

TARGET = "viral"
CONNECTING_AT_ONCE = 200
TAPPERS = 32


class Changes:
    """When each version of the target was there, and how long it took to be seen."""

    def __init__(self) -> None:
        self.made_at: dict[int, float] = {}
        self.seen_after = array("d")
        self.snapshots = 0
        self.closed = 0

    def seen(self, known: int, version: int) -> None:
        """A listener that knew `known` was told `version`."""
        made_at = self.made_at.get(known + 1)
        if made_at is not None and version > known:
            self.seen_after.append(time.perf_counter() - made_at)


class Ear(asyncio.Protocol):
    """One listener."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._known = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        request = f"GET /api/v1/reactions/stream?target_ids={TARGET} HTTP/1.1\r\nHost: bench\r\n\r\n"
        cast(asyncio.WriteTransport, transport).write(request.encode())

    def data_received(self, data: bytes) -> None:
        at = data.rfind(b'"version":')
        if at < 0:
            return
        version = int(data[at + 10 : data.index(b",", at)])
        if self._known < 0:
            self._changes.snapshots += 1
        else:
            self._changes.seen(self._known, version)
        self._known = version

    def connection_lost(self, error: Exception | None) -> None:
        self._changes.closed += 1


class Tapper(asyncio.Protocol):
    """One connection that taps, one tap at a time."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self.transport: asyncio.WriteTransport | None = None
        self.free = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)  # uvloop's are no subclass of it

    def tap(self, request: bytes) -> None:
        """Send one tap."""
        assert self.transport is not None
        self.free = False
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        at = data.rfind(b'"version":')
        if at >= 0:
            version = int(data[at + 10 : data.index(b",", at)])
            self._changes.made_at.setdefault(version, time.perf_counter())
            self.free = True


def _tap(number: int, token: str) -> bytes:
    body = b'{"target_id":"%b","reaction_type":"%b"}' % (TARGET.encode(), (b"like", b"love")[number % 2])
    return (
        b"PUT /api/v1/reactions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\nAuthorization: Bearer %b\r\nPlaudit-User: u%d\r\n\r\n%b"
        % (len(body), token.encode(), number, body)
    )


async def run(options: argparse.Namespace) -> None:
    """Listen, tap, and say what was seen."""
    loop = asyncio.get_running_loop()
    changes = Changes()
    free = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def listen() -> asyncio.BaseTransport:
        async with free:
            transport, _ = await loop.create_connection(lambda: Ear(changes), "127.0.0.1", options.port)
        return transport

    kept = await asyncio.gather(*(listen() for _ in range(options.listeners)))
    while changes.snapshots < options.listeners:  # noqa: ASYNC110 - bounded by whoever waits for this process
        await asyncio.sleep(0.01)
    print("listening", flush=True)
    tappers = [
        (await loop.create_connection(lambda: Tapper(changes), "127.0.0.1", options.port))[1]
        for _ in range(TAPPERS)
    ]
    await loop.run_in_executor(None, input)  # whoever started us has looked at the server's memory
    started = time.perf_counter()
    sent = missed = 0
    while (now := time.perf_counter()) < started + options.seconds:
        while sent < (now - started) * options.taps_per_s:
            tapper = next((tapper for tapper in tappers if tapper.free), None)
            missed += tapper is None
            if tapper is not None:
                tapper.tap(_tap(options.seed + sent, options.token))
            sent += 1
        await asyncio.sleep(0.001)
    await asyncio.sleep(2)
    seen = sorted(changes.seen_after) or [0.0]
    p50, p99, worst = (seen[int((len(seen) - 1) * share)] * 1e3 for share in (0.5, 0.99, 1))
    found = {
        "events": len(seen),
        "p50_ms": p50,
        "p99_ms": p99,
        "worst_ms": worst,
        "taps": sent - missed,
        "taps_missed": missed,
        "closed": changes.closed,
    }
    print(json.dumps(found), flush=True)
    for transport in kept:
        cast(asyncio.Transport, transport).abort()


def main() -> None:
    """Run on uvloop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--listeners", type=int, required=True)
    parser.add_argument("--taps-per-s", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
