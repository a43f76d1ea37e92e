"""HTTP to providers and receivers: bounded in time and size, no redirects, and no way into a private network.

A name is resolved here and looked at, and the connection is pinned to the address that was looked at: a name that
answers differently a moment later gains nothing (DNS rebinding). TLS still checks the certificate of the name. Address
and URL are taken apart by the same parser that connects, so no spelling means one thing to us and another to it.
"""

import asyncio
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from types import TracebackType
from typing import Self

import msgspec
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import DetailedPyreqwestError, PyreqwestError
from pyreqwest.http import Url

from plaudit.ports.clock import Clock
from plaudit.ports.push import Verdict

WITHIN_S = 10.0
CONNECT_WITHIN_S = 5.0
RESOLVE_WITHIN_S = 5.0
MAX_ANSWER_BYTES = 64 * 1024
MAX_RETRY_AFTER_S = 3600.0
IDLE_S = 300.0
PINNED_S = 600.0
ORIGINS = 256
LOOK_UPS = 8  # at once; a silent name server holds a thread for long after we have given up
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefused(Exception):
    """The name leads into a private network, and the settings do not allow that."""


class Reply(msgspec.Struct, frozen=True):
    """An answer, its body cut at 64 KiB. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Pinned:
    """The connections to one origin, at the address that was looked at. Over HTTP/2 they are one."""

    def __init__(self, client: Client, until_s: float) -> None:
        self.client = client
        self.until_s = until_s
        self.flying = 0
        self.retired = False


class PushClient:
    """Connections by origin. Use as an async context manager.

    `private` allows addresses that are not public. `authorities` is PEM text to trust besides the system's.
    """

    def __init__(self, authorities: bytes | None, clock: Clock, *, private: bool) -> None:
        self._authorities = authorities
        self._clock = clock
        self._private = private
        self._pinned: OrderedDict[str, _Pinned] = OrderedDict()
        self._turn = 0
        # Of its own, so that silent name servers hold up no other work that the process does in threads.
        self._look_ups = ThreadPoolExecutor(LOOK_UPS, "plaudit-look-up")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pinned in self._pinned.values():
            await pinned.client.close()
        self._pinned.clear()
        self._look_ups.shutdown(wait=False, cancel_futures=True)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply | Verdict:
        """The answer to one POST, or the verdict on whoever gave none."""
        try:
            async with asyncio.timeout(WITHIN_S):
                parsed = Url(url)
                origin = parsed.origin_ascii
                pinned = self._pinned.get(origin)
                if pinned is None or pinned.until_s <= self._clock.monotonic_s():
                    pinned = await self._pin(origin, parsed)
                self._pinned.move_to_end(origin)
                return await self._post(pinned, parsed, body, headers)
        except AddressRefused as error:
            return Verdict(reason="refused", detail=str(error))
        except TimeoutError:
            detail = f"no whole answer within {WITHIN_S:.0f} s"
        except (PyreqwestError, OSError, ValueError) as error:
            detail = _root(error)[:300]
        await self._unpin(url)
        return Verdict(reason="unreachable", detail=detail)

    async def _post(self, pinned: _Pinned, url: Url, body: bytes, headers: Mapping[str, str]) -> Reply:
        pinned.flying += 1
        try:
            request = pinned.client.post(url).headers(dict(headers)).body_bytes(body).build_streamed()
            async with request as response:
                found = bytearray()
                while len(found) < MAX_ANSWER_BYTES and (part := await response.body_reader.read_chunk()):
                    found += part
                lines = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status, lines, bytes(found[:MAX_ANSWER_BYTES]))
        finally:
            pinned.flying -= 1
            if pinned.retired and not pinned.flying:
                await pinned.client.close()

    async def _pin(self, origin: str, url: Url) -> _Pinned:
        """Connections to an address of this host that was looked at. Raises `AddressRefused`, `OSError`."""
        host, port = url.host_str, url.port_or_known_default
        if not host or port is None or url.scheme not in {"http", "https"}:
            raise ValueError(f"{origin} is not an address of the web")
        addresses = await self._addresses(host, port)
        known = self._pinned.get(origin)
        if known is not None and known.until_s > self._clock.monotonic_s():
            return known  # another push was faster
        self._turn += 1
        address = addresses[self._turn % len(addresses)]
        builder = (
            ClientBuilder()
            .http2(True)
            .no_proxy()
            .follow_redirects(False)
            .timeout(timedelta(seconds=WITHIN_S))
            .connect_timeout(timedelta(seconds=CONNECT_WITHIN_S))
            .pool_idle_timeout(timedelta(seconds=IDLE_S))
            .http1_lower_case_headers()
            .user_agent("plaudit")
        )
        if url.domain is not None:
            builder = builder.resolve(url.domain, address, port)
        if self._authorities is not None:
            builder = builder.add_root_certificate_pem(self._authorities)
        await self._retire(origin)
        while len(self._pinned) >= ORIGINS:
            await self._retire(next(iter(self._pinned)))
        known = self._pinned.get(origin)
        if known is not None:
            return known  # another push was faster
        # From here to its first use nothing is waited for, so nobody retires it before.
        pinned = self._pinned[origin] = _Pinned(builder.build(), self._clock.monotonic_s() + PINNED_S)
        return pinned

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Where a host is, by the system's resolver, and all of it public unless that does not matter."""
        async with asyncio.timeout(RESOLVE_WITHIN_S):
            loop = asyncio.get_running_loop()
            look_up = partial(socket.getaddrinfo, host.strip("[]"), port, type=socket.SOCK_STREAM)
            found = await loop.run_in_executor(self._look_ups, look_up)
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        refused = [] if self._private else [address for address in addresses if not is_public(address)]
        if refused:
            raise AddressRefused(f"{host} is at {refused[0]}, which is not public")
        return addresses

    async def _unpin(self, url: str) -> None:
        """Look the name up again next time: the host may have moved."""
        try:
            await self._retire(Url(url).origin_ascii)
        except ValueError:
            pass

    async def _retire(self, origin: str) -> None:
        pinned = self._pinned.pop(origin, None)
        if pinned is not None:
            pinned.retired = True
            if not pinned.flying:
                await pinned.client.close()

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


def _root(error: Exception) -> str:
    """The error with what is behind it, which is where a certificate or a refused connection is named."""
    if not isinstance(error, DetailedPyreqwestError):
        return f"{type(error).__name__}: {error}"
    causes = [cause["message"] for cause in error.details.get("causes") or []]
    return ": ".join([f"{type(error).__name__}: {error.message}", *causes[-2:]])


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet, also behind the ways to write IPv4 in IPv6."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner))
        # 6to4 (RFC 7526: deprecated) and Teredo lead through relays to whatever address is written in them.
        if address.is_site_local or address.sixtofour or address.teredo:
            return False
    # Reserved is also ::/8, with IPv4-compatible addresses (::a.b.c.d) and the NAT64 of a network (64:ff9b:1::/48).
    return address.is_global and not (address.is_multicast or address.is_reserved)
