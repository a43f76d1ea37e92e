"""Pushes from the store to providers: what each reason does, outages, and processes that die on the way."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from plaudit.adapters.push import Apns, ApnsAccount, Webhook, WebPush
from plaudit.adapters.push.client import WITHIN_S
from plaudit.adapters.sqlite import Database
from plaudit.domain.errors import Unavailable
from plaudit.ports.directory import Profile
from plaudit.ports.notifications import Address, Channel, Device, DeviceKind, Settled
from plaudit.ports.push import Push, Sender, Verdict
from plaudit.services.deliver import POLICY, TRIPS_AT, Breaker
from tests.support.clock import ManualClock
from tests.support.delivering import delivering, devices, fcm, reached, registered, settled, told
from tests.support.notifying import OWNER, message
from tests.support.provider import Answer, Certificates
from tests.support.providers import ApnsServer, FcmServer, WebhookReceiver, WebPushServer
from tests.support.stores import Stores, stores_on
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


async def test_an_outage_of_two_minutes_loses_nothing_and_asks_seldom(
    stores: Stores, clock: ManualClock, certificates: Certificates
) -> None:
    server = WebhookReceiver(clock, KEY)
    server.always = Answer(503)
    async with reached(clock, certificates, server) as client:
        await told(stores, clock, "webhook", 300)
        start = clock.now_us()
        async with delivering(stores, clock, Webhook(client, clock, server.url, [KEY])):
            await server.until(lambda: len(server.asked) >= 64, "the first tries")
            while clock.now_us() < start + 120_000_000:
                clock.advance(0.5)
                await asyncio.sleep(0.01)
            during = len(server.asked)
            server.always = None
            await settled(stores, clock=clock)
    assert len(server.seen) == 300
    assert during <= 64 + 60, "a provider that is down is asked one at a time"
    assert server.problems == []


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


async def test_killed_between_sending_and_settling_a_device_shows_one_entry(
    tmp_path: Path, clock: ManualClock, certificates: Certificates
) -> None:
    server = FcmServer(clock)
    async with reached(clock, certificates, server) as client, Database(tmp_path / "data") as database:
        first = stores_on(database, clock)
        await registered(first, Device(id="f", owner=OWNER, kind="fcm", token="phone"))
        await told(first, clock, "fcm", 1, ["f"])
        server.answers = []
        write = database.write

        async def never(_: object) -> object:
            await asyncio.sleep(3600)
            return None

        async with delivering(first, clock, fcm(client, clock, server)):
            database.write = never  # type: ignore[method-assign, assignment] # the process dies before it settles
            await server.until(lambda: len(server.seen) == 1, "the first push")
        database.write = write  # type: ignore[method-assign] # the next process
        second = stores_on(database, clock)
        async with delivering(second, clock, fcm(client, clock, server)):
            await settled(second)
    assert (server.count("/v1"), list(server.seen)) == (2, ["phone m00000"])
    assert server.problems == []


async def test_a_stop_waits_for_what_is_under_way(stores: Stores, clock: ManualClock) -> None:
    begun, sent = asyncio.Event(), list[str]()

    class Slow:
        channel: Channel = "webhook"
        at_once = 4

        def provider(self, push: object) -> str:
            return "webhook"

        async def send(self, push: Push) -> Verdict:
            begun.set()
            await asyncio.sleep(0.1)
            sent.append(push.id)
            return Verdict(reason="delivered")

    await told(stores, clock, "webhook", 1)
    async with delivering(stores, clock, Slow()):
        await begun.wait()
    assert sent == ["m00000"]
    assert await stores.deliveries.waiting() == {"dead": 0}


async def test_pushes_go_on_while_others_are_settled(
    stores: Stores, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, lots, free = list[str](), list[int](), asyncio.Event()

    class Quick:
        channel: Channel = "webhook"
        at_once = 4

        def provider(self, push: object) -> str:
            return "webhook"

        async def send(self, push: Push) -> Verdict:
            sent.append(push.id)
            return Verdict(reason="delivered")

    settle = stores.deliveries.settle

    async def slowly(results: Sequence[Settled]) -> None:
        lots.append(len(results))
        await free.wait()
        await settle(results)

    monkeypatch.setattr(stores.deliveries, "settle", slowly)
    await told(stores, clock, "webhook", 12)
    async with delivering(stores, clock, Quick()):
        await until(lambda: len(sent) >= 8, "as many more as may land meanwhile")
        assert len(lots) == 1
        free.set()
        await settled(stores)
    assert sorted(sent) == [f"m{n:05}" for n in range(12)]
    assert lots[1] >= 4


async def test_a_stop_settles_the_rest_where_one_lot_fails(
    stores: Stores, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, lots, settled_since = list[str](), list[int](), list[int]()

    class Quick:
        channel: Channel = "webhook"
        at_once = 4

        def provider(self, push: object) -> str:
            return "webhook"

        async def send(self, push: Push) -> Verdict:
            sent.append(push.id)
            return Verdict(reason="delivered")

    settle = stores.deliveries.settle
    stopping = asyncio.Event()

    async def failing_first(results: Sequence[Settled]) -> None:
        lots.append(len(results))
        if len(lots) == 1:
            await stopping.wait()
            raise Unavailable("away")
        await asyncio.sleep(0.05)
        await settle(results)
        settled_since.append(len(results))

    monkeypatch.setattr(stores.deliveries, "settle", failing_first)
    await told(stores, clock, "webhook", 8)
    async with delivering(stores, clock, Quick()):
        await until(lambda: len(sent) == 8, "all of them")
        stopping.set()
    assert settled_since == [8 - lots[0]]


async def test_what_a_sender_throws_is_our_fault(stores: Stores, clock: ManualClock) -> None:
    class Broken:
        channel: Channel = "webhook"
        at_once = 4

        def provider(self, push: object) -> str:
            return "webhook"

        async def send(self, push: object) -> object:
            raise ZeroDivisionError

    await told(stores, clock, "webhook", 2)
    async with delivering(stores, clock, Broken()) as metrics:  # type: ignore[arg-type] # it is broken
        await settled(stores, dead=2)
    assert metrics.pushes == {"our_fault": 2}


async def test_an_error_nobody_foresaw_ends_no_channel(
    stores: Stores, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Fine:
        channel: Channel = "webhook"
        at_once = 4

        def provider(self, push: object) -> str:
            return "webhook"

        async def send(self, push: object) -> Verdict:
            return Verdict(reason="delivered")

    monkeypatch.setattr("plaudit.services.deliver.RETRY_S", 0.01)
    monkeypatch.setattr("plaudit.services.deliver.COUNT_EVERY_S", 0.0)
    claim, waiting, failures = stores.deliveries.claim, stores.deliveries.waiting, ["claim", "waiting"]

    async def claimed(*what: object) -> object:
        if "claim" in failures:
            failures.remove("claim")
            raise ZeroDivisionError
        return await claim(*what)  # type: ignore[arg-type] # handed on

    async def counted() -> object:
        if "waiting" in failures:
            failures.remove("waiting")
            raise ZeroDivisionError
        return await waiting()

    monkeypatch.setattr(stores.deliveries, "claim", claimed)
    monkeypatch.setattr(stores.deliveries, "waiting", counted)
    async with delivering(stores, clock, Fine()) as metrics:
        await until(lambda: not failures, "both errors")
        await told(stores, clock, "webhook", 2)
        await until(lambda: metrics.pushes == {"delivered": 2}, "the pushes")
    ours = [record for record in caplog.records if record.name == "plaudit.deliver"]
    assert sorted(record.getMessage() for record in ours if record.exc_info) == [
        "pushes cannot be counted",
        "pushes over webhook wait and will go on",
    ]


def test_a_breaker_trips_probes_and_recovers() -> None:
    breaker = Breaker()
    for _ in range(TRIPS_AT - 1):
        breaker.unwell(0, None)
    assert (breaker.tripped, breaker.wait_s(0)) == (False, 0)
    waits = []
    for _ in range(8):
        breaker.unwell(0, None)
        waits.append(breaker.wait_s(0))
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert breaker.wait_s(31) == 0
    breaker.well()
    assert (breaker.tripped, breaker.wait_s(0)) == (False, 0)
    breaker.unwell(0, 7)
    assert breaker.wait_s(0) == 7


def test_the_policy_has_a_row_for_every_reason() -> None:
    from typing import get_args

    from plaudit.ports.push import Reason

    assert set(POLICY) == set(get_args(Reason))
