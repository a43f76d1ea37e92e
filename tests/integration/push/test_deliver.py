"""Pushes from the store to providers: what each reason does, outages, and receivers that are slow."""

import asyncio

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from plaudit.adapters.push import Apns, ApnsAccount, Webhook, WebPush
from plaudit.adapters.push.client import WITHIN_S
from plaudit.ports.directory import Profile
from plaudit.ports.notifications import Address, Device, DeviceKind
from plaudit.ports.push import Sender
from tests.support.clock import ManualClock
from tests.support.delivering import delivering, devices, fcm, reached, registered, settled, told
from tests.support.notifying import OWNER, message
from tests.support.provider import Answer, Certificates
from tests.support.providers import ApnsServer, FcmServer, WebhookReceiver, WebPushServer
from tests.support.stores import Stores
from tests.support.wait import until

KEY = b"k" * 24
TOKEN = "ab" * 32


async def test_every_channel_at_once(stores: Stores, clock: ManualClock, certificates: Certificates) -> None:
    google, apple, browser, host = (
        FcmServer(clock),
        ApnsServer(clock),
        WebPushServer(clock),
        WebhookReceiver(clock, KEY),
    )
    async with reached(clock, certificates, google, apple, browser, host) as client:
        subscription = browser.subscribe("ann")
        account = ApnsAccount(key=apple.pem(), key_id=apple.KEY, team_id=apple.TEAM, topic=apple.TOPIC)
        senders: list[Sender] = [
            fcm(client, clock, google),
            Apns(client, clock, account, {"production": apple.url, "sandbox": apple.url}),
            WebPush(client, clock, ec.generate_private_key(ec.SECP256R1()), browser.subject),
            Webhook(client, clock, host.url, [KEY]),
        ]
        for device in (
            Device(id="f", owner=OWNER, kind="fcm", token="phone"),
            Device(id="a", owner=OWNER, kind="apns", token=TOKEN),
            Device(
                id="w", owner=OWNER, kind="webpush", token=subscription["token"], more=subscription["keys"]
            ),
        ):
            await registered(stores, device)
        for channel, device_id in (("fcm", "f"), ("apns", "a"), ("webpush", "w"), ("webhook", "")):
            await told(stores, clock, channel, 30, [device_id])  # type: ignore[arg-type] # a channel by name
        async with delivering(stores, clock, *senders) as metrics:
            await settled(stores, clock=clock)
        assert metrics.pushes == {"delivered": 120}
        for server in (google, apple, browser, host):
            assert (len(server.seen), server.problems) == (30, [])


@pytest.mark.parametrize("answers", [3, 1])
async def test_a_suspect_token_is_dead_and_the_third_time_gone(
    stores: Stores, clock: ManualClock, certificates: Certificates, answers: int
) -> None:
    server = FcmServer(clock)
    async with reached(clock, certificates, server) as client:
        await registered(stores, Device(id="f", owner=OWNER, kind="fcm", token="phone"))
        server.answers = [FcmServer.error(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH")] * answers
        async with delivering(stores, clock, fcm(client, clock, server)):
            for n in range(3):
                await stores.inbox.put([message(f"m{n}")], [Address(f"m{n}", "fcm", "f")], clock.now_us())
                await server.until(lambda n=n: server.count("/v1") > n, "a push")  # type: ignore[misc] # n of now
                dead = 0 if answers == 3 and n == 2 else min(n + 1, answers)
                await settled(stores, dead=dead)
    assert await devices(stores) == ([] if answers == 3 else ["f"])


async def test_a_gone_token_goes_and_one_that_came_back_stays(
    stores: Stores, clock: ManualClock, certificates: Certificates
) -> None:
    server = ApnsServer(clock)
    account = ApnsAccount(key=server.pem(), key_id=server.KEY, team_id=server.TEAM, topic=server.TOPIC)
    gone_at_ms = clock.now_us() // 1000
    for n, token in enumerate(("aa" * 32, "bb" * 32)):
        at = clock.now_us() + (n - 1) * 1_000_000 + n * 1_000_000
        await registered(stores, Device(id=f"d{n}", owner=OWNER, kind="apns", token=token, registered_at=at))
    server.answers = [ApnsServer.error(410, "Unregistered", gone_at_ms)] * 2
    async with reached(clock, certificates, server) as client:
        sender = Apns(client, clock, account, {"production": server.url, "sandbox": server.url})
        await told(stores, clock, "apns", 1, ["d0", "d1"])
        async with delivering(stores, clock, sender) as metrics:
            await settled(stores)
    assert await devices(stores) == ["d1"]
    assert metrics.pushes == {"gone": 2}


@pytest.mark.parametrize("kind", ["fcm", "webpush"])
async def test_a_token_registered_after_the_push_was_sent_stays_where_the_provider_names_no_time(
    stores: Stores, clock: ManualClock, certificates: Certificates, kind: DeviceKind
) -> None:
    google, browser = FcmServer(clock), WebPushServer(clock)
    google.answers = [FcmServer.error(404, "NOT_FOUND", "UNREGISTERED")] * 2
    browser.answers = [Answer(410), Answer(404)]
    async with reached(clock, certificates, google, browser) as client:
        senders: dict[str, Sender] = {
            "fcm": fcm(client, clock, google),
            "webpush": WebPush(client, clock, ec.generate_private_key(ec.SECP256R1()), browser.subject),
        }
        for name, at in (("before", clock.now_us()), ("after", clock.now_us() + 1)):
            its = browser.subscribe(name)
            token, more = (its["token"], its["keys"]) if kind == "webpush" else (f"phone-{name}", {})
            device = Device(id=name, owner=OWNER, kind=kind, token=token, more=more, registered_at=at)
            await registered(stores, device)
        await told(stores, clock, kind, 1, ["before", "after"])
        async with delivering(stores, clock, senders[kind]) as metrics:
            await settled(stores)
    assert await devices(stores) == ["after"]
    assert metrics.pushes == {"gone": 2}


async def test_a_webhook_names_whom_the_sentence_names_by_id(
    stores: Stores, clock: ManualClock, certificates: Certificates
) -> None:
    await stores.directory.put_profile("ann", Profile(name="Ann Ash", avatar_url="https://a.example/a.png"))
    people = [("ann", 1), ("bob", 2), ("cid", 2), ("dan", 1)]
    told = msgspec.structs.replace(
        message("m", OWNER, 1, *people), title="Sunrise", total=9, split={1: 6, 2: 3}
    )
    await stores.inbox.put([told], [Address("m", "webhook")], clock.now_us())
    server = WebhookReceiver(clock, KEY)
    async with (
        reached(clock, certificates, server) as client,
        delivering(stores, clock, Webhook(client, clock, server.url, [KEY])),
    ):
        await settled(stores)
    [event] = server.events
    data = event["data"]
    assert (data["target_title"], data["title"]) == ("Sunrise", "New reactions")
    assert data["text"] == "Ann Ash, bob and 7 others reacted to your post “Sunrise”"
    assert (data["others"], data["sample"]) == (
        7,
        [
            {"id": "ann", "name": "Ann Ash", "avatar_url": "https://a.example/a.png"},
            {"id": "bob", "name": "bob", "avatar_url": None},
            {"id": "cid", "name": "cid", "avatar_url": None},
        ],
    )
    assert server.problems == []


@pytest.mark.parametrize(
    ("locale", "said", "title", "text"),
    [
        ("de-AT", "de", "Neue Reaktionen", "Anna hat auf deinen Beitrag „Sunrise“ reagiert"),
        ("en", "en", "New reactions", "Anna reacted to your post “Sunrise”"),
        (None, "en", "New reactions", "Anna reacted to your post “Sunrise”"),
    ],
)
async def test_a_push_is_in_the_language_of_the_owner_and_of_nobody_else(
    stores: Stores,
    clock: ManualClock,
    certificates: Certificates,
    locale: str | None,
    said: str,
    title: str,
    text: str,
) -> None:
    await stores.directory.put_profile("ann", Profile(name="Anna", locale="de" if said == "en" else "en"))
    await stores.directory.put_profile(OWNER, Profile(locale=locale))
    told = msgspec.structs.replace(message("m", OWNER, 1, ("ann", 2)), title="Sunrise", split={2: 1})
    await stores.inbox.put([told], [Address("m", "webhook")], clock.now_us())
    server = WebhookReceiver(clock, KEY)
    async with (
        reached(clock, certificates, server) as client,
        delivering(stores, clock, Webhook(client, clock, server.url, [KEY])),
    ):
        await settled(stores)
    [event] = server.events
    assert [event["data"][name] for name in ("locale", "title", "text")] == [said, title, text]


async def test_retry_after_is_kept(stores: Stores, clock: ManualClock, certificates: Certificates) -> None:
    server = WebhookReceiver(clock, KEY)
    server.answers = [Answer(429, headers=(("retry-after", "90"),))]
    async with reached(clock, certificates, server) as client:
        await told(stores, clock, "webhook")
        async with delivering(stores, clock, Webhook(client, clock, server.url, [KEY])) as metrics:
            await until(lambda: metrics.pushes == {"slow_down": 1}, "the first try")
            clock.advance(89)
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert len(server.asked) == 1
            clock.advance(2)
            await settled(stores)
    assert (len(server.asked), len(server.events)) == (2, 1)


async def test_an_outage_longer_than_a_day_ends_in_dead_letters_that_can_be_sent_again(
    stores: Stores, clock: ManualClock, certificates: Certificates
) -> None:
    server = WebhookReceiver(clock, KEY)
    server.always = Answer(503)
    async with reached(clock, certificates, server) as client:
        await told(stores, clock, "webhook", 3)
        async with delivering(stores, clock, Webhook(client, clock, server.url, [KEY])):
            async with asyncio.timeout(30):
                while await stores.deliveries.waiting() != {"dead": 3}:
                    clock.advance(300)
                    await asyncio.sleep(0.01)
            server.always = None
            clock.advance(60)
            assert await stores.deliveries.resend(None, clock.now_us()) == 3
            await settled(stores)
    assert sorted(server.seen) == ["m00000", "m00001", "m00002"]


async def test_a_slow_receiver_does_not_hold_up_the_others(
    stores: Stores, clock: ManualClock, certificates: Certificates
) -> None:
    slow, quick = WebPushServer(clock), WebPushServer(clock)
    slow.always = Answer(201, hang=True)
    async with reached(clock, certificates, slow, quick) as client:
        for n, server in enumerate((slow, quick)):
            subscription = server.subscribe("x")
            device = Device(
                id=f"d{n}",
                owner=OWNER,
                kind="webpush",
                token=subscription["token"],
                more=subscription["keys"],
            )
            await registered(stores, device)
        sender = WebPush(client, clock, ec.generate_private_key(ec.SECP256R1()), slow.subject)
        await told(stores, clock, "webpush", 1, ["d0"])
        async with delivering(stores, clock, sender):
            await slow.until(lambda: bool(slow.asked), "the slow one to be asked")
            await stores.inbox.put([message("n")], [Address("n", "webpush", "d1")], clock.now_us())
            # Before the slow one is given up.
            await quick.until(lambda: len(quick.seen) == 1, "the quick one", within_s=WITHIN_S - 0.5)
