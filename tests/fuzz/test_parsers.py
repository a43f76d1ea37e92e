"""Anything at all goes into every parser: out comes a value that the contract allows, or the named refusal.

What other tests have already is not repeated: bytes that are no event (tests/unit/domain/test_events.py), texts that
are no cursor (tests/unit/services/test_cursor.py), whole requests (tests/integration/http/test_fuzz.py). Settings are
in test_settings.py.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from plaudit.domain import ids
from plaudit.domain.errors import Invalid, Unavailable
from plaudit.domain.principal import Principal
from plaudit.http import bodies, hot, routes
from plaudit.http.auth import AuthConfig, Authenticator, Denied
from plaudit.http.keys import parse_key_set, read_header
from plaudit.http.problems import CODES
from plaudit.services.cursor import Cursors
from tests.unit.http.signing import NOW_S, SECRET, FakeClock, b64, claims, hs256

P = ParamSpec("P")
T = TypeVar("T")

bounded = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
TARGET_CHARACTERS = frozenset(WORD + "_.:@~|=-")
USER_CHARACTERS = frozenset(map(chr, range(0x21, 0x7F))) - frozenset(",\"'<>\\")
RESERVED = {"counts", "mine", "feed", "stream", ".", ".."}

good_ids = st.text(sorted(TARGET_CHARACTERS), min_size=1, max_size=128).filter(
    lambda id_: id_ not in RESERVED
)
texts = (
    st.text(max_size=130) | st.text(sorted(USER_CHARACTERS), max_size=130) | st.sampled_from(sorted(RESERVED))
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


class Refused(NamedTuple):
    """A refusal that is the caller's fault, with a code that has a row in the table."""

    code: str
    field: str | None


def attempt(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Refused:
    """What a parser makes of it: a value, or a refusal. Anything else comes through."""
    try:
        return call(*args, **kwargs)
    except Invalid as error:
        refused = Refused(error.code, error.field)
    assert 400 <= CODES[refused.code].status < 500
    return refused


@bounded
@given(json_values | good_ids)
def test_ids_are_what_the_contract_says(value: object) -> None:
    text = str(value) if type(value) is int else value
    for check, characters, reserved in (
        (ids.target_id, TARGET_CHARACTERS, RESERVED),
        (ids.user_id, USER_CHARACTERS, {".", ".."}),
    ):
        good = isinstance(text, str) and 1 <= len(text) <= 128
        good = good and characters.issuperset(str(text)) and text not in reserved
        found = attempt(check, value)
        assert found == text if good else isinstance(found, Refused)


@bounded
@given(st.binary(max_size=130))
def test_idempotency_keys_are_what_the_contract_says(key: bytes) -> None:
    good = 1 <= len(key) <= 128 and all(0x21 <= byte <= 0x7E for byte in key)
    refused = Refused("invalid_idempotency_key", "Idempotency-Key")
    assert attempt(ids.idempotency_key, key) == (key if good else refused)


KNOWN = ("target_ids", "limit", "cursor", "type")
raw_queries = st.binary(max_size=60) | st.text("target_ids=&%2C,+;#[]019\u00e9F", max_size=60).map(str.encode)


@bounded
@given(raw_queries)
def test_a_query_string_is_known_parameters_or_a_refusal(query: bytes) -> None:
    found = attempt(bodies.parameters, query, KNOWN)
    if isinstance(found, Refused):
        assert found.code in {"invalid_parameter", "unknown_parameter"}
    else:
        assert found.keys() <= set(KNOWN)


@bounded
@given(
    st.dictionaries(st.sampled_from(KNOWN), st.text(max_size=40)), st.dictionaries(st.text("_a"), st.text())
)
def test_what_was_written_as_a_query_string_is_read(wanted: dict[str, str], more: dict[str, str]) -> None:
    assume(len(more) < 20)
    ignored = {f"_{name}": value for name, value in more.items()}
    assert bodies.parameters(urlencode({**wanted, **ignored}).encode(), KNOWN) == wanted


@bounded
@given(
    st.lists(good_ids | st.text(max_size=5), max_size=4),
    st.booleans(),
    st.sampled_from(["", "&_=1", "&limit=1", "&target_ids=a", "%00", "%", "%2", "%zz", "+", "\x7f"]),
)
@example(["a"] * 2, False, "")
@example(["a"] * 101, False, "")
def test_the_short_way_of_reading_ids_says_nothing_that_the_long_way_would_not(
    wanted: list[str], escaped: bool, tail: str
) -> None:
    query = (
        "target_ids=" + ",".join(quote(id_, safe="" if escaped else ":@|~=") for id_ in wanted) + tail
    ).encode()
    asked = bodies.raw_ids(query)
    if asked is None:
        return
    # What hot.py asks before it takes the short way: the near cache has nothing but good ids.
    if (
        len(asked) > 100
        or len(set(asked)) != len(asked)
        or not all(TARGET_CHARACTERS.issuperset(a) and a for a in asked)
    ):
        return
    assume(all(len(id_) <= 128 and id_ not in RESERVED for id_ in asked))
    assert bodies.split_ids(bodies.parameters(query, ("target_ids",))["target_ids"]) == asked


@bounded
@given(st.text("0123456789 +-_.e\u0661", max_size=6) | st.integers(-5, 130).map(str))
def test_a_limit_is_1_to_100(text: str) -> None:
    found = attempt(bodies.limit_of, text)
    if isinstance(found, Refused):
        assert found == ("invalid_parameter", "limit")
        assert text not in {str(n) for n in range(1, 101)}
    else:
        assert found in range(1, 101)
        assert text.isascii()
        assert text.isdigit()


chunks = st.lists(st.binary(max_size=30) | st.integers(0, 17_000).map(bytes), max_size=6)


@bounded
@given(chunks, st.booleans())
def test_a_body_in_any_pieces_is_whole_or_refused(parts: list[bytes], broken: bool) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": part, "more_body": broken or n < len(parts) - 1}
        for n, part in enumerate(parts or [b""])
    ] + [{"type": "http.disconnect"}]
    asked = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return messages[asked - 1]

    whole = b"".join(parts)
    found = attempt(asyncio.run, bodies.read_body(receive, b"application/json; charset=utf-8"))
    if len(whole) > bodies.MAX_BODY_BYTES:
        assert found == ("body_too_large", None)
        assert sum(len(part) for part in parts[: asked - 1]) <= bodies.MAX_BODY_BYTES, "it went on reading"
    else:
        assert found == (("invalid_json", None) if broken else whole)


DECODERS: list[msgspec.json.Decoder[Any]] = [
    hot._DECODERS["POST"][1],
    hot._DECODERS["PUT"][1],
    routes._target_list,
    routes._target,
    routes._user,
]
FIELDS = sorted({field for decoder in DECODERS for field in decoder.type.__struct_fields__})


def written(pairs: list[tuple[str, Any]], space: str) -> bytes:
    """An object as somebody may write it: with a key twice, with spaces, with escapes."""
    members = [f"{space}{json.dumps(name)}{space}:{space}{json.dumps(value)}" for name, value in pairs]
    return ("{" + ",".join(members) + space + "}").encode(errors="replace")


near_bodies = st.builds(
    written,
    st.lists(st.tuples(st.sampled_from(FIELDS) | st.text(max_size=4), json_values | good_ids), max_size=6),
    st.sampled_from(["", " ", "\n\t"]),
)


@bounded
@given(
    near_bodies
    | st.binary(max_size=40)
    | json_values.map(lambda value: json.dumps(value).encode(errors="replace"))
)
@example(b'{"target_id":' * 5000)
@example(b"[" * 100_000)
@example(b'{"target_id":"\xff"}')
@example(b'{"target_id":' + b"9" * 5000 + b',"reaction_type":"like"}')
def test_a_body_is_what_the_call_takes_or_a_refusal(body: bytes) -> None:
    for decoder in DECODERS:
        found = attempt(bodies.decode, decoder, body)
        if isinstance(found, Refused):
            assert found.code in {"invalid_json", "unknown_field", "missing_field", "invalid_field"}
            assert len(found.field or "") <= 64
        else:
            assert isinstance(found, decoder.type)


fields = st.tuples(
    st.sampled_from(["target_id", "reaction_type", "target_type"]),
    good_ids | st.integers() | st.sampled_from(["like", 'a"b', "a\\b", "\u00e9"]) | st.none(),
)


@bounded
@given(
    st.lists(fields, min_size=2, max_size=5),
    st.sampled_from(["", " "]),
    st.booleans(),
)
def test_a_field_that_stands_twice_in_a_tap_is_always_noticed(
    pairs: list[tuple[str, Any]], space: str, escaped: bool
) -> None:
    body = written(pairs, space)
    if escaped:
        body = body.replace(b'"target_id"', b'"target\\u005fid"', 1)
    wish = attempt(bodies.decode, hot._DECODERS["PUT"][1], body)
    if isinstance(wish, Refused):
        return
    target_type = None if wish.target_type is msgspec.UNSET else wish.target_type
    names = [name for name, _ in pairs]
    refused = attempt(hot._refuse_doubled, body, wish, target_type)
    if refused is None:
        assert len(set(names)) == len(names)
    else:
        assert refused.code == "duplicate_field"
        assert names.count(str(refused.field)) > 1


@bounded
@given(good_ids, st.integers(0, 2**62), st.integers(0, 500), st.integers(1, 255))
def test_a_cursor_with_one_bit_changed_is_refused(key: str, at: int, place: int, change: int) -> None:
    cursors = Cursors(b"secret")
    cursor = bytearray(cursors.write("list", at, key).encode())
    cursor[place % len(cursor)] ^= change
    found = attempt(cursors.read, "list", cursor.decode("latin-1"))
    # The last character of base64 has bits to spare.
    same = found == (at, key) and place % len(cursor) == len(cursor) - 1
    assert same or found == ("invalid_cursor", "cursor")


def authenticate(authorization: bytes) -> Principal | None:
    """Who it is, or None for a refusal; nothing else may come out."""
    authenticator = Authenticator(AuthConfig(secret=SECRET), FakeClock())
    try:
        principal = asyncio.run(authenticator.authenticate(authorization))
    except Denied as error:
        denied = error
    else:
        return sound(principal)
    assert denied.code in CODES
    assert not {'"', "\\"} & set(denied.message), "it would break the header it is sent in"
    return None


def sound(principal: Principal) -> Principal:
    """What must be true of everybody who is let in."""
    assert principal.service or principal.user is not None
    assert principal.user is None or ids.user_id(principal.user) == principal.user
    assert NOW_S < principal.expires_at < 10**12
    return principal


odd_claims = st.dictionaries(
    st.sampled_from(["sub", "exp", "nbf", "scope", "targets", "aud", "iss", "x"]),
    json_values | st.floats() | st.sampled_from([NOW_S + 60, 10**400, "service", ["service"], ["a", "b*"]]),
)
headers = st.dictionaries(
    st.sampled_from(["alg", "typ", "kid", "crit", "b64", "zip", "jwk"]),
    st.sampled_from(["HS256", "none", "RS256", "hs256", "", None, [], {}]) | json_values,
)


@bounded
@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: b"Bearer " + tail))
def test_bytes_are_nobody(authorization: bytes) -> None:
    assert authenticate(authorization) is None
    header = read_header(authorization)
    assert header is None or isinstance(header.alg, str)


@bounded
@given(odd_claims, st.booleans())
def test_signed_claims_are_a_principal_or_refused(odd: dict[str, Any], on_good_ones: bool) -> None:
    payload = {**claims(), **odd} if on_good_ones else odd
    principal = authenticate(hs256({"alg": "HS256"}, json.dumps(payload).encode(errors="replace")))
    if principal is not None:
        assert isinstance(payload["exp"], int | float)
        assert payload["exp"] > NOW_S - 60


@bounded
@given(headers)
def test_only_our_algorithm_counts_whatever_the_header_says(header: dict[str, Any]) -> None:
    principal = authenticate(hs256(json.dumps(header).encode(errors="replace"), claims()))
    assert (principal is not None) <= (header.get("alg") == "HS256" and "crit" not in header)


@bounded
@given(st.integers(0, 400), st.integers(1, 255))
def test_a_token_with_one_byte_changed_is_nobody(place: int, change: int) -> None:
    good = hs256({"alg": "HS256"}, claims())
    token = bytearray(good)
    place = len(b"Bearer ") + place % (len(token) - len(b"Bearer "))
    token[place] ^= change
    principal = authenticate(bytes(token))
    # As with cursors: the last character of the signature has bits to spare.
    assert principal is None or place == len(token) - 1


@bounded
@given(
    json_values.map(lambda value: json.dumps(value).encode(errors="replace"))
    | st.binary(max_size=40)
    | st.lists(
        st.dictionaries(
            st.sampled_from(["kty", "kid", "use", "key_ops", "alg", "crv", "x", "y", "n", "e", "d", "k"]),
            json_values
            | st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "sig", "RS256", "AQAB"])
            | st.binary(max_size=40).map(lambda raw: b64(raw).decode()),
        ),
        max_size=3,
    ).map(lambda keys: json.dumps({"keys": keys}).encode(errors="replace"))
)
def test_a_key_set_is_keys_or_not_one(document: bytes) -> None:
    try:
        keys = parse_key_set(document)
    except Unavailable:
        return
    assert all(key.algorithm in {"RS256", "ES256", "EdDSA"} for key in keys)
