"""Webhooks to the host app, signed as Standard Webhooks says.

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md (headers, signatures, several secrets
while one is replaced).
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from plaudit.adapters.push.client import PushClient
from plaudit.ports.clock import Clock
from plaudit.ports.notifications import Channel
from plaudit.ports.push import Push, Verdict

PREFIX = "whsec_"
MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64
SECOND = 1_000_000


def webhook_key(secret: str) -> bytes:
    """The key in a secret such as `whsec_…`. Raises `ValueError`."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"a secret is {PREFIX} and base64: {error}") from error
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(f"a secret has {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes")
    return key


class Webhook:
    """See `plaudit.ports.push.Sender`. Signs with every one of `keys`, so that one can be replaced without a gap."""

    channel: Channel = "webhook"
    at_once = 64

    def __init__(self, client: PushClient, clock: Clock, url: str, keys: Sequence[bytes]) -> None:
        self._client = client
        self._clock = clock
        self._url = url
        self._keys = tuple(keys)

    def provider(self, push: Push) -> str:
        """There is one."""
        return "webhook"

    async def send(self, push: Push) -> Verdict:
        """Try once."""
        body = msgspec.json.encode(_payload(push))
        now_s = self._clock.now_us() // SECOND
        headers = {
            "content-type": "application/json",
            "webhook-id": push.id,
            "webhook-timestamp": str(now_s),
            "webhook-signature": self._signatures(push.id, now_s, body),
        }
        reply = await self._client.post(self._url, body, headers)
        if isinstance(reply, Verdict):
            return reply
        detail = str(reply.status)
        if 200 <= reply.status < 300:
            return Verdict(reason="delivered")
        if 300 <= reply.status < 400:
            return Verdict(reason="refused", detail=f"{detail}: redirects are not followed")
        if reply.status == 410:
            return Verdict(reason="refused", detail=f"{detail}: the receiver wants no more")
        return self._client.slow_down(reply, detail)

    def _signatures(self, id_: str, now_s: int, body: bytes) -> str:
        signed = f"{id_}.{now_s}.".encode() + body
        digests = (hmac.digest(key, signed, "sha256") for key in self._keys)
        return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def _payload(push: Push) -> dict[str, object]:
    """As `webhooks` of the OpenAPI document has it."""
    return {
        "type": "notification.created",
        "timestamp": _iso(push.at),
        "data": {
            "id": push.id,
            "user_id": push.owner,
            "target_id": push.target,
            "target_type": push.type,
            "target_title": push.target_title,
            "title": push.title,
            "text": push.body,
            "locale": push.locale,
            "total": push.total,
            "reactions": push.reactions,
            "sample": [person._asdict() for person in push.sample],
            "others": push.others,
        },
    }


def _iso(at_us: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    return f"{_second(at_us // SECOND)}.{at_us % SECOND:06d}Z"


@lru_cache(100)  # messages come by the hundred, all of one moment
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).replace(tzinfo=None).isoformat()
