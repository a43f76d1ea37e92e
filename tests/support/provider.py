"""A provider of pushes that checks what it is asked and notes every fault, over TLS and HTTP/2. Which ones there are is
in `tests.support.providers`."""

import asyncio
import socket
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import hypercorn.asyncio
import trustme
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config
from hypercorn.protocol.h2 import H2Protocol

from plaudit.ports.clock import Clock

HERE = "127.0.0.1"
OUTSIDE = "127.0.0.2"  # which tests may say is no private address


class Answer(NamedTuple):
    """What a provider says instead of yes. `hang` says nothing for as long as the server lives."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    hang: bool = False
    repeat_body: int = 1


class Asked(NamedTuple):
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    http: str
    connection: int  # over which it came: ports are used again


class Certificates:
    """An authority of the test, and what trusts it."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.file = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.file))
        self._folder = folder

    @property
    def pem(self) -> bytes:
        """What a client that trusts it is given."""
        return self.authority.cert_pem.bytes()

    def server(self) -> tuple[str, str]:
        """Certificate and key files for where providers are."""
        made = self.authority.issue_cert("localhost", HERE, OUTSIDE)
        chain, key = self._folder / "chain.pem", self._folder / "key.pem"
        made.private_key_pem.write_to_path(str(key))
        chain.write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
        return str(chain), str(key)


class Provider:
    """A server that answers POSTs. Subclasses check them in `check`, which returns the answer for a good one."""

    http = "2"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.url = ""
        self.asked: list[Asked] = []
        self.answers: list[Answer] = []
        self.always: Answer | None = None
        self.to: dict[str, Answer] = {}  # of these devices or targets, before all others
        self.problems: list[str] = []
        self.seen: dict[
            str, str
        ] = {}  # what is shown, by entry: device and collapse id, or the id for a receiver
        self.times = Counter[str]()  # how often each of these came
        self.changed = asyncio.Event()
        self.ending = (
            asyncio.Event()
        )  # hypercorn can end no answer that is cancelled: this ends those that hang
        self.connections: set[int] = set()  # over which something was asked

    def want(self, true: object, what: str) -> None:
        """Note a fault unless this is so."""
        if not true:
            self.problems.append(what)

    def check(self, asked: Asked) -> Answer:
        """Look at one request."""
        raise NotImplementedError

    def show(self, entry: str, text: str) -> None:
        """Take a push."""
        self.seen[entry] = text
        self.times[entry] += 1

    @property
    def again(self) -> int:
        """How many pushes came once more."""
        return self.times.total() - len(self.times)

    def entries(self) -> dict[str, set[str]]:
        """The collapse ids of what each device shows."""
        found: dict[str, set[str]] = {}
        for entry in self.seen:
            device, _, id_ = entry.rpartition(" ")
            found.setdefault(device, set()).add(id_)
        return found

    def count(self, path: str = "") -> int:
        """How many requests there were for a path that starts so."""
        return sum(asked.path.startswith(path) for asked in self.asked)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return  # who was killed meanwhile says nothing more
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        connection = _opened[scope["server"][1], scope["client"][1]]
        self.connections.add(connection)
        asked = Asked(scope["path"], headers, body, scope["http_version"], connection)
        self.want(scope["method"] == "POST", f"{scope['method']} {asked.path}")
        self.want(asked.http == self.http, f"HTTP/{asked.http} {asked.path}")
        try:
            answer = self.check(asked)
        except Exception as error:
            self.problems.append(f"{asked.path}: {type(error).__name__}: {error}")
            answer = Answer(500)
        self.asked.append(asked)
        self.changed.set()
        await self._say(send, answer)

    async def _say(self, send: Any, answer: Answer) -> None:
        if answer.hang:
            await self.ending.wait()
        headers = [(name.encode(), value.encode()) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        for _ in range(answer.repeat_body - 1):
            await send({"type": "http.response.body", "body": answer.body, "more_body": True})
        await send({"type": "http.response.body", "body": answer.body})

    def scripted(self, whose: str = "") -> Answer | None:
        """What the test wants said now, of this device or target."""
        if whose in self.to:
            return self.to[whose]
        return self.answers.pop(0) if self.answers else self.always

    async def until(self, true: Callable[[], bool], what: str, within_s: float = 60) -> None:
        """Wait until something is so, looking again after each request."""
        try:
            async with asyncio.timeout(within_s):
                while not true():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"{what}: not within {within_s} s; {self.problems}") from None


def url_of(host: str, port: int) -> str:
    """Where a provider is."""
    return f"https://{'localhost' if host == HERE else host}:{port}"


_numbers = count(1)
_opened: dict[tuple[int, int], int] = {}  # the connections of now and before, by the ports of both ends


async def _run(self: TCPServer) -> None:
    """Serve a connection of hypercorn, under a number of its own."""
    here, there = (self.writer.get_extra_info(name) for name in ("sockname", "peername"))
    if here and there:
        _opened[here[1], there[1]] = next(_numbers)
    await _runs(self)


async def _close(self: TCPServer) -> None:
    """Close a connection of hypercorn, which forgets that the other side may say more after its farewell."""
    try:
        await _closes(self)
    except ssl.SSLError:
        pass


async def _handle_events(self: H2Protocol, events: list[Any]) -> None:
    """Take what comes over a connection of HTTP/2. Hypercorn ends it where more comes of a request that was given up or
    is answered already: such a request needs nothing more."""
    for event in events:
        with suppress(KeyError):
            await _handles(self, [event])


_runs, _closes, _handles = TCPServer.run, TCPServer._close, H2Protocol._handle_events
TCPServer.run = _run  # type: ignore[method-assign] # as said above
TCPServer._close = _close  # type: ignore[method-assign] # as said above
H2Protocol._handle_events = _handle_events  # type: ignore[method-assign] # as said above


@asynccontextmanager
async def served(
    provider: Provider, certificates: Certificates, port: int = 0, host: str = HERE
) -> AsyncIterator[None]:
    """The provider on a port of this machine, with TLS."""
    listening = socket.create_server((host, port))
    config = Config()
    bound = int(listening.getsockname()[1])
    config.bind = [f"fd://{listening.detach()}"]  # hypercorn closes it
    config.certfile, config.keyfile = certificates.server()
    config.alpn_protocols = ["h2"] if provider.http == "2" else ["http/1.1"]
    config.graceful_timeout = config.shutdown_timeout = 0.2
    config.errorlog = None
    config.h2_max_concurrent_streams = 1000
    # Else hypercorn ends a connection after so many requests, with all that is under way. No provider does that.
    config.keep_alive_max_requests = sys.maxsize
    provider.url = url_of(host, bound)
    provider.ending.clear()
    stop = asyncio.Event()
    task = asyncio.create_task(hypercorn.asyncio.serve(provider, config, shutdown_trigger=stop.wait))
    try:
        yield
    finally:
        provider.ending.set()
        stop.set()
        await asyncio.wait({task}, timeout=5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
