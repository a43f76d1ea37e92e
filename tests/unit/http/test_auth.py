"""Every token that must not get in, every one that must, and what is remembered of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from plaudit.domain.errors import Invalid, Unavailable
from plaudit.domain.principal import Principal
from plaudit.http.auth import AuthConfig, Authenticator, Denied, issue
from tests.unit.http.signing import (
    NOW_S,
    SECRET,
    FakeClock,
    KeyServer,
    b64,
    bearer,
    claims,
    der,
    hs256,
    jwk,
    key_server,
    key_set,
    pem,
    private,
    signed,
)

pytestmark = pytest.mark.anyio

RSA, EC, ED = private("RS256"), private("ES256"), private("EdDSA")
THIEF = private("RS256", "thief")
HS = {"alg": "HS256", "typ": "JWT"}
GOOD = hs256(HS, claims())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def both(clock: FakeClock, tmp_path: Path) -> AsyncIterator[Authenticator]:
    """Takes HS256 and a key set at once: the widest door there is."""
    path = tmp_path / "keys.json"
    path.write_bytes(
        key_set(
            jwk(RSA, "rsa"), jwk(EC, "ec"), jwk(ED, "ed"), jwk(private("P-384"), "p384"),
            jwk(private("secp256k1"), "k1"), jwk(private("RSA-1024"), "weak"), jwk(private("Ed448"), "ed448"),
            {"kty": "oct", "kid": "oct", "k": b64(b"s" * 32).decode()},
        )
    )  # fmt: skip
    async with Authenticator(AuthConfig(secret=SECRET, jwks=str(path)), clock) as authenticator:
        yield authenticator


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with key_server() as server:
        yield server


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


DEEP = b"[" * 2500

MALFORMED = {
    "no credentials": (None, "token_missing"),
    "empty": (b"", "token_missing"),
    "another scheme": (b"Basic YWxpY2U6c2VjcmV0", "token_missing"),
    "a token without scheme": (GOOD.removeprefix(b"Bearer "), "token_missing"),
    "scheme alone": (b"Bearer", "token_missing"),
    "scheme and space": (b"Bearer ", "token_missing"),
    "scheme run into token": (GOOD.replace(b" ", b""), "token_missing"),
    "tab for space": (GOOD.replace(b" ", b"\t"), "token_missing"),
    "no JWT": (b"Bearer alice", "token_invalid"),
    "two parts": (GOOD.rsplit(b".", 1)[0], "token_invalid"),
    "five parts (JWE)": (bearer(b"e30.e30.e30.e30.e30"), "token_invalid"),
    "empty parts": (bearer(b".."), "token_invalid"),
    "two tokens": (GOOD + b" " + GOOD, "token_invalid"),
    "newline at the end": (GOOD + b"\n", "token_invalid"),
    "null byte": (GOOD + b"\0", "token_invalid"),
    "not ASCII": (GOOD + "é".encode(), "token_invalid"),
    "padding": (GOOD + b"=", "token_invalid"),
    "10 KB": (with_payload(claims(note="x" * 7500)), "token_invalid"),
    "one byte too long": (GOOD + b"A" * (8193 - len(GOOD)), "token_invalid"),
}

ALGORITHMS = {
    "none": unsigned("none"),
    "None": unsigned("None"),
    "none with a signature": unsigned("none", b"c2ln"),
    "none, signed": header(alg="none"),
    "no alg": hs256({"typ": "JWT"}, claims()),
    "empty alg": header(alg=""),
    "alg of lower case": header(alg="hs256"),
    "alg null": header(alg=None),
    "alg list": header(alg=["HS256"]),
    "HS512 with the secret": bearer(jwt.encode(claims(), SECRET * 2, algorithm="HS512")),
    "HS384 claimed": header(alg="HS384"),
    "RS256 claimed, HMAC inside": header(alg="RS256", kid="rsa"),
    "RS512 with the right key": signed("RS512", RSA, "rsa"),
    "PS256 with the right key": signed("PS256", RSA, "rsa"),
    "RSA PEM as secret": confused(pem(RSA)),
    "RSA PEM without its last newline": confused(pem(RSA).strip()),
    "RSA DER as secret": confused(der(RSA)),
    "RSA JWK as secret": confused(json.dumps(jwk(RSA, "rsa")).encode()),
    "RSA PEM, no kid": confused(pem(RSA), None),
    "EC PEM as secret": confused(pem(EC), "ec"),
    "Ed25519 bytes as secret": confused(der(ED)[-32:], "ed"),
    "oct key of the set": hs256({"alg": "HS256", "kid": "oct"}, claims(), b"s" * 32),
    "empty secret": hs256(HS, claims(), b""),
}

KEYS = {
    "unknown kid": signed("RS256", RSA, "other"),
    "kid is a path": signed("RS256", RSA, "../../../dev/null"),
    "kid is a number": hs256({"alg": "HS256", "kid": 7}, claims()),
    "kid of another type": signed("RS256", RSA, "ec"),
    "another's key under a known kid": signed("RS256", THIEF, "rsa"),
    "another's key without kid": signed("ES256", private("ES256", "thief"), None),
    "wrong curve": signed("ES384", private("P-384"), "p384"),
    "wrong curve under ES256": resigned(
        bearer(b64(b'{"alg":"ES256","kid":"p384"}') + b"." + b64(b"{}") + b"."), b"\1" * 96
    ),
    "secp256k1": signed("ES256K", private("secp256k1"), "k1"),
    "Ed448": signed("EdDSA", private("Ed448"), "ed448"),
}

HEADERS = {
    "crit": header(crit=["exp"]),
    "empty crit": header(crit=[]),
    "crit null": header(crit=None),
    "b64 false": header(b64=False),
    "b64 false, declared": header(b64=False, crit=["b64"]),
    "own jwk": bearer(
        jwt.encode(claims(), THIEF, algorithm="RS256", headers={"jwk": jwk(THIEF, "rsa")})
    ),
    "own jku": bearer(
        jwt.encode(claims(), THIEF, algorithm="RS256", headers={"jku": "http://127.0.0.1:1/", "kid": "x"})
    ),
    "no JSON": hs256(b"alg=HS256", claims()),
    "JSON list": hs256(["HS256"], claims()),
    "deep JSON": hs256(DEEP, claims()),
    "not UTF-8": hs256(b'{"alg":"HS256","x":"\xff"}', claims()),
}  # fmt: skip

SIGNATURES = {
    "flipped bit": resigned(GOOD, b"\0" * 32),
    "too short": resigned(GOOD, b"\0"),
    "too long": GOOD + b"AAAA",
    "payload exchanged": b".".join(
        [GOOD.split(b".")[0], b64(json.dumps(claims(sub="bob")).encode()), GOOD.split(b".")[2]]
    ),
    "ES256 of zeros": resigned(signed("ES256", EC, "ec"), b"\0" * 64),
    "ES256 as DER": resigned(signed("ES256", EC, "ec"), b"\x30\x06\x02\x01\x01\x02\x01\x01"),
    "EdDSA of zeros": resigned(signed("EdDSA", ED, "ed"), b"\0" * 64),
    "RS256 of zeros": resigned(signed("RS256", RSA, "rsa"), b"\0" * 256),
    "RS256 of one byte": resigned(signed("RS256", RSA, "rsa"), b"\1"),
}

CLAIMS = {
    "no JSON": b"alice",
    "JSON list": [1],
    "JSON string": '"alice"',
    "deep JSON": DEEP,
    "not UTF-8": b'{"sub":"\xff"}',
    "lone surrogate": rb'{"sub":"\ud800","exp":1700000060}',
    "no exp": claims(exp=...),
    "exp null": claims(exp=None),
    "exp true": claims(exp=True),
    "exp text": claims(exp=str(NOW_S + 60)),
    "exp list": claims(exp=[NOW_S + 60]),
    "exp NaN": b'{"sub":"alice","exp":NaN}',
    "exp Infinity": b'{"sub":"alice","exp":Infinity}',
    "exp overflow": b'{"sub":"alice","exp":1e999}',
    "nbf in the future": claims(nbf=NOW_S + 11),
    "nbf text": claims(nbf=str(NOW_S)),
    "nbf null": claims(nbf=None),
    "no user": claims(sub=...),
    "user null": claims(sub=None),
    "user true": claims(sub=True),
    "user float": claims(sub=1.5),
    "user whole float": claims(sub=1.0),
    "user exponent": b'{"sub":1e3,"exp":1700000060}',
    "user list": claims(sub=["alice"]),
    "user object": claims(sub={"id": "alice"}),
    "user empty": claims(sub=""),
    "user with space": claims(sub="alice b"),
    "user with newline": claims(sub="alice\n"),
    "user with null byte": claims(sub="alice\0"),
    "user not ASCII": claims(sub="alicé"),
    "user too long": claims(sub="a" * 129),
    "user number too long": claims(sub=10**128),
    "user number far too long": b'{"sub":' + b"1" * 4000 + b',"exp":1700000060}',
    "bad user of a service": claims(sub="alice b", scope="service"),
    "scope number": claims(scope=1),
    "scope object": claims(scope={"service": True}),
    "scope list of numbers": claims(scope=["service", 1]),
    "scope nearly service": claims(sub=..., scope="services service:read"),
    "scope in another case": claims(sub=..., scope="Service"),
    "targets text": claims(targets="post:1"),
    "targets object": claims(targets={"post:1": True}),
    "targets with a number": claims(targets=["post:1", 2]),
    "too many targets": claims(targets=["t"] * 1001),
}


@pytest.mark.parametrize(("authorization", "code"), MALFORMED.values(), ids=MALFORMED)
async def test_a_header_that_holds_no_token(
    both: Authenticator, authorization: bytes | None, code: str
) -> None:
    assert await refused(both, authorization) == code


HOSTILE = {
    **{f"algorithm: {name}": value for name, value in ALGORITHMS.items()},
    **{f"key: {name}": value for name, value in KEYS.items()},
    **{f"header: {name}": value for name, value in HEADERS.items()},
    **{f"signature: {name}": value for name, value in SIGNATURES.items()},
    **{f"claims: {name}": with_payload(value) for name, value in CLAIMS.items()},
}


@pytest.mark.parametrize("authorization", HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_token(both: Authenticator, authorization: bytes) -> None:
    assert len(authorization) <= 8192
    assert await refused(both, authorization) == "token_invalid"


async def test_a_weak_key_of_the_set_verifies_nothing(both: Authenticator) -> None:
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = signed("RS256", private("RSA-1024"), "weak")
    assert await refused(both, token) == "token_invalid"


async def test_no_change_of_one_character_goes_unnoticed(clock: FakeClock) -> None:
    authenticator = by_secret(clock)
    for place in range(len(b"Bearer "), len(GOOD)):
        other = b"A" if GOOD[place : place + 1] != b"A" else b"B"
        await refused(authenticator, GOOD[:place] + other + GOOD[place + 1 :])


@pytest.mark.parametrize("kind", ["secret", "jwks"])
async def test_only_the_configured_kind_of_key_counts(clock: FakeClock, tmp_path: Path, kind: str) -> None:
    (tmp_path / "keys").write_bytes(key_set(jwk(RSA, "rsa")))
    by_kind = {"secret": GOOD, "jwks": signed("RS256", RSA, "rsa")}
    config = AuthConfig(secret=SECRET) if kind == "secret" else AuthConfig(jwks=str(tmp_path / "keys"))
    async with Authenticator(config, clock) as authenticator:
        assert (await authenticator.authenticate(by_kind.pop(kind))).user == "alice"
        (other,) = by_kind.values()
        assert await refused(authenticator, other) == "token_invalid"


ACCEPTED = {
    "HS256": (GOOD, Principal("alice")),
    "HS256 with a kid": (header(kid="2024"), Principal("alice")),
    "scheme of any case": (GOOD.replace(b"Bearer", b"bEARER"), Principal("alice")),
    "several spaces": (GOOD.replace(b" ", b"   "), Principal("alice")),
    "RS256": (signed("RS256", RSA, "rsa"), Principal("alice")),
    "ES256": (signed("ES256", EC, "ec"), Principal("alice")),
    "EdDSA": (signed("EdDSA", ED, "ed"), Principal("alice")),
    "RS256 without kid": (signed("RS256", RSA, None), Principal("alice")),
    "number": (with_payload(claims(sub=42)), Principal("42")),
    "large number": (with_payload(claims(sub=2**70)), Principal(str(2**70))),
    "negative number": (with_payload(claims(sub=-1)), Principal("-1")),
    "audience nobody asked for": (with_payload(claims(aud="elsewhere", iss="x")), Principal("alice")),
    "nbf within the leeway": (with_payload(claims(nbf=NOW_S + 10)), Principal("alice")),
    "fraction of a second": (
        with_payload(claims(exp=NOW_S + 0.5)),
        Principal("alice", expires_at=NOW_S + 10.5),
    ),
    "service": (with_payload(claims(sub=..., scope="service")), Principal(None, service=True)),
    "service null user": (with_payload(claims(sub=None, scope="service")), Principal(None, service=True)),
    "service among scopes": (
        with_payload(claims(scope="read service write")),
        Principal("alice", service=True),
    ),
    "service in a list": (with_payload(claims(scope=["read", "service"])), Principal("alice", service=True)),
    "other scopes": (with_payload(claims(scope="openid profile")), Principal("alice")),
    "empty scope": (with_payload(claims(scope="")), Principal("alice")),
    "targets": (with_payload(claims(targets=["a", "chat:*"])), Principal("alice", grants=("a", "chat:*"))),
    "1000 targets": (
        with_payload(claims(targets=["t"] * 1000)),
        Principal("alice", grants=("t",) * 1000),
    ),
    "targets null": (with_payload(claims(targets=None)), Principal("alice")),
    "odd claims": (with_payload(claims(iat="now", jti=[], nested={"a": 1})), Principal("alice")),
    "exp beyond all floats": (
        with_payload(claims(exp=10**400)),
        Principal("alice", expires_at=253_402_300_809.0),
    ),
}


@pytest.mark.parametrize(("authorization", "expected"), ACCEPTED.values(), ids=ACCEPTED)
async def test_a_good_token(both: Authenticator, authorization: bytes, expected: Principal) -> None:
    got = await both.authenticate(authorization)
    expires_at = expected.expires_at or float(NOW_S + 70)
    assert got == Principal(expected.user, expected.service, expected.grants, expires_at)


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({}, False),
        ({"aud": "plaudit"}, False),
        ({"iss": "https://id.example"}, False),
        ({"aud": "plaudit", "iss": "https://id.example"}, True),
        ({"aud": ["other", "plaudit"], "iss": "https://id.example"}, True),
        ({"aud": ["other"], "iss": "https://id.example"}, False),
        ({"aud": [], "iss": "https://id.example"}, False),
        ({"aud": "plaudit2", "iss": "https://id.example"}, False),
        ({"aud": {"plaudit": 1}, "iss": "https://id.example"}, False),
        ({"aud": "plaudit", "iss": "https://id.example/"}, False),
        ({"aud": "plaudit", "iss": ["https://id.example"]}, False),
        ({"aud": "plaudit", "iss": None}, False),
    ],
)
async def test_audience_and_issuer_count_when_configured(
    clock: FakeClock, changes: dict[str, object], good: bool
) -> None:
    authenticator = by_secret(clock, audience="plaudit", issuer="https://id.example")
    token = with_payload(claims(**changes))
    if good:
        assert (await authenticator.authenticate(token)).user == "alice"
    else:
        assert await refused(authenticator, token) == "token_invalid"


async def test_the_user_may_be_in_another_claim(clock: FakeClock) -> None:
    authenticator = by_secret(clock, user_claim="uid")
    assert (await authenticator.authenticate(with_payload(claims(uid=7)))).user == "7"
    assert await refused(authenticator, GOOD) == "token_invalid"


async def test_our_clock_decides_when_a_token_ends(clock: FakeClock) -> None:
    authenticator = by_secret(clock, leeway_s=5)
    clock.time_s = NOW_S + 64.999
    assert (await authenticator.authenticate(GOOD)).expires_at == NOW_S + 65
    assert authenticator.cached(GOOD) is not None
    clock.time_s = NOW_S + 65
    assert authenticator.cached(GOOD) is None
    assert await refused(authenticator, GOOD) == "token_expired"


async def test_a_token_of_the_past_or_of_no_length_has_expired(clock: FakeClock) -> None:
    authenticator = by_secret(clock, leeway_s=0)
    for exp in (NOW_S, NOW_S - 0.5, 0, -1, -(10**400)):
        assert await refused(authenticator, with_payload(claims(exp=exp))) == "token_expired"


async def test_a_verified_token_is_known_from_then_on(clock: FakeClock) -> None:
    authenticator = by_secret(clock)
    assert authenticator.cached(GOOD) is None
    principal = await authenticator.authenticate(GOOD)
    assert authenticator.cached(GOOD) is principal
    assert await authenticator.authenticate(GOOD) is principal


async def test_the_oldest_token_leaves_a_full_cache(clock: FakeClock) -> None:
    authenticator = by_secret(clock, cache_entries=3)
    tokens = [with_payload(claims(sub=number)) for number in range(5)]
    for token in tokens:
        await authenticator.authenticate(token)
    assert [authenticator.cached(token) is not None for token in tokens] == [False, False, True, True, True]


async def test_long_tokens_fill_the_cache_sooner(clock: FakeClock) -> None:
    authenticator = by_secret(clock, cache_entries=10)
    tokens = [with_payload(claims(sub=number, note="x" * 3000)) for number in range(5)]
    for token in tokens:
        await authenticator.authenticate(token)
    assert len(tokens[0]) * 2 < 10 * 1024 < len(tokens[0]) * 3
    assert [authenticator.cached(token) is not None for token in tokens] == [False, False, False, True, True]


async def test_one_token_spelled_in_many_ways_does_not_fill_the_cache(clock: FakeClock) -> None:
    authenticator = by_secret(clock)
    for spaces in range(2, 50):
        spelled = GOOD.replace(b" ", b" " * spaces)
        assert (await authenticator.authenticate(spelled)).user == "alice"
        assert authenticator.cached(spelled) is None


async def test_tokens_of_a_withdrawn_key_are_forgotten(clock: FakeClock, server: KeyServer) -> None:
    server.serve(jwk(RSA, "old"))
    old, new = signed("RS256", RSA, "old"), signed("ES256", EC, "new")
    async with Authenticator(AuthConfig(jwks=server.url), clock) as authenticator:
        await authenticator.authenticate(old)
        server.serve(jwk(RSA, "old"), jwk(EC, "new"))
        await authenticator.authenticate(new)
        assert authenticator.cached(old) is not None, "a new key is no reason to forget"
        server.serve(jwk(EC, "new"))
        clock.monotonic += 30
        assert await refused(authenticator, signed("EdDSA", ED, "unknown")) == "token_invalid"
        assert authenticator.cached(old) is None
        assert authenticator.cached(new) is None, "the whole cache goes"
        assert await refused(authenticator, old) == "token_invalid"
        assert (await authenticator.authenticate(new)).user == "alice"


async def test_an_unknown_key_is_looked_for_once_for_all_and_not_again_for_30_s(
    clock: FakeClock, server: KeyServer
) -> None:
    server.serve(jwk(RSA, "rsa"))
    async with Authenticator(AuthConfig(jwks=server.url), clock) as authenticator:
        tokens = [signed("ES256", EC, f"made-up-{number}") for number in range(50)]
        answers = await asyncio.gather(*(refused(authenticator, token) for token in tokens))
        assert answers == ["token_invalid"] * 50
        assert len(server.requests) == 2
        clock.monotonic = 29.9
        await refused(authenticator, tokens[0])
        assert len(server.requests) == 2
        clock.monotonic = 30
        await refused(authenticator, tokens[0])
        assert len(server.requests) == 3


async def test_without_any_keys_the_caller_is_told_to_come_back(clock: FakeClock, server: KeyServer) -> None:
    server.answer(503)
    token = signed("RS256", RSA, "rsa")
    async with Authenticator(AuthConfig(secret=SECRET, jwks=server.url), clock) as authenticator:
        with pytest.raises(Unavailable):
            await authenticator.authenticate(token)
        assert (await authenticator.authenticate(GOOD)).user == "alice", "the secret needs no server"
        server.serve(jwk(RSA, "rsa"))
        clock.monotonic += 30
        assert (await authenticator.authenticate(token)).user == "alice"


async def test_nothing_is_left_behind(clock: FakeClock, server: KeyServer) -> None:
    server.serve(jwk(RSA, "rsa"))
    before = asyncio.all_tasks()
    async with Authenticator(AuthConfig(jwks=server.url), clock):
        assert asyncio.all_tasks() > before
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("secret", {}),
        ("secret", {"secret": ""}),
        ("secret", {"secret": "x" * 31}),
        ("secret", {"secret": pem(RSA).decode()}),
        ("secret", {"secret": json.dumps(jwk(RSA, None))}),
        ("secret", {"secret": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ alice@example"}),
        ("jwks", {"jwks": "ftp://keys.example/set"}),
        ("jwks", {"jwks": "file:///etc/keys"}),
        ("jwks", {"jwks": "https://"}),
        ("jwks", {"jwks": "https://keys.example:port/set"}),
        ("algorithms", {"secret": SECRET, "algorithms": ("RS256",)}),
        ("algorithms", {"secret": SECRET, "algorithms": ("HS256", "none")}),
        ("algorithms", {"jwks": "keys.json", "algorithms": ("HS256",)}),
        ("algorithms", {"jwks": "keys.json", "algorithms": ("RS512",)}),
        ("leeway_s", {"secret": SECRET, "leeway_s": -1}),
        ("leeway_s", {"secret": SECRET, "leeway_s": 301}),
        ("cache_entries", {"secret": SECRET, "cache_entries": 0}),
        ("user_claim", {"secret": SECRET, "user_claim": ""}),
        ("user_claim", {"secret": SECRET, "user_claim": "exp"}),
    ],
)
def test_a_configuration_that_cannot_work_names_its_field(
    clock: FakeClock, field: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        Authenticator(AuthConfig(**settings), clock)


async def test_algorithms_can_be_narrowed(clock: FakeClock, tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(key_set(jwk(RSA, "rsa"), jwk(EC, "ec")))
    config = AuthConfig(secret=SECRET, jwks=str(tmp_path / "keys"), algorithms=("ES256",))
    async with Authenticator(config, clock) as authenticator:
        assert (await authenticator.authenticate(signed("ES256", EC, "ec"))).user == "alice"
        assert await refused(authenticator, signed("RS256", RSA, "rsa")) == "token_invalid"
        assert await refused(authenticator, GOOD) == "token_invalid"


def test_the_secret_does_not_show() -> None:
    assert SECRET not in repr(AuthConfig(secret=SECRET))
    assert SECRET not in repr(Authenticator(AuthConfig(secret=SECRET), FakeClock()).__dict__)


@pytest.mark.parametrize(
    ("denied", "status", "challenge"),
    [
        (Denied("token_missing", "m"), 401, 'Bearer realm="plaudit"'),
        (Denied("token_invalid", "m"), 401, 'Bearer error="invalid_token", error_description="m"'),
        (Denied("token_expired", "m"), 401, 'Bearer error="invalid_token", error_description="m"'),
        (
            Denied("scope_missing", "m", status=403),
            403,
            'Bearer error="insufficient_scope", error_description="m", scope="service"',
        ),
    ],
)
def test_the_challenge_is_that_of_rfc_6750(denied: Denied, status: int, challenge: str) -> None:
    assert (denied.status, denied.challenge, str(denied)) == (status, challenge, "m")


async def test_no_refusal_repeats_what_was_sent(both: Authenticator) -> None:
    for authorization in HOSTILE.values():
        with pytest.raises(Denied) as caught:
            await both.authenticate(authorization)
        assert all(" " <= letter <= "~" and letter not in '"\\' for letter in caught.value.message)
        assert "alice" not in caught.value.challenge


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"user": "bob"}, Principal("bob")),
        ({"user": "bob", "service": True}, Principal("bob", service=True)),
        ({"user": None, "service": True}, Principal(None, service=True)),
        ({"user": "bob", "grants": ["a", "b*"]}, Principal("bob", grants=("a", "b*"))),
        ({"user": "bob", "audience": "me", "issuer": "you", "user_claim": "uid"}, Principal("bob")),
    ],
)
async def test_an_issued_token_is_accepted(
    clock: FakeClock, arguments: dict[str, Any], expected: Principal
) -> None:
    token = issue(SECRET, **{"service": False, "grants": (), "ttl_s": 60, "now_s": NOW_S, **arguments})
    names = {"audience", "issuer", "user_claim"}
    authenticator = by_secret(clock, **{name: value for name, value in arguments.items() if name in names})
    got = await authenticator.authenticate(bearer(token))
    assert got == Principal(expected.user, expected.service, expected.grants, NOW_S + 70.0)


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ValueError, {"secret": "short"}),
        (ValueError, {"user": None}),
        (Invalid, {"user": "a b"}),
        (ValueError, {"ttl_s": 0}),
        (ValueError, {"grants": ["t"] * 1001}),
        (ValueError, {"grants": [f"conversation:{number}" for number in range(500)]}),
        (ValueError, {"user_claim": "scope"}),
    ],
)
def test_nothing_is_issued_that_would_be_refused(error: type[Exception], arguments: dict[str, Any]) -> None:
    good = {"secret": SECRET, "user": "bob", "service": False, "grants": (), "ttl_s": 60, "now_s": NOW_S}
    with pytest.raises(error):
        issue(**{**good, **arguments})
