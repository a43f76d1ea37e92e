"""No push leads into a private network unless a setting says so."""

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import pytest

from plaudit.adapters.push import PushClient, Webhook
from plaudit.adapters.push.client import is_public
from tests.support.clock import ManualClock
from tests.support.provider import Certificates, served
from tests.support.providers import WebhookReceiver
from tests.support.pushes import push

KEY = b"k" * 24


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *(("1.1.1.1", True), ("8.8.8.8", True), ("2606:4700:4700::1111", True)),
        *(("127.0.0.1", False), ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False)),
        *(("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False)),
        *(("255.255.255.255", False), ("::1", False), ("::", False), ("fe80::1%eth0", False)),
        *(("fd00::1", False), ("::ffff:127.0.0.1", False), ("::ffff:1.1.1.1", True)),
        *(
            ("2002:7f00:1::", False),
            ("64:ff9b::7f00:1", False),
            ("64:ff9b::808:808", True),
            ("ff02::1", False),
        ),
        *(("fec0::1", False), ("4000::1", False), ("240.0.0.1", False), ("64:ff9b:1::808:808", False)),
        *(("::127.0.0.1", False), ("::8.8.8.8", False), ("::ffff:240.0.0.1", False)),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost."]
)
async def test_this_machine_is_refused_by_any_name(
    certificates: Certificates, clock: ManualClock, host: str
) -> None:
    server = WebhookReceiver(clock, KEY)
    async with (
        served(server, certificates),
        PushClient(certificates.pem, clock, private=False) as client,
    ):
        url = server.url.replace("localhost", host)
        found = await Webhook(client, clock, url, [KEY]).send(push())
    assert found.reason in {"refused", "unreachable"}
    assert found.reason == "refused" or "gaierror" in found.detail
    assert server.asked == []


async def test_a_name_with_one_private_address_is_refused_whole(
    certificates: Certificates, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, 1, 6, "", (address, 443)) for address in ("1.1.1.1", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    async with PushClient(certificates.pem, clock, private=False) as client:
        found = await Webhook(client, clock, "https://both.example/", [KEY]).send(push())
    assert (found.reason, found.detail) == ("refused", "both.example is at 10.0.0.1, which is not public")


async def test_the_name_is_asked_for_once_and_the_address_is_the_one_looked_at(
    certificates: Certificates, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers otherwise the second time (DNS rebinding) gains nothing: there is no second time."""
    asked: list[str] = []
    server = WebhookReceiver(clock, KEY)
    real = socket.getaddrinfo

    def counted(host: str, port: int, *, type: int) -> object:
        asked.append(host)
        return real("127.0.0.1" if host == "localhost" else host, port, type=type)

    async with served(server, certificates), PushClient(certificates.pem, clock, private=True) as client:
        monkeypatch.setattr(socket, "getaddrinfo", counted)
        assert (await Webhook(client, clock, server.url, [KEY]).send(push())).reason == "delivered"
    assert asked.count("localhost") == 1


async def test_proxies_of_the_environment_are_not_used(
    certificates: Certificates, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    server = WebhookReceiver(clock, KEY)
    async with served(server, certificates), PushClient(certificates.pem, clock, private=True) as client:
        assert (await Webhook(client, clock, server.url, [KEY]).send(push())).reason == "delivered"


async def test_silent_name_servers_hold_up_nobody_elses_threads(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, begun = threading.Event(), threading.Semaphore(0)

    def hanging(*_: object, **__: object) -> list[object]:
        begun.release()
        silent.wait(30)
        raise socket.gaierror("no answer")

    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    async with PushClient(None, clock, private=False) as client:
        posts = [asyncio.create_task(client.post(f"https://h{n}.example/", b"", {})) for n in range(20)]
        try:
            async with asyncio.timeout(5):
                while not begun.acquire(blocking=False):
                    await asyncio.sleep(0.001)
                assert await asyncio.to_thread(lambda: 7) == 7
        finally:
            silent.set()
            await asyncio.gather(*posts)


async def test_more_origins_than_are_kept_take_no_connection_from_under_a_push(
    certificates: Certificates, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plaudit.adapters.push.client.ORIGINS", 1)
    servers = [WebhookReceiver(clock, KEY) for _ in range(3)]
    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(served(server, certificates))
        client = await stack.enter_async_context(PushClient(certificates.pem, clock, private=True))
        retire = client._retire

        async def slowly(origin: str) -> None:
            await retire(origin)
            await asyncio.sleep(0.001)

        monkeypatch.setattr(client, "_retire", slowly)
        hosts = [Webhook(client, clock, server.url, [KEY]) for server in servers]
        for _ in range(5):
            found = await asyncio.gather(*(host.send(push()) for host in hosts * 3))
            assert {verdict.reason for verdict in found} == {"delivered"}
