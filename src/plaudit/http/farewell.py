"""How a process that stops takes leave: whoever has asked for something is answered, whoever comes then is refused.

A connection that is closed in the very moment in which its client asks for something tells that client nothing. So once
the process is to stop, every answer says that it is the last one on its connection. When what is queued is done nobody
new is let in, and those who keep a connection have a moment in which to ask, and to hear that. Who is silent for longer
finds it closed when they ask next; a request that meets the closing half-way was not taken in.
"""

import asyncio
import ctypes
import socket
import struct
import sys
from collections.abc import Awaitable
from contextlib import suppress
from time import monotonic

from plaudit.http.app import Asgi
from plaudit.http.bodies import Message, Receive, Scope, Send

QUIET_S = 0.25  # nobody has asked for so long
AT_MOST_S = 3.0  # as long as some still ask: on a busy machine a second was too short for everybody's turn
ACCEPTED_WITHIN_S = 0.5
POLL_S = 0.001
# socket(7); linux/filter.h has the program and its one instruction: keep nothing of a packet.
_SO_ATTACH_FILTER = 26
_DROP = struct.pack("HBBI", 6, 0, 0, 0)
# tcp_info.tcpi_unacked (tcp(7)): of a listening socket, who waits to be accepted.
_WAITING = struct.Struct("24xI")


class Farewell:
    """Stands in front of an application. `listening`: its socket, where that is ours."""

    def __init__(self, app: Asgi, listening: socket.socket | None) -> None:
        self._app = app
        self._door = listening.dup() if listening is not None and sys.platform == "linux" else None
        self._begun = False
        self._asked_s = float("-inf")

    def app(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection event."""
        self._asked_s = monotonic()
        return self._last(scope, receive, send) if self._begun else self._app(scope, receive, send)

    def begin(self) -> None:
        """From now on every answer is the last on its connection."""
        self._begun = True

    async def end(self) -> None:
        """Let nobody in any more, and return when nobody has asked for a while, or has for too long."""
        if self._door is not None:
            with suppress(OSError):  # where the system does not know how, it stays open
                await _shut(self._door)
        ends_s = monotonic() + AT_MOST_S
        while (left_s := min(self._asked_s + QUIET_S, ends_s) - monotonic()) > 0:  # noqa: ASYNC110 - not an event
            await asyncio.sleep(left_s)

    def close(self) -> None:
        """The port is open for as long as anybody holds its socket, also where nobody takes who comes."""
        if self._door is not None:
            self._door.close()

    async def _last(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def last(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, last)


async def _shut(door: socket.socket) -> None:
    """Let a listening socket hear no more, and wait until everybody who was let in is accepted: closing it would cut
    them off. Who comes meanwhile is refused a second later, when they try again and nobody listens."""
    drop = ctypes.create_string_buffer(_DROP, len(_DROP))
    door.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(drop)))
    ends_s = monotonic() + ACCEPTED_WITHIN_S
    while _WAITING.unpack(door.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _WAITING.size))[0]:
        if monotonic() > ends_s:
            return
        await asyncio.sleep(POLL_S)
