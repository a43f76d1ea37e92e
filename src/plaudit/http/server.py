"""Serving: granian in our own event loop, so that one process is all there is to start, stop or kill."""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server as GranianServer

from plaudit.http.app import Asgi

log = logging.getLogger("plaudit.http")

BACKLOG = 1024


class Server(GranianServer):
    """granian's embeddable server, with its signals left to us."""

    def halt(self) -> None:
        """Stop taking connections and end `serve()` once those under way are answered."""
        self.stop()  # type: ignore[no-untyped-call] # granian does not annotate it


def free_port(host: str) -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


async def serve(app: Asgi, host: str, port: int, drain: Callable[[], Awaitable[None]]) -> None:
    """Serve until SIGTERM or SIGINT, then wait for `drain` and close the port. A second signal does not wait.

    Raises `OSError` if the port is taken.
    """
    with socket.socket() as probe:  # granian would panic instead of saying so
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.auto,
        websockets=False,
        backlog=BACKLOG,
        log_enabled=False,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(server.serve())
    await asyncio.sleep(0)  # granian installs its own signal handlers when it starts; ours come after
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: server.halt() if stop.is_set() else stop.set())
    log.info("listening on http://%s:%s", host, port)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        log.info("stopping: committing and answering what is queued")
        await drain()
        server.halt()
    await serving
    stopping.cancel()
