"""HTTP to providers and receivers: bounded in time and size, no redirects, and no way into a private network.

A name is resolved once and the connection goes to the address that was looked at, so a name that answers differently a
moment later gains nothing (DNS rebinding). TLS still checks the certificate of the name.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

import httpcore
import msgspec

from plaudit.ports.clock import Clock
from plaudit.ports.push import Verdict

WITHIN_S = 10.0
CONNECT_WITHIN_S = 5.0
MAX_ANSWER_BYTES = 64 * 1024
MAX_RETRY_AFTER_S = 3600.0
IDLE_S = 60.0
_TIMEOUTS = {"connect": CONNECT_WITHIN_S, "read": WITHIN_S, "write": WITHIN_S, "pool": WITHIN_S}
_COMMON = {"accept-encoding": "identity", "user-agent": "plaudit"}
_FAILURES = (
    httpcore.ConnectionNotAvailable,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefused(Exception):
    """The name leads into a private network, and the settings do not allow that."""


class Reply(msgspec.Struct, frozen=True):
    """An answer, its body cut at 64 KiB. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class PushClient:
    """One pool of connections, of the transport that httpx stands on: httpx around it would take a third more of the
    time, and hand no network backend through. Use as an async context manager.

    `private` allows addresses that are not public. `context` is what TLS trusts.
    """

    def __init__(
        self, context: ssl.SSLContext, clock: Clock, *, private: bool, connections: int = 100
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=IDLE_S,
            http1=True,
            http2=True,
            network_backend=_Guarded(private=private),
        )
        self._clock = clock

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.aclose()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._pool.connections)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply | Verdict:
        """The answer to one POST, or the verdict on whoever gave none."""
        try:
            sent = [(name.encode(), value.encode()) for name, value in {**_COMMON, **headers}.items()]
            async with (
                asyncio.timeout(WITHIN_S),
                self._pool.stream(
                    "POST", url, headers=sent, content=body, extensions={"timeout": _TIMEOUTS}
                ) as response,
            ):
                found = bytearray()
                async for part in response.aiter_stream():
                    found += part
                    if len(found) > MAX_ANSWER_BYTES:
                        break
                lines = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in response.headers
                }
                return Reply(response.status, lines, bytes(found[:MAX_ANSWER_BYTES]))
        except AddressRefused as error:
            return Verdict(reason="refused", detail=str(error))
        except TimeoutError:
            return Verdict(reason="unreachable", detail=f"no whole answer within {WITHIN_S:.0f} s")
        except (*_FAILURES, OSError, ValueError, TypeError) as error:  # the last for an address that is none
            return Verdict(reason="unreachable", detail=f"{type(error).__name__}: {error}"[:200])

    def slow_down(self, reply: Reply, detail: str) -> Verdict:
        """The verdict on a provider that asks for patience."""
        return Verdict(reason="slow_down", detail=detail, retry_after_s=self._retry_after(reply))

    def _retry_after(self, reply: Reply) -> float | None:
        """Seconds or a date (RFC 9110, 10.2.3)."""
        text = reply.headers.get("retry-after")
        if text is None:
            return None
        if text.isascii() and text.isdigit() and len(text) < 10:
            return min(float(text), MAX_RETRY_AFTER_S)
        try:
            seconds = parsedate_to_datetime(text).timestamp() - self._clock.now_us() / 1_000_000
        except (ValueError, OverflowError):
            return None
        return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were looked at, and to no others."""

    def __init__(self, *, private: bool) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._private = private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to a public address of this host."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} has no address: {error}") from error
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        refused = [] if self._private else [address for address in addresses if not is_public(address)]
        if refused:
            raise AddressRefused(f"{host} is at {refused[0]}, which is not public")
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError:
                continue
        return await self._inner.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise AddressRefused(f"{path} is not a host")

    async def sleep(self, seconds: float) -> None:
        """Between attempts."""
        await asyncio.sleep(seconds)


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet, also behind the ways to write IPv4 in IPv6."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast
