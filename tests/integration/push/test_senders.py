"""Every sender against a server that checks what the vendor publishes, and what each of its answers means."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from plaudit.adapters.push import (
    Apns,
    ApnsAccount,
    Console,
    Fcm,
    PushClient,
    Webhook,
    WebPush,
    service_account,
)
from plaudit.adapters.push.client import MAX_RETRY_AFTER_S
from plaudit.domain.catalogue import Catalogue
from plaudit.http.openapi import document
from plaudit.ports.push import Person, Push, Verdict
from tests.support.clock import ManualClock
from tests.support.provider import Answer, Certificates, Provider, served
from tests.support.providers import ApnsServer, FcmServer, WebhookReceiver, WebPushServer
from tests.support.pushes import ID, push

KEYS = (b"k" * 24, b"o" * 32)
TOKEN = "ab" * 32
Open = Callable[[Provider], Awaitable[None]]


@pytest.fixture
async def opened(certificates: Certificates, anyio_backend: str) -> AsyncIterator[Open]:
    """Serves a provider until the test ends, and then asks it for problems."""
    providers: list[Provider] = []
    async with AsyncExitStack() as stack:

        async def serve(provider: Provider) -> None:
            providers.append(provider)
            await stack.enter_async_context(served(provider, certificates))

        yield serve
    assert [problem for provider in providers for problem in provider.problems] == []


def fcm_sender(client: PushClient, clock: ManualClock, server: FcmServer) -> Fcm:
    return Fcm(client, clock, service_account(server.account()), server.url)


def apns_sender(client: PushClient, clock: ManualClock, server: ApnsServer) -> Apns:
    account = ApnsAccount(key=server.pem(), key_id=server.KEY, team_id=server.TEAM, topic=server.TOPIC)
    return Apns(client, clock, account, {"production": server.url, "sandbox": server.url + "/none"})


async def test_fcm(opened: Open, client: PushClient, clock: ManualClock) -> None:
    server = FcmServer(clock)
    await opened(server)
    sender = fcm_sender(client, clock, server)
    found = await asyncio.gather(*(sender.send(push("fcm", f"token-{n}")) for n in range(20)))
    assert {verdict.reason for verdict in found} == {"delivered"}
    assert (server.count("/token"), len(server.seen)) == (1, 20)
    clock.advance(3550)
    assert (await sender.send(push("fcm", "token-0"))).reason == "delivered"
    assert (server.count("/token"), len(server.seen)) == (2, 20)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (
            FcmServer.error(404, "NOT_FOUND", "UNREGISTERED"),
            Verdict(reason="gone", detail="404 UNREGISTERED"),
        ),
        (
            FcmServer.error(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
            Verdict(reason="suspect", detail="403 SENDER_ID_MISMATCH"),
        ),
        (
            FcmServer.error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "message.token"),
            Verdict(reason="suspect", detail="400 INVALID_ARGUMENT"),
        ),
        (
            FcmServer.error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "message.data"),
            Verdict(reason="our_fault", detail="400 INVALID_ARGUMENT"),
        ),
        (
            FcmServer.error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", retry_after="7"),
            Verdict(reason="slow_down", detail="429 QUOTA_EXCEEDED", retry_after_s=7),
        ),
        (
            FcmServer.error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"),
            Verdict(reason="slow_down", detail="429 QUOTA_EXCEEDED", retry_after_s=60),
        ),
        (
            FcmServer.error(503, "UNAVAILABLE", "UNAVAILABLE"),
            Verdict(reason="slow_down", detail="503 UNAVAILABLE"),
        ),
        (
            FcmServer.error(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
            Verdict(reason="our_fault", detail="401 THIRD_PARTY_AUTH_ERROR"),
        ),
        (FcmServer.error(401, "UNAUTHENTICATED"), Verdict(reason="renew", detail="401 UNAUTHENTICATED")),
        (Answer(500, b"<html>"), Verdict(reason="slow_down", detail="500 without a reason")),
        (Answer(404, b"[" * 100_000), Verdict(reason="our_fault", detail="404 without a reason")),
    ],
)
async def test_fcm_refusals(
    opened: Open, client: PushClient, clock: ManualClock, answer: Answer, verdict: Verdict
) -> None:
    server = FcmServer(clock)
    await opened(server)
    server.answers = [answer]
    sender = fcm_sender(client, clock, server)
    assert await sender.send(push("fcm", "token")) == verdict
    assert (await sender.send(push("fcm", "token"))).reason == "delivered"
    assert server.count("/token") == (2 if verdict.reason == "renew" else 1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(400, b'{"error": "invalid_grant"}'), "our_fault"),
        (Answer(200, b'{"token": 1}'), "our_fault"),
        (Answer(200, b'{"access_token": "a\\r\\nb", "expires_in": 9}'), "our_fault"),
        (Answer(503, b"", (("retry-after", "9"),)), "slow_down"),
    ],
)
async def test_fcm_without_a_grant(
    opened: Open, client: PushClient, clock: ManualClock, answer: Answer, reason: str
) -> None:
    server = FcmServer(clock)
    await opened(server)
    server.grants = [answer]
    sender = fcm_sender(client, clock, server)
    assert (await sender.send(push("fcm", "token"))).reason == reason
    assert (await sender.send(push("fcm", "token"))).reason == "delivered"


async def test_apns_on_one_connection(opened: Open, client: PushClient, clock: ManualClock) -> None:
    server = ApnsServer(clock)
    await opened(server)
    sender = apns_sender(client, clock, server)
    found = await asyncio.gather(*(sender.send(push("apns", f"{n:064x}")) for n in range(50)))
    assert {verdict.reason for verdict in found} == {"delivered"}
    assert (len(server.seen), len(server.connections)) == (50, 1)


async def test_apns_renews_its_token_in_time_and_not_too_often(
    opened: Open, client: PushClient, clock: ManualClock
) -> None:
    server = ApnsServer(clock)
    await opened(server)
    sender = apns_sender(client, clock, server)
    for minutes in range(0, 180, 9):
        assert (await sender.send(push("apns", TOKEN))).reason == "delivered", minutes
        clock.advance(9 * 60)
    assert 3 <= len(server.tokens) <= 9
    [entry] = server.seen
    assert entry == f"{TOKEN} {ID}"


async def test_apns_with_a_token_that_is_refused(
    opened: Open, client: PushClient, clock: ManualClock
) -> None:
    server = ApnsServer(clock)
    await opened(server)
    server.answers = [ApnsServer.error(403, "ExpiredProviderToken")] * 2
    sender = apns_sender(client, clock, server)
    early = await sender.send(push("apns", TOKEN))
    assert (early.reason, early.retry_after_s) == ("slow_down", 60)
    clock.advance(21 * 60)
    assert (await sender.send(push("apns", TOKEN))).reason == "renew"
    assert (await sender.send(push("apns", TOKEN))).reason == "delivered"
    assert len(server.tokens) == 2


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (
            ApnsServer.error(410, "Unregistered", 1_700_000_000_123),
            Verdict(reason="gone", detail="410 Unregistered", gone_at=1_700_000_000_123_000),
        ),
        (ApnsServer.error(410, "ExpiredToken"), Verdict(reason="gone", detail="410 ExpiredToken")),
        (ApnsServer.error(400, "BadDeviceToken"), Verdict(reason="suspect", detail="400 BadDeviceToken")),
        (
            ApnsServer.error(400, "DeviceTokenNotForTopic"),
            Verdict(reason="suspect", detail="400 DeviceTokenNotForTopic"),
        ),
        (
            ApnsServer.error(403, "InvalidProviderToken"),
            Verdict(reason="our_fault", detail="403 InvalidProviderToken"),
        ),
        (ApnsServer.error(413, "PayloadTooLarge"), Verdict(reason="our_fault", detail="413 PayloadTooLarge")),
        (
            ApnsServer.error(429, "TooManyRequests"),
            Verdict(reason="slow_down", detail="429 TooManyRequests", only_device=True),
        ),
        (ApnsServer.error(503, "Shutdown"), Verdict(reason="slow_down", detail="503 Shutdown")),
        (Answer(400, b"\xff"), Verdict(reason="our_fault", detail="400 without a reason")),
    ],
)
async def test_apns_refusals(
    opened: Open, client: PushClient, clock: ManualClock, answer: Answer, verdict: Verdict
) -> None:
    server = ApnsServer(clock)
    await opened(server)
    server.answers = [answer]
    assert await apns_sender(client, clock, server).send(push("apns", TOKEN)) == verdict


async def test_web_push_is_encrypted_for_each_browser(
    opened: Open, client: PushClient, clock: ManualClock
) -> None:
    server = WebPushServer(clock)
    await opened(server)
    sender = WebPush(client, clock, ec.generate_private_key(ec.SECP256R1()), server.subject)
    for name in ("ann", "bob", "ann"):
        device = server.subscribe(name)
        found = await sender.send(push("webpush", device["token"], device["keys"]))
        assert found.reason == "delivered"
        clock.advance(11.5 * 3600)
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        *((200, "delivered"), (201, "delivered"), (202, "delivered"), (404, "gone"), (410, "gone")),
        *((429, "slow_down"), (500, "slow_down"), (503, "slow_down"), (307, "refused")),
        *((400, "our_fault"), (401, "our_fault"), (403, "our_fault"), (413, "our_fault")),
    ],
)
async def test_web_push_answers(
    opened: Open, client: PushClient, clock: ManualClock, status: int, reason: str
) -> None:
    server = WebPushServer(clock)
    await opened(server)
    sender = WebPush(client, clock, ec.generate_private_key(ec.SECP256R1()), server.subject)
    device = server.subscribe("ann")
    server.answers = [Answer(status, headers=(("location", "https://localhost/elsewhere"),))]
    assert (await sender.send(push("webpush", device["token"], device["keys"]))).reason == reason


@pytest.mark.parametrize(
    "keys", [{}, {"p256dh": "AAAA", "auth": "AAAA"}, {"p256dh": "BA" + "A" * 85, "auth": "AAAA"}]
)
async def test_web_push_with_keys_that_are_none(client: PushClient, clock: ManualClock, keys: Any) -> None:
    sender = WebPush(client, clock, ec.generate_private_key(ec.SECP256R1()), "mailto:a@b.c")
    assert (await sender.send(push("webpush", "https://localhost/x", keys))).reason == "gone"


async def test_a_webhook_is_signed_with_every_secret(
    opened: Open, client: PushClient, clock: ManualClock
) -> None:
    server = WebhookReceiver(clock, *KEYS)
    await opened(server)
    sender = Webhook(client, clock, f"{server.url}/hook", KEYS)
    assert (await sender.send(push())).reason == "delivered"
    assert len(server.events) == 1
    assert server.problems == []


async def test_the_example_of_the_webhook_is_what_is_sent(
    opened: Open, client: PushClient, clock: ManualClock
) -> None:
    server = WebhookReceiver(clock, *KEYS)
    await opened(server)
    webhook = document(Catalogue())["webhooks"]["notification.created"]["post"]
    example = webhook["requestBody"]["content"]["application/json"]["example"]
    data = example["data"]
    at = datetime.fromisoformat(example["timestamp"])
    sent = Push(
        id=data["id"],
        owner=data["user_id"],
        title=data["title"],
        body=data["text"],
        locale=data["locale"],
        target=data["target_id"],
        type=data["target_type"],
        target_title=data["target_title"],
        sample=tuple(Person(**person) for person in data["sample"]),
        others=data["others"],
        total=data["total"],
        reactions=data["reactions"],
        at=(at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1),
        expires_at=2**53,
    )
    assert (await Webhook(client, clock, f"{server.url}/hook", KEYS).send(sent)).reason == "delivered"
    assert server.events == [example]


@pytest.mark.parametrize(
    ("answer", "reason", "retry_after_s"),
    [
        (Answer(202), "delivered", None),
        (Answer(302, headers=(("location", "https://localhost/elsewhere"),)), "refused", None),
        (Answer(410), "refused", None),
        (Answer(400), "slow_down", None),
        (Answer(503, headers=(("retry-after", "120"),)), "slow_down", 120),
        (Answer(429, headers=(("retry-after", "Thu, 09 Oct 2025 08:54:20 GMT"),)), "slow_down", 60),
        (Answer(429, headers=(("retry-after", "Thu, 09 Oct 2024 08:54:20 GMT"),)), "slow_down", 0),
        (Answer(429, headers=(("retry-after", "9" * 9),)), "slow_down", MAX_RETRY_AFTER_S),
        (Answer(429, headers=(("retry-after", "9" * 400),)), "slow_down", None),
        (Answer(429, headers=(("retry-after", "soon"),)), "slow_down", None),
        (Answer(200, b"x" * 1_000_000, repeat_body=100), "delivered", None),
        (Answer(500, b"x" * 1_000_000, repeat_body=100), "slow_down", None),
    ],
)
async def test_webhook_answers(
    opened: Open,
    client: PushClient,
    clock: ManualClock,
    answer: Answer,
    reason: str,
    retry_after_s: float | None,
) -> None:
    server = WebhookReceiver(clock, *KEYS)
    await opened(server)
    server.answers = [answer]
    found = await Webhook(client, clock, server.url, KEYS).send(push())
    assert (found.reason, found.retry_after_s) == (reason, retry_after_s)
    assert len(server.asked) == 1, "redirects are not followed"


async def test_a_receiver_that_hangs_is_left(
    opened: Open, client: PushClient, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plaudit.adapters.push import client as module

    monkeypatch.setattr(module, "WITHIN_S", 0.3)
    server = WebhookReceiver(clock, *KEYS)
    await opened(server)
    server.answers = [Answer(200, hang=True)]
    assert (await Webhook(client, clock, server.url, KEYS).send(push())).reason == "unreachable"


async def test_nobody_there_and_a_certificate_nobody_trusts(
    opened: Open, client: PushClient, clock: ManualClock, certificates: Certificates
) -> None:
    for url in ("https://localhost:1/", "https://nowhere.invalid/", "https://\u2603", "no url"):
        assert (await Webhook(client, clock, url, KEYS).send(push())).reason == "unreachable"
    server = WebhookReceiver(clock, *KEYS)
    await opened(server)
    async with PushClient(None, clock, private=True) as wary:
        found = await Webhook(wary, clock, server.url, KEYS).send(push())
    assert found.reason == "unreachable"
    assert "certificate" in found.detail.lower()


async def test_the_console_says_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "plaudit.console"):
        assert (await Console().send(push())).reason == "delivered"
    assert "to owner: New reactions. Ann and 3 others" in caplog.text


def test_secrets_are_not_shown() -> None:
    account = ApnsAccount(key="PRIVATE", key_id="k", team_id="t", topic="x")
    server = FcmServer(ManualClock())
    assert "PRIVATE" not in repr(account) + repr(service_account(server.account()))


@pytest.mark.parametrize("text", [b"", b"{}", msgspec.json.encode(dict.fromkeys("abc", 1))])
def test_what_is_no_service_account(text: bytes) -> None:
    with pytest.raises(ValueError, match="no service account"):
        service_account(text)
