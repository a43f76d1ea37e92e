"""Every token that must not get in."""

import json

import jwt
import pytest

from plaudit.http.auth import Authenticator, Denied
from tests.unit.http.signing import (
    NOW_S,
    SECRET,
    FakeClock,
    b64,
    bearer,
    claims,
    der,
    hs256,
    jwk,
    pem,
    private,
    signed,
)
from tests.unit.http.tokens import (
    EC,
    ED,
    GOOD,
    HS,
    RSA,
    THIEF,
    by_secret,
    confused,
    header,
    refused,
    resigned,
    unsigned,
    with_payload,
)

pytestmark = pytest.mark.anyio

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


async def test_no_refusal_repeats_what_was_sent(both: Authenticator) -> None:
    for authorization in HOSTILE.values():
        with pytest.raises(Denied) as caught:
            await both.authenticate(authorization)
        assert all(" " <= letter <= "~" and letter not in '"\\' for letter in caught.value.message)
        assert "alice" not in caught.value.challenge
