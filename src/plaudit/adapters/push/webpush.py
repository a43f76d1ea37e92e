"""Web Push: whichever push service a browser chose, with VAPID and an encrypted message.

Sources: RFC 8030 (the request: TTL, Topic, Urgency, and what its answers mean), RFC 8291 (the keys), RFC 8188
(`aes128gcm`), RFC 8292 (VAPID: a token for the push service's origin, good for at most 24 h).
"""

import base64
import hmac
import secrets
from collections import OrderedDict
from typing import Any
from urllib.parse import urlsplit

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from plaudit.adapters.push.client import PushClient
from plaudit.ports.clock import Clock
from plaudit.ports.notifications import Channel
from plaudit.ports.push import Push, Verdict

TOKEN_S = 12 * 3600
ORIGINS = 1_000
RECORD_BYTES = 4096
SECOND = 1_000_000


def vapid_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """The key in a PEM file. Raises `ValueError`."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"this is no private key in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("this is no key of the curve P-256")
    return key


class WebPush:
    """See `plaudit.ports.push.Sender`. `subject` is where a push service reaches whoever runs this."""

    channel: Channel = "webpush"
    at_once = 100

    def __init__(
        self, client: PushClient, clock: Clock, key: ec.EllipticCurvePrivateKey, subject: str
    ) -> None:
        self._client = client
        self._clock = clock
        self._key = key
        self._subject = subject
        self._public = b64(point(key.public_key()))
        self._tokens: OrderedDict[str, tuple[str, float]] = OrderedDict()  # origin -> token, until when

    def provider(self, push: Push) -> str:
        """The push service."""
        return origin(push.device.token if push.device else "")

    async def send(self, push: Push) -> Verdict:
        """Try once."""
        device = push.device
        if device is None:
            return Verdict(reason="our_fault", detail="no device")
        try:
            body = encrypt(msgspec.json.encode(_payload(push)), device.more["p256dh"], device.more["auth"])
        except (ValueError, KeyError) as error:
            return Verdict(reason="gone", detail=f"keys that cannot be used: {error}")
        headers = {
            "authorization": f"vapid t={self._vapid(origin(device.token))}, k={self._public}",
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(max(0, (push.expires_at - self._clock.now_us()) // SECOND)),
            "topic": push.id,
            "urgency": "normal",
        }
        reply = await self._client.post(device.token, body, headers)
        if isinstance(reply, Verdict):
            return reply
        detail = str(reply.status)
        if reply.status in {200, 201, 202}:
            return Verdict(reason="delivered")
        if reply.status in {404, 410}:
            return Verdict(reason="gone", detail=detail)
        if reply.status == 429 or reply.status >= 500:
            return self._client.slow_down(reply, detail)
        if 300 <= reply.status < 400:
            return Verdict(reason="refused", detail=f"{detail}: redirects are not followed")
        return Verdict(reason="our_fault", detail=detail)

    def _vapid(self, audience: str) -> str:
        """A signed token for this push service, kept while it is good for an hour more."""
        now_s = self._clock.now_us() // SECOND
        token, until_s = self._tokens.get(audience, ("", 0.0))
        if until_s <= now_s:
            claims = {"aud": audience, "exp": now_s + TOKEN_S, "sub": self._subject}
            token = jwt.encode(claims, self._key, algorithm="ES256")
            self._tokens[audience] = token, now_s + TOKEN_S - 3600
        self._tokens.move_to_end(audience)
        while len(self._tokens) > ORIGINS:
            self._tokens.popitem(last=False)
        return token


def encrypt(
    text: bytes,
    p256dh: str,
    auth: str,
    *,
    own: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """`text` for the subscription with these keys (base64url), in one record. Raises `ValueError` for bad keys.

    `own` and `salt` are made up afresh; the test with the numbers of RFC 8291, appendix A, gives them.
    """
    theirs, secret = unb64(p256dh), unb64(auth)
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs)
    own = own or ec.generate_private_key(ec.SECP256R1())
    salt = salt or secrets.token_bytes(16)
    ours = point(own.public_key())
    shared = own.exchange(ec.ECDH(), public)
    keying = _hkdf(secret, shared, b"WebPush: info\0" + theirs + ours, 32)
    key = _hkdf(salt, keying, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _hkdf(salt, keying, b"Content-Encoding: nonce\0", 12)
    sealed = AESGCM(key).encrypt(nonce, text + b"\x02", None)  # 2: the last record
    return salt + RECORD_BYTES.to_bytes(4, "big") + bytes([len(ours)]) + ours + sealed


def _hkdf(salt: bytes, secret: bytes, info: bytes, size: int) -> bytes:
    """HKDF (RFC 5869) with SHA-256 for at most one block."""
    return hmac.digest(hmac.digest(salt, secret, "sha256"), info + b"\x01", "sha256")[:size]


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    """The 65 bytes of an uncompressed point."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def origin(url: str) -> str:
    """Scheme, host and port (RFC 6454, 6.1)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def b64(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """The bytes of base64url with or without padding. Raises `ValueError`."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _payload(push: Push) -> dict[str, Any]:
    """What the page's service worker gets; `tag` replaces what is shown."""
    return {
        "title": push.title,
        "body": push.body,
        "tag": push.id,
        "lang": push.locale,
        "data": {"notification_id": push.id, "target_id": push.target, "target_type": push.type},
    }
