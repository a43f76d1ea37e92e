"""Every token that must get in, what is remembered of it, and what is issued and configured."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from plaudit.domain.errors import Invalid, Unavailable
from plaudit.domain.principal import Principal
from plaudit.http.auth import AuthConfig, Authenticator, Denied, issue
from tests.unit.http.signing import (
    NOW_S,
    SECRET,
    FakeClock,
    KeyServer,
    bearer,
    claims,
    jwk,
    key_set,
    pem,
    signed,
)
from tests.unit.http.tokens import EC, ED, GOOD, RSA, by_secret, header, refused, with_payload

pytestmark = pytest.mark.anyio


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


async def test_what_an_old_secret_signed_is_good_until_it_is_taken_out(clock: FakeClock) -> None:
    new = {"secret": "n" * 32}
    assert (await by_secret(clock, **new, old_secrets=(SECRET,)).authenticate(GOOD)).user
    assert (await by_secret(clock, old_secrets=("n" * 32,)).authenticate(GOOD)).user
    assert await refused(by_secret(clock, **new), GOOD) == "token_invalid"
    assert await refused(by_secret(clock, **new, old_secrets=("o" * 32,)), GOOD) == "token_invalid"
    with pytest.raises(ValueError, match="secret: "):
        by_secret(clock, old_secrets=("short",))


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
