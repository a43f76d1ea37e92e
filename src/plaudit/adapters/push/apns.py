"""The Apple Push Notification service over one multiplexed HTTP/2 connection, with a provider token.

Sources, below developer.apple.com/documentation/usernotifications: sending-notification-requests-to-apns (headers),
handling-notification-responses-from-apns (status codes and reasons), establishing-a-token-based-connection-to-apns (the
token: renewed no more often than every 20 minutes, and not older than 60).
"""

import uuid
from typing import Any

import jwt
import msgspec

from plaudit.adapters.push.client import PushClient, Reply
from plaudit.ports.clock import Clock
from plaudit.ports.notifications import Channel
from plaudit.ports.push import Push, Verdict

RENEW_AFTER_S = 40 * 60.0
RENEW_AT_MOST_EVERY_S = 20 * 60.0
SECOND = 1_000_000
SUSPECT = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic"})


class ApnsAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A signing key of a team, and the app it pushes to. `key` is the PEM text of the .p8 file."""

    key: str
    key_id: str
    team_id: str
    topic: str

    def __repr__(self) -> str:
        return f"ApnsAccount({self.team_id}, {self.key_id})"

    def sign(self, now_s: int) -> str:
        """A provider token. Raises `ValueError` for what is no P-256 key."""
        try:
            headers = {"kid": self.key_id}
            return jwt.encode(
                {"iss": self.team_id, "iat": now_s}, self.key, algorithm="ES256", headers=headers
            )
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            raise ValueError(f"this is no .p8 key: {error}") from error


class Apns:
    """See `plaudit.ports.push.Sender`. `urls` by environment: `production` and `sandbox`."""

    channel: Channel = "apns"
    at_once = 100

    def __init__(self, client: PushClient, clock: Clock, account: ApnsAccount, urls: dict[str, str]) -> None:
        self._client = client
        self._clock = clock
        self._account = account
        self._urls = urls
        self._token = account.sign(clock.now_us() // SECOND)
        self._made_s = clock.monotonic_s()

    def provider(self, push: Push) -> str:
        """One for each environment; the real one is the channel's."""
        return "apns" if _environment(push) == "production" else "apns-sandbox"

    async def send(self, push: Push) -> Verdict:
        """Try once."""
        if self._age_s() >= RENEW_AFTER_S:
            self._renew()
        token = self._token
        device = push.device.token if push.device else ""
        url = f"{self._urls[_environment(push)]}/3/device/{device}"
        headers = {
            "authorization": f"bearer {token}",
            "apns-id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{push.id}/{device}")),
            "apns-topic": self._account.topic,
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-expiration": str(push.expires_at // SECOND),
            "apns-collapse-id": push.id,
            "content-type": "application/json",
        }
        reply = await self._client.post(url, msgspec.json.encode(_payload(push)), headers)
        if isinstance(reply, Verdict):
            return reply
        if reply.status == 200:
            return Verdict(reason="delivered")
        return self._refused(reply, token)

    def _refused(self, reply: Reply, token: str) -> Verdict:
        reason, at_ms = _reason(reply.body)
        detail = f"{reply.status} {reason}"
        if reply.status == 410:
            return Verdict(reason="gone", detail=detail, gone_at=at_ms * 1000 if at_ms else None)
        if reason in SUSPECT:
            return Verdict(reason="suspect", detail=detail)
        if reason == "ExpiredProviderToken":
            if token == self._token and self._age_s() < RENEW_AT_MOST_EVERY_S:
                # A new one would only be refused for coming too early; the clock may be wrong.
                wait_s = RENEW_AT_MOST_EVERY_S - self._age_s()
                return Verdict(reason="slow_down", detail=detail, retry_after_s=min(wait_s, 60.0))
            if token == self._token:
                self._renew()
            return Verdict(reason="renew", detail=detail)
        if reply.status == 429 or reply.status >= 500:
            verdict = self._client.slow_down(reply, detail)
            # "Too many requests were made consecutively to the same device token."
            return msgspec.structs.replace(verdict, only_device=reason == "TooManyRequests")
        return Verdict(reason="our_fault", detail=detail)

    def _age_s(self) -> float:
        return self._clock.monotonic_s() - self._made_s

    def _renew(self) -> None:
        self._token = self._account.sign(self._clock.now_us() // SECOND)
        self._made_s = self._clock.monotonic_s()


def _environment(push: Push) -> str:
    return push.device.more.get("environment", "production") if push.device else "production"


def _payload(push: Push) -> dict[str, Any]:
    return {
        "aps": {
            "alert": {"title": push.title, "body": push.body},
            "sound": "default",
            "thread-id": push.target,
        },
        "plaudit": {"notification_id": push.id, "target_id": push.target, "target_type": push.type},
    }


class _Refusal(msgspec.Struct):
    reason: str = ""
    timestamp: int = 0


_refusals = msgspec.json.Decoder(_Refusal)


def _reason(body: bytes) -> tuple[str, int]:
    """The reason, and of a token that is gone since when (milliseconds UTC)."""
    try:
        found = _refusals.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "without a reason", 0
    return found.reason[:64], max(0, min(found.timestamp, 1 << 50))
