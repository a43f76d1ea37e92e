"""Which keys count, and for what."""

import json
from typing import Any

import pytest

from plaudit.domain.errors import Unavailable
from plaudit.http.keys import (
    parse_key_set,
    read_header,
    secret_key,
    sign,
    verify,
)
from tests.unit.http.signing import b64, jwk, key_set, private, signed

pytestmark = pytest.mark.anyio

RSA, EC, ED = private("RS256"), private("ES256"), private("EdDSA")


@pytest.mark.parametrize(
    ("entry", "algorithm"),
    [
        (jwk(RSA, "k"), "RS256"),
        (jwk(EC, "k"), "ES256"),
        (jwk(ED, "k"), "EdDSA"),
        (jwk(RSA, "k", use="sig", alg="RS256", key_ops=["verify"], x5t="abc", nested={"a": [1]}), "RS256"),
        (jwk(RSA, "k", d="not-even-base64!", p="private"), "RS256"),
        (jwk(RSA, "k", use="enc"), None),
        (jwk(RSA, "k", key_ops=["encrypt"]), None),
        (jwk(RSA, "k", key_ops="verify"), None),
        (jwk(RSA, "k", alg="RS512"), None),
        (jwk(RSA, "k", alg="HS256"), None),
        (jwk(RSA, "k", crv="P-256"), None),
        (jwk(RSA, "k", n="!!!"), None),
        (jwk(RSA, "k", n=""), None),
        (jwk(RSA, "k", n=7), None),
        (jwk(RSA, "k", e="AA"), None),
        (jwk(RSA, "k", e=b64(b"\2").decode()), None),
        ({name: value for name, value in jwk(RSA, "k").items() if name != "n"}, None),
        (jwk(private("RSA-1024"), "k"), None),
        (jwk(RSA, "k", n=b64(b"\xff" * 1025).decode()), None),
        (jwk(private("P-384"), "k"), None),
        (jwk(private("P-384"), "k", crv="P-256"), None),
        (jwk(private("secp256k1"), "k"), None),
        (jwk(private("secp256k1"), "k", crv="P-256"), None),
        (jwk(EC, "k", alg="ES384"), None),
        (jwk(EC, "k", x=b64(b"\1" * 32).decode()), None),
        (jwk(EC, "k", y=None), None),
        (jwk(private("Ed448"), "k"), None),
        (jwk(private("Ed448"), "k", crv="Ed25519"), None),
        (jwk(ED, "k", crv="X25519"), None),
        (jwk(ED, "k", x=b64(b"\1" * 31).decode()), None),
        ({"kty": "oct", "kid": "k", "k": b64(b"s" * 32).decode()}, None),
        ({"kty": "LWE", "kid": "k"}, None),
        ({"kid": "k"}, None),
        (["RSA"], None),
        (None, None),
    ],
)
def test_a_key_counts_only_if_it_is_fit_for_one_algorithm(entry: Any, algorithm: str | None) -> None:
    found = parse_key_set(json.dumps({"keys": [entry, jwk(EC, "other")]}).encode())
    assert [(key.kid, key.algorithm) for key in found] == [
        *([("k", algorithm)] if algorithm else []),
        ("other", "ES256"),
    ], "a key that is left out takes no other with it"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": null}',
        b"[" * 5000,
        b"\xff",
        json.dumps(jwk(RSA, "one")).encode(),
        key_set(*[jwk(ED, str(number)) for number in range(101)]),
        b'{"keys": []}' + b" " * (1 << 20),
    ],
    ids=lambda document: repr(document[:14]),
)
def test_what_is_no_key_set_is_refused_as_a_whole(document: bytes) -> None:
    with pytest.raises(Unavailable, match=r"^key set: "):
        parse_key_set(document)


def test_a_secret_does_not_show_and_a_public_key_does_not_sign() -> None:
    assert "horse" not in repr(secret_key("correct horse battery staple and so on"))
    (public,) = parse_key_set(key_set(jwk(ED, "one")))
    with pytest.raises(TypeError):
        sign(b"{}", public)


@pytest.mark.parametrize("alg", ["RS256", "RS512", "PS256"])
def test_a_key_verifies_its_one_algorithm(alg: str) -> None:
    found = parse_key_set(key_set(jwk(RSA, "one")))
    token = signed(alg, RSA, "one").removeprefix(b"Bearer ")
    assert (verify(token, found) is not None) == (alg == "RS256")


@pytest.mark.parametrize(
    ("header", "good"),
    [
        (b'{"alg":"HS256"}', True),
        (b'{"alg":"HS256","kid":null}', True),
        (b'{"alg":"HS256","crit":[]}', False),
        (b'{"alg":"HS256","crit":null}', False),
        (b'{"alg":"HS256","crit":["exp"]}', False),
        (b'{"alg":1}', False),
        (b"{}", False),
    ],
)
def test_a_header_that_asks_for_more_than_we_know_is_not_read(header: bytes, good: bool) -> None:
    assert (read_header(b64(header) + b".e30.AA") is not None) == good
