"""A client of the stream on a socket of its own: bytes in, events out."""

import json
import socket
import time
from types import TracebackType
from typing import Any, Self

from tests.support.server import HOST, ServerProcess

STREAM = "/api/v1/reactions/stream"
WITHIN_S = 30.0


class StreamClient:
    """One request for a stream. `events` grows as it is read."""

    def __init__(
        self,
        server: ServerProcess,
        *ids: str,
        token: str | None = None,
        method: str = "GET",
        query: str | None = None,
        receive_buffer_bytes: int | None = None,
    ) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(WITHIN_S)
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.connect((HOST, server.port))
        head = f"{method} {STREAM}?{query or 'target_ids=' + ','.join(ids)} HTTP/1.1\r\nHost: plaudit\r\n"
        if token is not None:
            head += f"Authorization: Bearer {token}\r\n"
        self.socket.sendall(f"{head}\r\n".encode())
        self.events: list[dict[str, Any]] = []
        self.comments = 0
        self.ended = False
        self.retry_ms: int | None = None
        self._taken = 0
        self._received = b""
        self._text = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers."""
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return int(first.split()[1]), headers

    def problem(self) -> tuple[str, dict[str, str]]:
        """The code of the problem that came instead of a stream, and the headers."""
        _, headers = self.head()
        assert headers["content-type"] == "application/problem+json"
        while len(self._received) < int(headers["content-length"]):
            self._receive()
        return json.loads(self._received)["code"], headers

    def open(self) -> Self:
        """Raise `AssertionError` unless a stream begins here; returns it with its snapshot read."""
        status, headers = self.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream"), headers
        self.next()
        return self

    def next(self) -> dict[str, Any]:
        """The counts of the next event. Raises `TimeoutError` or, at the end, `EOFError`."""
        self._read()
        while len(self.events) == self._taken:
            if self.ended:
                raise EOFError("the stream is over")
            self._receive()
            self._read()
        counts: dict[str, Any] = self.events[self._taken]["counts"]
        self._taken += 1
        return counts

    def glance(self) -> None:
        """Take what has come so far, without waiting."""
        self.socket.setblocking(False)
        try:
            while True:
                self._receive()
        except BlockingIOError:
            self._read()
        finally:
            self.socket.settimeout(WITHIN_S)

    def until(self, target: str, version: int, within_s: float = WITHIN_S) -> None:
        """Read on until the target has this version."""
        deadline = time.monotonic() + within_s
        self._read()
        while not any(e["counts"].get(target, {"version": -1})["version"] >= version for e in self.events):
            assert time.monotonic() < deadline, f"{target} has not reached {version}: {self.events[-3:]}"
            self._receive()
            self._read()

    def until_over(self) -> None:
        """Read on to the regular end of the stream. Raises `ConnectionError` where it just breaks off."""
        deadline = time.monotonic() + WITHIN_S  # heartbeats come for ever
        self._read()
        while not self.ended:
            assert time.monotonic() < deadline, "the stream goes on"
            self._receive()
            self._read()

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("closed in the middle of the stream")
        self._received += data

    def _read(self) -> None:
        """Take chunks (RFC 9112, section 7.1) apart, and events out of what was in them."""
        while b"\r\n" in self._received:
            size, _, rest = self._received.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            self._text += rest[:length]
            self._received = rest[length + 2 :]
            self.ended = length == 0
        while b"\n\n" in self._text:
            event, _, self._text = self._text.partition(b"\n\n")
            self._event(event.decode())

    def _event(self, text: str) -> None:
        if text.startswith("retry: "):
            self.retry_ms = int(text[7:])
        elif text.startswith(":"):
            self.comments += 1
        else:
            name, data = text.split("\n")
            assert name == "event: counts"
            assert data.startswith("data: ")
            self.events.append(json.loads(data[6:]))
