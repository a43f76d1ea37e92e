"""Firebase Cloud Messaging, HTTP v1, with an access token by a service account's grant.

Sources: firebase.google.com/docs/reference/fcm/rest/v1/projects.messages (the message),
firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode and …/docs/cloud-messaging/error-codes (what errors mean),
developers.google.com/identity/protocols/oauth2/service-account#httprest (the grant).
"""

import asyncio
from typing import Any

import jwt
import msgspec

from plaudit.adapters.push.client import PushClient, Reply
from plaudit.ports.clock import Clock
from plaudit.ports.notifications import Channel
from plaudit.ports.push import Push, Verdict

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GRANT_S = 3600
EARLY_S = 120.0  # before the access token ends, so that none ends on its way
SECOND = 1_000_000
NO_RETRY_AFTER_S = 60.0  # what the error page asks for after a 429 without Retry-After


class ServiceAccount(msgspec.Struct, frozen=True):
    """The file that the Firebase console gives out."""

    project_id: str
    client_email: str
    private_key: str
    token_uri: str
    private_key_id: str | None = None

    def __repr__(self) -> str:
        return f"ServiceAccount({self.client_email})"


def service_account(text: bytes) -> ServiceAccount:
    """The account in a file's text. Raises `ValueError`."""
    try:
        account = msgspec.json.decode(text, type=ServiceAccount)
        jwt.encode({}, account.private_key, algorithm="RS256")
    except (msgspec.MsgspecError, jwt.PyJWTError, TypeError, ValueError) as error:
        raise ValueError(f"this is no service account with an RSA key: {error}") from error
    return account


class Fcm:
    """See `plaudit.ports.push.Sender`."""

    channel: Channel = "fcm"
    at_once = 100

    def __init__(self, client: PushClient, clock: Clock, account: ServiceAccount, url: str) -> None:
        self._client = client
        self._clock = clock
        self._account = account
        self._url = f"{url}/v1/projects/{account.project_id}/messages:send"
        self._token = ""
        self._until_s = 0.0
        self._granting = asyncio.Lock()

    def provider(self, push: Push) -> str:
        """There is one."""
        return "fcm"

    async def send(self, push: Push) -> Verdict:
        """Try once."""
        token = await self._access_token()
        if isinstance(token, Verdict):
            return token
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json; charset=UTF-8"}
        reply = await self._client.post(self._url, msgspec.json.encode(self._message(push)), headers)
        if isinstance(reply, Verdict):
            return reply
        if reply.status == 200:
            return Verdict(reason="delivered")
        return self._refused(reply, token)

    def _message(self, push: Push) -> dict[str, Any]:
        """A notification message. Its tag replaces what is shown: `collapse_key` is ignored where there is a
        notification. iOS and web devices that are reached through FCM get theirs by their own headers."""
        ttl_s = max(0, (push.expires_at - self._clock.now_us()) // SECOND)
        return {
            "message": {
                "token": push.device.token if push.device else "",
                "notification": {"title": push.title, "body": push.body},
                "data": {"notification_id": push.id, "target_id": push.target, "target_type": push.type},
                "android": {"ttl": f"{ttl_s}s", "notification": {"tag": push.id}},
                "apns": {"headers": {"apns-collapse-id": push.id}},
                "webpush": {
                    "headers": {"Topic": push.id, "TTL": str(ttl_s)},
                    "notification": {"tag": push.id},
                },
            }
        }

    def _refused(self, reply: Reply, token: str) -> Verdict:
        status, code, fields = _error(reply.body)
        detail = f"{reply.status} {code or status}"
        if code == "UNREGISTERED":
            return Verdict(reason="gone", detail=detail)
        if code == "SENDER_ID_MISMATCH" or (reply.status == 400 and "message.token" in fields):
            return Verdict(reason="suspect", detail=detail)
        if reply.status == 401 and code != "THIRD_PARTY_AUTH_ERROR":
            if token == self._token:
                self._until_s = 0.0
            return Verdict(reason="renew", detail=detail)
        if reply.status == 429 or reply.status >= 500:
            verdict = self._client.slow_down(reply, detail)
            if reply.status == 429 and verdict.retry_after_s is None:
                return msgspec.structs.replace(verdict, retry_after_s=NO_RETRY_AFTER_S)
            return verdict
        return Verdict(reason="our_fault", detail=detail)

    async def _access_token(self) -> str | Verdict:
        """The access token, asked for by one push for all."""
        if self._clock.monotonic_s() < self._until_s:
            return self._token
        async with self._granting:
            if self._clock.monotonic_s() < self._until_s:
                return self._token
            return await self._grant()

    async def _grant(self) -> str | Verdict:
        account, now_s = self._account, self._clock.now_us() // SECOND
        claims = {
            "iss": account.client_email,
            "scope": SCOPE,
            "aud": account.token_uri,
            "iat": now_s,
            "exp": now_s + GRANT_S,
        }
        headers = {"kid": account.private_key_id} if account.private_key_id else None
        signed = jwt.encode(claims, account.private_key, algorithm="RS256", headers=headers)
        body = f"grant_type={GRANT.replace(':', '%3A')}&assertion={signed}".encode()
        form = {"content-type": "application/x-www-form-urlencoded"}
        reply = await self._client.post(account.token_uri, body, form)
        if isinstance(reply, Verdict):
            return reply
        try:
            found = msgspec.json.decode(reply.body, type=dict[str, Any])
            token, lasts_s = str(found["access_token"]), float(found["expires_in"])
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
            token, lasts_s = "", 0.0
        if reply.status != 200 or not token.isprintable() or not token:
            detail = f"no access token: {reply.status} {_oauth_error(reply.body)}"
            if reply.status == 429 or reply.status >= 500:
                return self._client.slow_down(reply, detail)
            return Verdict(reason="our_fault", detail=detail)
        self._token, self._until_s = token, self._clock.monotonic_s() + max(1.0, lasts_s - EARLY_S)
        return token


class _Detail(msgspec.Struct):
    errorCode: str = ""  # noqa: N815 - the name on the wire
    fieldViolations: list[dict[str, str]] = []  # noqa: N815 - the name on the wire


class _Status(msgspec.Struct):
    status: str = ""
    details: list[_Detail] = []


class _Error(msgspec.Struct):
    error: _Status


_errors = msgspec.json.Decoder(_Error)


def _error(body: bytes) -> tuple[str, str, list[str]]:
    """The status, FCM's own code, and the fields that are blamed."""
    try:
        error = _errors.decode(body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "without a reason", "", []
    codes = [detail.errorCode for detail in error.details if detail.errorCode]
    fields = [violation.get("field", "") for detail in error.details for violation in detail.fieldViolations]
    return error.status[:64], codes[0][:64] if codes else "", fields


def _oauth_error(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body, type=dict[str, Any]).get("error", ""))[:64]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "without a reason"
