"""Serving: granian in our own event loop, so that one process is all there is to start, stop or kill."""

import asyncio
import logging
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server as GranianServer

from plaudit.http.app import Asgi
from plaudit.http.farewell import Farewell

log = logging.getLogger("plaudit.http")

BACKLOG = 1024
# As much as nginx passes on with its defaults (4 buffers of 8 KiB). What a slow client can make us hold.
MAX_HEAD_BYTES = 32 * 1024
# Everything taken in is answered by then; what is left has not said yet what it wants, and may not for a long time.
LEAVE_AFTER_S = 5.0
DRAIN_WITHIN_S = 15.0  # more than any tap may wait
OTHER_FILES = 256  # what a process opens besides connections: database, readers, log, key fetcher


class Limits(NamedTuple):
    """How much clients may hold open.

    `connections`: more than these wait to be accepted. `idle_s`: a connection without a request, or one whose request
    line and headers are still not here, is closed after so long; longer than proxies keep one, so that it is them who
    close it and never we under their next request. `stalled_s`: one whose client has taken nothing for so long.
    """

    connections: int = 16_384
    idle_s: float = 75.0
    stalled_s: float = 60.0


LIMITS = Limits()


class Server(GranianServer):
    """granian's embeddable server, with its signals left to us, and on Linux its listening socket ours."""

    listening: socket.socket | None = None

    def _init_shared_socket(self) -> None:
        """Take our socket, which has options that granian cannot be told; it begins to listen by itself."""
        if self.listening is None:
            super()._init_shared_socket()  # type: ignore[no-untyped-call] # granian does not annotate it
        else:
            self._ssp = None
            self._shd = SocketHolder(self.listening.detach(), False, BACKLOG)  # type: ignore[call-arg, assignment] # granian's stub is of another system

    def halt(self) -> None:
        """Stop taking connections and end `serve()` once those under way are answered."""
        self.stop()  # type: ignore[no-untyped-call] # granian does not annotate it


class CannotListen(OSError):
    """The address has no such name, is not of this machine, or is in use."""


@contextmanager
def _address() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotListen(*error.args) from error


@_address()
def free_port(host: str) -> int:
    """A port that nobody listens on right now. Raises `CannotListen`."""
    family, address = _resolve(host)
    with socket.socket(family) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _resolve(host: str) -> tuple[socket.AddressFamily, str]:
    """The address of a host's name, which is all granian takes. Raises `OSError` if it has none."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except UnicodeError as error:
        raise OSError(f"{host!r} is not the name of a host") from error
    return family, str(address[0])


@_address()
def _bind(host: str, port: int, stalled_s: float) -> tuple[str, socket.socket | None]:
    """The address, and the bound socket where granian takes one. Raises `CannotListen`.

    Connections inherit its options. TCP_USER_TIMEOUT closes one whose client has vanished without a word, or answers
    but takes nothing (tcp(7)); without it the first would be kept for a quarter of an hour, and the second for ever.
    """
    family, address = _resolve(host)
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))  # granian would panic instead of saying that it cannot
    except OSError:
        bound.close()
        raise
    if sys.platform != "linux":
        bound.close()
        return address, None
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stalled_s * 1000))
    return address, bound


def connections_possible(wanted: int) -> int:
    """`wanted`, or as many connections as the limit of open files leaves room for (granian raises it when imported).

    Beyond it `accept` fails at once and for ever, and granian would spend a whole core on trying again.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY or files >= wanted + OTHER_FILES:
        return wanted
    return max(1, files - OTHER_FILES)


async def _drained(drain: Callable[[], Awaitable[None]], farewell: Farewell) -> None:
    await drain()
    await farewell.end()


async def serve(
    app: Asgi, host: str, port: int, drain: Callable[[], Awaitable[None]], limits: Limits = LIMITS
) -> None:
    """Serve until SIGTERM or SIGINT, then wait for `drain` and close the port. A second signal does not wait.

    Closing waits a few seconds for requests that are only half here, and then leaves them.

    Raises `CannotListen`.
    """
    address, listening = _bind(host, port, limits.stalled_s)
    connections = connections_possible(limits.connections)
    if connections < limits.connections:
        log.warning("room for %s connections, because of the limit of open files (ulimit -n)", connections)
    farewell = Farewell(app, listening)
    server = Server(
        farewell.app,
        address=address,
        port=port,
        interface=Interfaces.ASGINL,
        # Not `auto`: while it waits to see which HTTP a client speaks, it waits for ever (hyper issue 3962).
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=int(limits.idle_s * 1000), max_buffer_size=MAX_HEAD_BYTES
        ),
        websockets=False,
        backlog=BACKLOG,
        # granian's word for open connections, idle ones too; by default it is the backlog, and whoever opened that
        # many would lock out everybody else.
        backpressure=connections,
        log_enabled=False,
    )
    server.listening = listening
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(server.serve())
    await asyncio.sleep(0)  # granian installs its own signal handlers when it starts; ours come after
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: hurry.set() if stop.is_set() else stop.set())
    log.info("listening on http://%s:%s", f"[{host}]" if ":" in host else host, port)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        log.info("stopping: committing and answering what is queued")
        farewell.begin()
        draining = asyncio.create_task(_drained(drain, farewell))
        hurrying = asyncio.create_task(hurry.wait())
        await asyncio.wait({draining, hurrying}, timeout=DRAIN_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, hurrying):
            task.cancel()
        server.halt()
        farewell.close()
        await asyncio.wait({serving}, timeout=LEAVE_AFTER_S)
    if not serving.done():
        log.info("leaving connections that are still in the middle of a request")
        serving.cancel()
    await asyncio.wait({serving})
    stopping.cancel()
    if not serving.cancelled():
        serving.result()
