"""Providers and a receiver that check everything a sender sends as the vendors publish it, over TLS and HTTP/2.

Each answers what a test has put into `answers`, else yes, and notes every fault it finds in `problems`.
"""

import base64
import hmac
import re
import uuid
from functools import cache
from typing import Any, ClassVar
from urllib.parse import parse_qs

import http_ece  # type: ignore[import-untyped] # it has no stubs
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from plaudit.adapters.push.webpush import b64, point, unb64
from plaudit.domain.catalogue import Catalogue
from plaudit.http.openapi import document
from plaudit.ports.clock import Clock
from tests.support.described import Described
from tests.support.provider import Answer, Asked, Provider

Json = dict[str, Any]
SECOND = 1_000_000


@cache
def _account_key() -> rsa.RSAPrivateKey:
    """The key of the service account: one for all servers, as it takes longer to make than most tests."""
    return rsa.generate_private_key(65537, 2048)


class FcmServer(Provider):
    """FCM HTTP v1 and the token endpoint of Google's OAuth 2.

    Pages: firebase.google.com/docs/reference/fcm/rest/v1/projects.messages and …/projects.messages/send;
    developers.google.com/identity/protocols/oauth2/service-account#httprest.
    """

    PROJECT = "plaudit-test"
    EMAIL = "pusher@plaudit-test.iam.gserviceaccount.com"
    # projects.messages: the fields we use, with the types that page gives them.
    FIELDS: ClassVar[Json] = {
        "token": str,
        "notification": {"title": str, "body": str},
        "data": {"*": str},
        "android": {"ttl": str, "notification": {"tag": str}},
        "apns": {"headers": {"*": str}},
        "webpush": {"headers": {"*": str}, "notification": {"tag": str}},
    }

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.key = _account_key()
        self.tokens: dict[str, int] = {}
        self.grants: list[Answer] = []
        self.lasts_s = 3599

    def account(self) -> bytes:
        """The service account's file."""
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return msgspec.json.encode(
            {
                "type": "service_account",
                "project_id": self.PROJECT,
                "private_key_id": "k1",
                "private_key": pem,
                "client_email": self.EMAIL,
                "token_uri": f"{self.url}/token",
            }
        )

    def check(self, asked: Asked) -> Answer:
        if asked.path == "/token":
            return self._grant(asked)
        self.want(asked.path == f"/v1/projects/{self.PROJECT}/messages:send", asked.path)
        scheme, _, token = asked.headers["authorization"].partition(" ")
        self.want(scheme == "Bearer", "not a bearer token")
        now_s = self.clock.now_us() // SECOND
        if self.tokens.get(token, 0) <= now_s:
            return self.error(401, "UNAUTHENTICATED")
        self.want(asked.headers["content-type"].startswith("application/json"), "content type")
        body = msgspec.json.decode(asked.body)
        self.want(body.keys() == {"message"}, f"fields {body.keys()}")
        self._fits(body["message"], self.FIELDS, "message")
        message = body["message"]
        # "A duration in seconds with up to nine fractional digits, ending with 's'", at most four weeks.
        ttl = re.fullmatch(r"(\d+)s", message["android"]["ttl"])
        self.want(ttl and int(ttl[1]) <= 2_419_200, "ttl")
        self.want(message["notification"].keys() == {"title", "body"}, "a notification without title or body")
        tag = message["android"]["notification"]["tag"]
        web = message["webpush"]
        ids = {tag, message["apns"]["headers"]["apns-collapse-id"], web["headers"]["Topic"]}
        ids.add(message["data"]["notification_id"])
        self.want(ids == {web["notification"]["tag"]}, f"one message is one entry everywhere: {ids}")
        self.want(web["headers"]["TTL"].isdigit(), "TTL (RFC 8030, 5.2)")
        self.want(len(message["apns"]["headers"]["apns-collapse-id"].encode()) <= 64, "apns-collapse-id")
        self.want(re.fullmatch(r"[A-Za-z0-9_-]{1,32}", message["webpush"]["headers"]["Topic"]), "Topic")
        self.want(len(asked.body) <= 4096 + 2048, "a payload has at most 4096 bytes")
        if (answer := self.scripted(message["token"])) is not None:
            return answer
        self.show(f"{message['token']} {tag}", message["notification"]["body"])
        name = f"projects/{self.PROJECT}/messages/0:{len(self.asked)}"
        return Answer(200, msgspec.json.encode({"name": name}))

    def _fits(self, value: Any, fields: Any, where: str) -> None:
        if not isinstance(fields, dict):
            self.want(isinstance(value, fields), f"{where} is {value!r}")
            return
        for name, inner in value.items():
            known = fields.get("*", fields.get(name))
            self.want(known is not None, f"unknown field {where}.{name}")
            if known is not None:
                self._fits(inner, known, f"{where}.{name}")

    def _grant(self, asked: Asked) -> Answer:
        self.want(asked.headers["content-type"] == "application/x-www-form-urlencoded", "form type")
        form = parse_qs(asked.body.decode(), strict_parsing=True)
        self.want(form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"], "grant type")
        [assertion] = form["assertion"]
        header = jwt.get_unverified_header(assertion)
        self.want(header == {"alg": "RS256", "typ": "JWT", "kid": "k1"}, f"header {header}")
        claims = jwt.decode(
            assertion,
            self.key.public_key(),
            algorithms=["RS256"],
            audience=f"{self.url}/token",
            options={"verify_exp": False, "verify_iat": False},
        )
        now_s = self.clock.now_us() // SECOND
        self.want(claims["iss"] == self.EMAIL, "iss")
        self.want(claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging", "scope")
        self.want(abs(claims["iat"] - now_s) <= 60, "iat")
        self.want(0 < claims["exp"] - claims["iat"] <= 3600, "exp is at most an hour after iat")
        if self.grants:
            return self.grants.pop(0)
        token = f"ya29.{uuid.uuid4().hex}"
        self.tokens[token] = now_s + self.lasts_s
        return Answer(
            200,
            msgspec.json.encode({"access_token": token, "expires_in": self.lasts_s, "token_type": "Bearer"}),
        )

    @staticmethod
    def error(
        status: int, name: str, code: str | None = None, field: str | None = None, **more: str
    ) -> Answer:
        """An error as …/fcm/rest/v1/ErrorCode shows it."""
        details: list[Json] = []
        if code:
            details.append(
                {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}
            )
        if field:
            violations = [{"field": field, "description": "Invalid registration token"}]
            details.append(
                {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}
            )
        body = {"error": {"code": status, "message": "no", "status": name, "details": details}}
        headers = tuple((key.replace("_", "-"), value) for key, value in more.items())
        return Answer(status, msgspec.json.encode(body), headers)


class ApnsServer(Provider):
    """APNs. Pages below developer.apple.com/documentation/usernotifications:
    sending-notification-requests-to-apns, establishing-a-token-based-connection-to-apns,
    handling-notification-responses-from-apns, generating-a-remote-notification (the payload)."""

    TEAM, KEY, TOPIC = "DEF123GHIJ", "ABC123DEFG", "com.example.app"
    HEADERS = frozenset(
        {
            *("authorization", "apns-id", "apns-topic", "apns-push-type", "apns-priority", "apns-expiration"),
            *(
                "apns-collapse-id",
                "content-type",
                "content-length",
                "user-agent",
                "accept",
                "accept-encoding",
            ),
            "host",
        }
    )

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.tokens = set[str]()
        self._token_of: dict[int, str] = {}  # by connection

    def pem(self) -> str:
        """The .p8 file."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def check(self, asked: Asked) -> Answer:
        path = re.fullmatch(r"/3/device/([0-9a-fA-F]+)", asked.path)
        self.want(path, asked.path)
        headers = asked.headers
        self.want(headers.keys() <= self.HEADERS, f"headers {headers.keys() - self.HEADERS}")
        self.want(str(uuid.UUID(headers["apns-id"])) == headers["apns-id"], "apns-id is a canonical UUID")
        self.want(headers["apns-topic"] == self.TOPIC, "apns-topic")
        # "alert" for what is shown; a background push has priority 5, and 1 never wakes the device.
        self.want(headers["apns-push-type"] == "alert", "apns-push-type")
        self.want(headers["apns-priority"] in {"5", "10"}, "apns-priority")
        now_s = self.clock.now_us() // SECOND
        self.want(now_s < int(headers["apns-expiration"]) <= now_s + 30 * 24 * 3600, "apns-expiration")
        self.want(0 < len(headers["apns-collapse-id"].encode()) <= 64, "apns-collapse-id")
        self.want(len(asked.body) <= 4096, "a payload has at most 4 KB")
        payload = msgspec.json.decode(asked.body)
        alert = payload["aps"]["alert"]
        self.want(isinstance(alert["title"], str) and isinstance(alert["body"], str), "alert")
        known = {"alert", "badge", "sound", "thread-id", "category", "content-available", "mutable-content"}
        self.want(payload["aps"].keys() <= known, "aps")
        texts = ("sound", "thread-id", "category")
        self.want(all(isinstance(payload["aps"].get(name, ""), str) for name in texts), "aps: no text")
        if (refusal := self._token(headers["authorization"], asked.connection)) is not None:
            return refusal
        device = path[1] if path else ""
        if (answer := self.scripted(device)) is not None:
            return answer
        self.show(f"{device} {headers['apns-collapse-id']}", alert["body"])
        return Answer(200, headers=(("apns-id", headers["apns-id"]),))

    def _token(self, authorization: str, connection: int) -> Answer | None:
        scheme, _, token = authorization.partition(" ")
        self.want(scheme == "bearer", "scheme")
        header = jwt.get_unverified_header(token)
        self.want((header["alg"], header["kid"]) == ("ES256", self.KEY), f"header {header}")
        self.want(
            len(unb64(token.rpartition(".")[2])) == 64, "an ES256 signature has 64 bytes (RFC 7518, 3.4)"
        )
        claims = jwt.decode(token, self.key.public_key(), algorithms=["ES256"], options={"verify_iat": False})
        self.want(claims.keys() == {"iss", "iat"} and claims["iss"] == self.TEAM, f"claims {claims}")
        now_s = self.clock.now_us() // SECOND
        if now_s - claims["iat"] > 3600:
            return self.error(403, "ExpiredProviderToken")
        # Each process signs its own, also one that takes the place of another: so this is by connection.
        before = self._token_of.get(connection, token)
        if before != token:
            made_s = jwt.decode(before, options={"verify_signature": False})["iat"]
            if claims["iat"] - made_s < 20 * 60:
                self.problems.append("the provider token is renewed more often than every 20 minutes")
                return self.error(429, "TooManyProviderTokenUpdates")
        self._token_of[connection] = token
        self.tokens.add(token)
        return None

    @staticmethod
    def error(status: int, reason: str, timestamp: int | None = None) -> Answer:
        """An error as the responses page shows it."""
        body: Json = {"reason": reason} | ({"timestamp": timestamp} if timestamp is not None else {})
        return Answer(status, msgspec.json.encode(body))


class WebPushServer(Provider):
    """A push service. Pages: RFC 8030 (5: requests and answers), RFC 8291 and 8188 (the message), RFC 8292 (VAPID)."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.agents: dict[str, tuple[ec.EllipticCurvePrivateKey, bytes]] = {}
        self.messages: list[Json] = []
        self.subject = "mailto:ops@example.com"
        self.vapid: str | None = None

    def subscribe(self, name: str) -> Json:
        """A subscription as a browser gives it, as the body of `POST /api/v1/me/devices`."""
        key, auth = ec.generate_private_key(ec.SECP256R1()), uuid.uuid4().bytes
        self.agents[f"/push/{name}"] = key, auth
        keys = {"p256dh": b64(point(key.public_key())), "auth": b64(auth)}
        return {"kind": "webpush", "token": f"{self.url}/push/{name}", "keys": keys}

    def check(self, asked: Asked) -> Answer:
        headers = asked.headers
        self.want(headers["ttl"].isdigit() and int(headers["ttl"]) > 0, "TTL (RFC 8030, 5.2)")
        self.want(headers["urgency"] in {"very-low", "low", "normal", "high"}, "Urgency (5.3)")
        self.want(re.fullmatch(r"[A-Za-z0-9_-]{1,32}", headers["topic"]), "Topic (5.4)")
        self.want(headers["content-encoding"] == "aes128gcm", "Content-Encoding (RFC 8291, 4)")
        self._vapid(headers["authorization"])
        key, auth = self.agents[asked.path]
        self.want(len(asked.body) <= 4096, "a message has at most 4096 bytes (RFC 8030, 7.2)")
        self.want(int.from_bytes(asked.body[16:20], "big") >= 18 and asked.body[20] == 65, "RFC 8188 header")
        text = http_ece.decrypt(asked.body, private_key=key, auth_secret=auth, version="aes128gcm")
        message = msgspec.json.decode(text)
        if (answer := self.scripted(asked.path)) is not None:
            return answer
        self.messages.append(message)
        self.show(f"{asked.path} {headers['topic']}", message["body"])
        return Answer(201, headers=(("location", f"{self.url}/message/{len(self.asked)}"),))

    def _vapid(self, authorization: str) -> None:
        parts = re.fullmatch(r"vapid t=([A-Za-z0-9_.-]+), k=([A-Za-z0-9_-]+)", authorization)
        assert parts is not None, authorization
        raw = unb64(parts[2])
        self.want(len(raw) == 65, "k is an uncompressed point (RFC 8292, 3.2)")
        self.want(self.vapid in {None, parts[2]}, "another key")
        self.vapid = parts[2]
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
        self.want(len(unb64(parts[1].rpartition(".")[2])) == 64, "an ES256 signature has 64 bytes")
        options: Any = {"verify_exp": False}
        claims = jwt.decode(parts[1], public, algorithms=["ES256"], audience=self.url, options=options)
        now_s = self.clock.now_us() // SECOND
        self.want(now_s < claims["exp"] <= now_s + 24 * 3600, "exp is at most 24 h ahead (RFC 8292, 2)")
        self.want(claims["sub"] == self.subject, "sub")


class WebhookReceiver(Provider):
    """A host app. Page: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md; the body is as the
    OpenAPI document has it."""

    http = "2"
    described = Described(document(Catalogue()))

    def __init__(self, clock: Clock, *keys: bytes) -> None:
        super().__init__(clock)
        self.keys = keys
        self.events: list[Json] = []

    def check(self, asked: Asked) -> Answer:
        headers = asked.headers
        id_, at = headers["webhook-id"], headers["webhook-timestamp"]
        self.want(abs(int(at) - self.clock.now_us() // SECOND) <= 300, "webhook-timestamp")
        self.want(headers["content-type"] == "application/json", "content type")
        signed = f"{id_}.{at}.".encode() + asked.body
        given = headers["webhook-signature"].split(" ")
        for key in self.keys:
            digest = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
            self.want(f"v1,{digest}" in given, "signature")
        event = msgspec.json.decode(asked.body)
        webhook = self.described.document["webhooks"][event["type"]]["post"]
        for parameter in webhook["parameters"]:
            self.described.validate(headers[parameter["name"]], parameter["schema"])
        self.described.validate(event, webhook["requestBody"]["content"]["application/json"]["schema"])
        if (answer := self.scripted(event["data"]["target_id"])) is not None:
            return answer
        self.events.append(event)
        self.show(id_, event["data"]["text"])
        return Answer(204)


def vapid_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The file of a VAPID key."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
