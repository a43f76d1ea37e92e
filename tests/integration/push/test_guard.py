"""No push leads into a private network unless a setting says so."""

import asyncio
import socket

import pytest

from plaudit.adapters.push import PushClient, Webhook
from plaudit.adapters.push.client import is_public
from tests.support.clock import ManualClock
from tests.support.providers import Certificates, WebhookReceiver, served
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
    async def both(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, 1, 6, "", (address, 443)) for address in ("1.1.1.1", "10.0.0.1")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    async with PushClient(certificates.pem, clock, private=False) as client:
        found = await Webhook(client, clock, "https://both.example/", [KEY]).send(push())
    assert (found.reason, found.detail) == ("refused", "both.example is at 10.0.0.1, which is not public")


async def test_the_name_is_asked_for_once_and_the_address_is_the_one_looked_at(
    certificates: Certificates, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers otherwise the second time (DNS rebinding) gains nothing: there is no second time."""
    asked: list[str] = []
    server = WebhookReceiver(clock, KEY)
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def counted(host: str, *more: object, **named: object) -> object:
        asked.append(str(host))
        return await real("127.0.0.1" if host == "localhost" else host, *more, **named)  # type: ignore[arg-type] # handed on

    monkeypatch.setattr(loop, "getaddrinfo", counted)
    async with served(server, certificates), PushClient(certificates.pem, clock, private=True) as client:
        assert (await Webhook(client, clock, server.url, [KEY]).send(push())).reason == "delivered"
    assert asked.count("localhost") == 1


async def test_proxies_of_the_environment_are_not_used(
    certificates: Certificates, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    server = WebhookReceiver(clock, KEY)
    async with served(server, certificates), PushClient(certificates.pem, clock, private=True) as client:
        assert (await Webhook(client, clock, server.url, [KEY]).send(push())).reason == "delivered"
