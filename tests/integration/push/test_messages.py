"""What each sender puts on the wire, whole: a phone, a browser and a host app show what these fields say."""

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from plaudit.adapters.push import Apns, ApnsAccount, Fcm, PushClient, Webhook, WebPush, service_account
from plaudit.ports.push import Push, Sender
from tests.support.clock import START_US, ManualClock
from tests.support.provider import Asked, Certificates, Provider, served
from tests.support.providers import ApnsServer, FcmServer, WebhookReceiver, WebPushServer
from tests.support.pushes import ID, push

KEY = b"k" * 32
TOKEN = "ab" * 32
BODY = "Ann and 3 others reacted to your post “Ünïcode 🎉”"
START_S = START_US // 1_000_000
# What HTTP itself needs; of `authorization` and signatures the servers check every part.
TRANSPORT = {
    "accept",
    "accept-encoding",
    "authorization",
    "content-length",
    "host",
    "user-agent",
    "webhook-signature",
}


def told(asked: Asked) -> dict[str, str]:
    """The headers that are the sender's own."""
    return {name: value for name, value in asked.headers.items() if name not in TRANSPORT}


async def sent(clock: ManualClock, server: Provider, sender: Sender, message: Push) -> Asked:
    """Send it a minute after it was made; what the provider got."""
    clock.advance(60)
    assert (await sender.send(message)).reason == "delivered"
    assert server.problems == []
    return server.asked[-1]


async def test_fcm(client: PushClient, clock: ManualClock, certificates: Certificates) -> None:
    server = FcmServer(clock)
    async with served(server, certificates):
        sender = Fcm(client, clock, service_account(server.account()), server.url)
        asked = await sent(clock, server, sender, push("fcm", "phone"))
    assert told(asked) == {"content-type": "application/json; charset=UTF-8"}
    assert msgspec.json.decode(asked.body) == {
        "message": {
            "token": "phone",
            "notification": {"title": "New reactions", "body": BODY},
            "data": {"notification_id": ID, "target_id": "post:42", "target_type": "post"},
            "android": {"ttl": "86340s", "notification": {"tag": ID}},
            "apns": {"headers": {"apns-collapse-id": ID}},
            "webpush": {"headers": {"Topic": ID, "TTL": "86340"}, "notification": {"tag": ID}},
        }
    }


async def test_apns(client: PushClient, clock: ManualClock, certificates: Certificates) -> None:
    server = ApnsServer(clock)
    async with served(server, certificates):
        account = ApnsAccount(key=server.pem(), key_id=server.KEY, team_id=server.TEAM, topic=server.TOPIC)
        sender = Apns(client, clock, account, {"production": server.url, "sandbox": "https://localhost"})
        asked = await sent(clock, server, sender, push("apns", TOKEN))
        again = await sent(clock, server, sender, push("apns", TOKEN))
    assert asked.path == f"/3/device/{TOKEN}"
    assert told(asked) == {
        "apns-id": "72422e66-3a78-5ee0-8965-e34e7286216f",
        "apns-topic": "com.example.app",
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-expiration": str(START_S + 24 * 3600),
        "apns-collapse-id": ID,
        "content-type": "application/json",
    }
    assert told(again) == told(asked), "a repeat has the same apns-id"
    assert msgspec.json.decode(asked.body) == {
        "aps": {
            "alert": {"title": "New reactions", "body": BODY},
            "sound": "default",
            "thread-id": "post:42",
        },
        "plaudit": {"notification_id": ID, "target_id": "post:42", "target_type": "post"},
    }


async def test_web_push(client: PushClient, clock: ManualClock, certificates: Certificates) -> None:
    server = WebPushServer(clock)
    async with served(server, certificates):
        sender = WebPush(client, clock, ec.generate_private_key(ec.SECP256R1()), server.subject)
        device = server.subscribe("ann")
        asked = await sent(clock, server, sender, push("webpush", device["token"], device["keys"]))
    assert told(asked) == {
        "content-encoding": "aes128gcm",
        "content-type": "application/octet-stream",
        "ttl": "86340",
        "topic": ID,
        "urgency": "normal",
    }
    assert server.messages == [
        {
            "title": "New reactions",
            "body": BODY,
            "tag": ID,
            "lang": "en",
            "data": {"notification_id": ID, "target_id": "post:42", "target_type": "post"},
        }
    ]


async def test_a_webhook(client: PushClient, clock: ManualClock, certificates: Certificates) -> None:
    server = WebhookReceiver(clock, KEY)
    async with served(server, certificates):
        asked = await sent(clock, server, Webhook(client, clock, f"{server.url}/hook", [KEY]), push())
    assert asked.path == "/hook"
    assert told(asked) == {
        "content-type": "application/json",
        "webhook-id": ID,
        "webhook-timestamp": str(START_S + 60),
    }
    assert msgspec.json.decode(asked.body) == {
        "type": "notification.created",
        "timestamp": "2025-10-09T08:53:20.000000Z",
        "data": {
            "id": ID,
            "user_id": "owner",
            "target_id": "post:42",
            "target_type": "post",
            "target_title": "Ünïcode 🎉",
            "title": "New reactions",
            "text": BODY,
            "locale": "en",
            "total": 4,
            "reactions": {"like": 3, "love": 1},
            "sample": [{"id": "ann", "name": "Ann", "avatar_url": "/ann.png"}],
            "others": 3,
        },
    }
