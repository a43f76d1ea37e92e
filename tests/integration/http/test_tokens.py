"""Tokens that are not good enough: refused with a challenge, and nothing is stored."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from tests.support.api import (
    COUNTS,
    ME,
    REACTIONS,
    SECRET,
    Api,
    assert_problem,
    fresh,
    nothing_stored,
    open_api,
)

AUDIENCE, ISSUER = "plaudit", "https://host.example"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(header: object, claims: object, key: bytes | None = SECRET.encode()) -> str:
    """A token of any shape, signed with HMAC-SHA256 whatever its header says; without a key, not signed."""
    signed = ".".join(b64(json.dumps(part).encode()) for part in (header, claims))
    signature = b"" if key is None else hmac.digest(key, signed.encode(), hashlib.sha256)
    return f"{signed}.{b64(signature)}"


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims, with changes; None leaves one out."""
    now_s = int(time.time())
    good = {"sub": "ann", "exp": now_s + 60, "iat": now_s, "aud": AUDIENCE, "iss": ISSUER}
    return {name: value for name, value in (good | changes).items() if value is not None}


HS256 = {"alg": "HS256", "typ": "JWT"}


def hs256(**changes: Any) -> str:
    return raw(HS256, claims(**changes))


@pytest.fixture(scope="module")
async def strict(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Api]:
    async with open_api(tmp_path_factory.mktemp("data"), audience=AUDIENCE, issuer=ISSUER) as opened:
        yield opened


BAD: dict[str, tuple[str, Callable[[], str]]] = {
    "another scheme": ("token_missing", lambda: "Basic YW5uOmFubg=="),
    "a scheme and no more": ("token_missing", lambda: "Bearer"),
    "no scheme": ("token_missing", hs256),
    "nothing": ("token_missing", lambda: ""),
    "not a token": ("token_invalid", lambda: "Bearer x"),
    "two parts": ("token_invalid", lambda: "Bearer a.b"),
    "four parts": ("token_invalid", lambda: f"Bearer {hs256()}.x"),
    "padding": ("token_invalid", lambda: f"Bearer {hs256()}="),
    "spaces inside": ("token_invalid", lambda: "Bearer " + hs256().replace(".", " .")),
    "not base64": ("token_invalid", lambda: "Bearer !.!.!"),
    "not JSON": ("token_invalid", lambda: f"Bearer {b64(b'{')}.{b64(b'{')}.{b64(b'{')}"),
    "header of another kind": ("token_invalid", lambda: "Bearer " + raw([], claims())),
    "header nested deeply": ("token_invalid", lambda: f"Bearer {b64(b'[' * 4000)}.e30.e30"),
    "claims of another kind": ("token_invalid", lambda: "Bearer " + raw(HS256, ["ann"])),
    "no algorithm": ("token_invalid", lambda: "Bearer " + raw({"typ": "JWT"}, claims())),
    "alg none, unsigned": ("token_invalid", lambda: "Bearer " + raw({"alg": "none"}, claims(), None)),
    "alg none, signed": ("token_invalid", lambda: "Bearer " + raw({"alg": "none"}, claims())),
    "alg NONE": ("token_invalid", lambda: "Bearer " + raw({"alg": "nOnE"}, claims())),
    "alg HS512": ("token_invalid", lambda: "Bearer " + jwt.encode(claims(), SECRET + SECRET, "HS512")),
    "alg hs256": ("token_invalid", lambda: "Bearer " + raw({"alg": "hs256"}, claims())),
    "alg RS256": ("token_invalid", lambda: "Bearer " + raw({"alg": "RS256"}, claims())),
    "critical extension": ("token_invalid", lambda: "Bearer " + raw({**HS256, "crit": ["exp"]}, claims())),
    "another secret": ("token_invalid", lambda: "Bearer " + raw(HS256, claims(), b"x" * 32)),
    "empty secret": ("token_invalid", lambda: "Bearer " + raw(HS256, claims(), b"")),
    "cut signature": ("token_invalid", lambda: "Bearer " + hs256()[:-4]),
    "10 KB": ("token_invalid", lambda: "Bearer " + hs256(pad="x" * 10_000)),
    "expired": ("token_expired", lambda: "Bearer " + hs256(exp=int(time.time()) - 3600)),
    "expired at the beginning of time": ("token_expired", lambda: "Bearer " + hs256(exp=0)),
    "expired before it": ("token_expired", lambda: "Bearer " + hs256(exp=-1e300)),
    "no exp": ("token_invalid", lambda: "Bearer " + hs256(exp=None)),
    "exp as text": ("token_invalid", lambda: "Bearer " + hs256(exp="2999999999")),
    "exp as bool": ("token_invalid", lambda: "Bearer " + hs256(exp=True)),
    "not yet valid": ("token_invalid", lambda: "Bearer " + hs256(nbf=int(time.time()) + 3600)),
    "nbf without end": ("token_invalid", lambda: "Bearer " + hs256(nbf=10**400)),
    "another audience": ("token_invalid", lambda: "Bearer " + hs256(aud="another")),
    "no audience": ("token_invalid", lambda: "Bearer " + hs256(aud=None)),
    "other audiences": ("token_invalid", lambda: "Bearer " + hs256(aud=["a", "b"])),
    "audience as a part": ("token_invalid", lambda: "Bearer " + hs256(aud="plaudit-admin")),
    "another issuer": ("token_invalid", lambda: "Bearer " + hs256(iss="https://evil.example")),
    "no issuer": ("token_invalid", lambda: "Bearer " + hs256(iss=None)),
    "no user": ("token_invalid", lambda: "Bearer " + hs256(sub=None)),
    "user is no id": ("token_invalid", lambda: "Bearer " + hs256(sub="a b")),
    "empty user": ("token_invalid", lambda: "Bearer " + hs256(sub="")),
    "user as float": ("token_invalid", lambda: "Bearer " + hs256(sub=1.5)),
    "user as list": ("token_invalid", lambda: "Bearer " + hs256(sub=["ann"])),
    "scope of another kind": ("token_invalid", lambda: "Bearer " + hs256(scope={"service": True})),
    "grants of another kind": ("token_invalid", lambda: "Bearer " + hs256(targets="*")),
    "1001 grants": ("token_invalid", lambda: "Bearer " + hs256(targets=["t"] * 1001)),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_token_is_refused(strict: Api, target: str, name: str) -> None:
    code, make = BAD[name]
    body = {"target_id": target, "reaction_type": "like"}
    headers = {"Authorization": make()}
    with nothing_stored(strict):
        for method, url in [("POST", REACTIONS), ("PUT", REACTIONS), ("GET", ME)]:
            json_body = None if method == "GET" else body
            refused = await strict.call(method, url, headers=headers, json=json_body, status=401)
            assert_problem(refused, code)
            token = headers["Authorization"].partition(" ")[2]
            assert not token or len(token) < 5 or token not in refused.text


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_token_reads_nothing_either(strict: Api, target: str, name: str) -> None:
    """Not even what is public: where reads without a token are limited, anything else would get round that."""
    code, make = BAD[name]
    url = f"{COUNTS}?target_ids={target}"
    await strict.call("GET", url)
    headers = {"Authorization": make()}
    # In the near cache, and asked for in a way that is looked at more closely.
    for path in (url, f"{url}&_=1", *(f"{REACTIONS}/{each}" for each in (target, f"{target}/reactors"))):
        refused = await strict.call("GET", path, headers=headers, status=401)
        assert_problem(refused, code)
        assert refused.headers["cache-control"] == "no-store"
    assert_problem(
        await strict.call("GET", f"{REACTIONS}/stream?target_ids={target}", headers=headers, status=401), code
    )
    good = await strict.call("GET", url, headers={"Authorization": "Bearer " + hs256()})
    assert good.headers["cache-control"] == "public, max-age=1"


GOOD: dict[str, Callable[[], str]] = {
    "plain": hs256,
    "one of the audiences": lambda: hs256(aud=["other", AUDIENCE]),
    "fractions of seconds": lambda: hs256(exp=time.time() + 60.5),
    "an end beyond all calendars": lambda: hs256(exp=1e300),
    "user as integer": lambda: hs256(sub=42),
    "claims of others": lambda: hs256(name="Ann", roles=["x"], nested={"a": [1]}),
    "user of a service": lambda: hs256(scope="read service"),
    "scope as a list": lambda: hs256(scope=["service"]),
}


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
@pytest.mark.parametrize("name", GOOD)
async def test_a_good_token_is_not(strict: Api, target: str, name: str, scheme: str) -> None:
    body = {"target_id": target, "reaction_type": "like"}
    headers = {"Authorization": scheme + GOOD[name]()}
    for _ in range(2):
        await strict.call("PUT", REACTIONS, headers=headers, json=body)


@pytest.fixture(scope="module")
def rsa_key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
async def keyed(
    tmp_path_factory: pytest.TempPathFactory, anyio_backend: str, rsa_key: RSAPrivateKey
) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("data")
    jwk = RSAAlgorithm.to_jwk(rsa_key.public_key(), as_dict=True) | {"kid": "one"}
    (folder / "keys.json").write_text(json.dumps({"keys": [jwk]}))
    async with open_api(folder, auth_secret=None, jwks=str(folder / "keys.json")) as opened:
        yield opened


async def test_a_public_key_is_no_secret(keyed: Api, target: str, rsa_key: RSAPrivateKey) -> None:
    public = rsa_key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    body = {"target_id": target, "reaction_type": "like"}
    forged = [
        raw({"alg": alg, "kid": kid}, claims(), key)
        for alg in ("HS256", "RS256", "none")
        for kid in ("one", None, "two", "../keys.json")
        for key in (pem, pem.strip(), json.dumps(RSAAlgorithm.to_jwk(public)).encode(), b"", None)
    ]
    with nothing_stored(keyed):
        for token in forged:
            headers = {"Authorization": f"Bearer {token}"}
            refused = await keyed.call("POST", REACTIONS, headers=headers, json=body, status=401)
            assert_problem(refused, "token_invalid")


async def test_a_token_brings_no_key_of_its_own(keyed: Api, target: str) -> None:
    own = generate_private_key(65537, 2048)
    jwk = RSAAlgorithm.to_jwk(own.public_key(), as_dict=True)
    body = {"target_id": target, "reaction_type": "like"}
    with nothing_stored(keyed):
        for header in ({"jwk": jwk}, {"jku": "https://evil.example/keys"}, {"kid": "one"}, {}):
            token = jwt.encode(claims(), own, "RS256", headers=header)
            headers = {"Authorization": f"Bearer {token}"}
            refused = await keyed.call("POST", REACTIONS, headers=headers, json=body, status=401)
            assert_problem(refused, "token_invalid")


@pytest.mark.parametrize("header", [{"kid": "one"}, {}])
async def test_a_token_of_the_right_key_is_good(
    keyed: Api, target: str, rsa_key: RSAPrivateKey, header: dict[str, str]
) -> None:
    token = jwt.encode(claims(sub=fresh("u")), rsa_key, "RS256", headers=header)
    body = {"target_id": target, "reaction_type": "like"}
    await keyed.call("POST", REACTIONS, headers={"Authorization": f"Bearer {token}"}, json=body)
