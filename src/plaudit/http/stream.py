"""`GET /api/v1/reactions/stream`: changed counts as Server-Sent Events (WHATWG HTML, section 9.2), as plain ASGI.

First `retry: 3000`, then `event: counts` with the shape of the counts call: a snapshot of all targets asked for, and
then those that have changed; a comment line whenever there was nothing to say for 15 s. What is sent, and when, is
decided in `services/stream.py`.
"""

import asyncio
from time import perf_counter
from typing import NamedTuple

from plaudit.domain.principal import Principal
from plaudit.http.bodies import Receive, Scope, Send, header, parameters, split_ids
from plaudit.http.gate import Gate
from plaudit.http.hot import answer_problem
from plaudit.http.problems import Headers, failure_of
from plaudit.ports.clock import Clock
from plaudit.services.near import NearCache, Shown
from plaudit.services.read import Read
from plaudit.services.stream import Listener, Streams
from plaudit.telemetry import Metrics

STREAM = "/api/v1/reactions/stream"
HEADERS: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back until it has a page of them
]
LONGEST_S = 86_400.0  # a stream for longer than a timer can be set is asked anew once a day


class Holders(NamedTuple):
    """How many streams one user (where the token was needed) and one address may have open; 0 is no limit."""

    per_user: int
    per_address: int


class StreamCall:
    """`GET /api/v1/reactions/stream`."""

    def __init__(
        self,
        gate: Gate,
        near: NearCache,
        read: Read,
        streams: Streams,
        clock: Clock,
        metrics: Metrics,
        holders: Holders,
    ) -> None:
        self._gate = gate
        self._near = near
        self._read = read
        self._streams = streams
        self._clock = clock
        self._metrics = metrics
        self._holders = holders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the client hangs up, its token ends, or the process stops."""
        started = perf_counter()
        try:
            listener, who = await self._open(scope)
        except Exception as error:
            failure = failure_of(error, scope)
            await answer_problem(send, failure)
            self._metrics.answered("stream", failure.status, perf_counter() - started)
            return
        self._metrics.answered("stream", 200, perf_counter() - started)
        lasts_s = LONGEST_S if who is None else min(who.expires_at - self._clock.now_us() / 1e6, LONGEST_S)
        end = asyncio.get_running_loop().call_later(lasts_s, listener.close)
        waiting = asyncio.create_task(_hang_up(receive, listener))
        try:
            if scope["method"] == "HEAD":
                listener.close()
            await _tell(listener, send)
        except OSError:
            pass  # some servers say so when the client has hung up
        finally:
            waiting.cancel()
            end.cancel()
            listener.close()

    async def _open(self, scope: Scope) -> tuple[Listener, Principal | None]:
        wanted = split_ids(parameters(scope["query_string"], ("target_ids",)).get("target_ids"))
        self._streams.admit()
        authorization = header(scope, b"authorization")
        who = await self._gate.maybe(authorization)  # first, as for counts
        found: dict[str, Shown] = await self._near.load(wanted)
        if all(shown.public for shown in found.values()):
            client = scope.get("client")
            holder = f"address {client[0]}" if client and self._holders.per_address else None
            return self._streams.open(found, holder, self._holders.per_address), None
        found = await self._read.targets(who, wanted)
        # The host app may open as many as it likes: it passes them on to many users.
        holder = f"user {who.user}" if who is not None and who.user is not None else None
        return self._streams.open(found, holder, self._holders.per_user), who


async def _tell(listener: Listener, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    while (chunk := await listener.next()) is not None:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _hang_up(receive: Receive, listener: Listener) -> None:
    """Close when the client is gone; whatever else it sends is no part of this call."""
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.close()
