"""Keys and tokens, good ones and hostile ones, and what refuses them."""

import json
from typing import Any

import pytest

from plaudit.http.auth import AuthConfig, Authenticator, Denied
from tests.unit.http.signing import SECRET, FakeClock, b64, bearer, claims, hs256, private

RSA, EC, ED = private("RS256"), private("ES256"), private("EdDSA")
THIEF = private("RS256", "thief")
HS = {"alg": "HS256", "typ": "JWT"}
GOOD = hs256(HS, claims())


def by_secret(clock: FakeClock, **changes: Any) -> Authenticator:
    return Authenticator(AuthConfig(**{"secret": SECRET, **changes}), clock)


async def refused(authenticator: Authenticator, authorization: bytes | None) -> str:
    with pytest.raises(Denied) as caught:
        await authenticator.authenticate(authorization)
    if authorization is not None:
        assert authenticator.cached(authorization) is None
    return caught.value.code


def header(**members: object) -> bytes:
    """A token that is good but for its header."""
    return hs256({**HS, **members}, claims())


def with_payload(payload: object) -> bytes:
    return hs256(HS, payload)


def resigned(authorization: bytes, signature: bytes) -> bytes:
    return authorization.rsplit(b".", 1)[0] + b"." + b64(signature)


def unsigned(alg: str, signature: bytes = b"") -> bytes:
    parts = [b64(json.dumps(part).encode()) for part in ({"alg": alg}, claims())]
    return bearer(b".".join([*parts, signature]))


def confused(public: bytes, kid: str | None = "rsa") -> bytes:
    """The public key as if it were the HMAC secret (RFC 8725 section 2.1)."""
    return hs256({"alg": "HS256", "kid": kid}, claims(), public)
