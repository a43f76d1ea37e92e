"""Anything at all into the parsers of notifications: what users, providers and hosts send us."""

import ipaddress
from typing import Any

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from plaudit.adapters.push import service_account, webhook_key
from plaudit.adapters.push.apns import _reason
from plaudit.adapters.push.client import PushClient, Reply, is_public
from plaudit.adapters.push.fcm import _error, _oauth_error
from plaudit.adapters.push.webpush import encrypt, origin
from plaudit.domain.errors import Corrupt, Invalid
from plaudit.domain.quiet import clock_time
from plaudit.domain.watch import pack, unpack
from plaudit.services.owner import DeviceDescription, _checked_device
from plaudit.services.wording import Wording
from tests.support.clock import ManualClock

bounded = settings(
    max_examples=200,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
providers = json_values | st.fixed_dictionaries(
    {},
    optional={
        "error": json_values
        | st.fixed_dictionaries(
            {},
            optional={
                "status": json_values,
                "details": st.lists(
                    st.dictionaries(st.sampled_from(["errorCode", "fieldViolations", "@type"]), json_values)
                ),
            },
        ),
        "reason": json_values,
        "timestamp": json_values,
    },
)


def encoded(value: Any) -> bytes:
    """JSON as a careless server writes it."""
    try:
        return msgspec.json.encode(value)
    except (OverflowError, msgspec.MsgspecError, ValueError):
        return repr(value).encode()


@bounded
@given(st.binary(max_size=200) | providers.map(encoded))
@example(b"[" * 100_000)
@example(b'{"reason": "Unregistered", "timestamp": 99999999999999999999999}')
def test_what_a_provider_says_is_a_short_reason(body: bytes) -> None:
    status, code, fields = _error(body)
    reason, at_ms = _reason(body)
    assert all(len(text) <= 64 for text in (status, code, reason, _oauth_error(body)))
    assert all(isinstance(field, str) for field in fields)
    assert 0 <= at_ms <= 1 << 50


@bounded
@given(st.text(max_size=60) | st.integers(-5, 10**30).map(str) | st.datetimes().map(str))
def test_retry_after_is_a_bounded_wait_or_none(text: str) -> None:
    client = PushClient(None, ManualClock(), private=False)
    wait_s = client.slow_down(Reply(429, {"retry-after": text}, b""), "").retry_after_s
    assert wait_s is None or 0 <= wait_s <= 3600


@bounded
@given(st.binary(max_size=300))
def test_a_watch_is_one_or_corrupt(body: bytes) -> None:
    try:
        watch = unpack(body)
    except Corrupt:
        return
    assert unpack(pack(watch)) == watch


@bounded
@given(st.text(max_size=8) | st.from_regex(r"\d\d:\d\d"))
def test_a_time_of_day_is_one_or_invalid(text: str) -> None:
    found, field = text, "quiet_hours"
    try:
        found = f"{clock_time(text):%H:%M}"
    except Invalid as error:
        field = error.field or ""
    assert (found, field) == (text, "quiet_hours")


tokens = st.text(max_size=80) | st.from_regex(r"https?://[ -~]{0,40}") | st.from_regex(r"[0-9a-fA-F]{1,80}")


@bounded
@given(
    kind=st.sampled_from(["fcm", "apns", "webpush"]),
    token=tokens,
    keys=st.none() | st.fixed_dictionaries({"p256dh": st.text(max_size=100), "auth": st.text(max_size=40)}),
    environment=st.none() | st.sampled_from(["production", "sandbox"]),
)
def test_a_device_fits_into_a_request_or_is_refused(
    kind: str, token: str, keys: dict[str, str] | None, environment: str | None
) -> None:
    body = {"kind": kind, "token": token, "keys": keys, "environment": environment}
    device = msgspec.json.decode(msgspec.json.encode(body), type=DeviceDescription)
    try:
        more = _checked_device(device)
    except Invalid:
        return
    assert token.isascii()
    assert token.isprintable()
    assert " " not in token
    if kind == "webpush":
        assert origin(token).startswith("https://")
        try:
            assert len(encrypt(b"x", more["p256dh"], more["auth"])) > 86
        except ValueError:
            pass  # 65 bytes that are no point of the curve
    elif kind == "apns":
        assert "/" not in token


@bounded
@given(st.binary(max_size=200) | json_values.map(encoded), st.text(max_size=80))
def test_files_and_secrets_are_good_or_named(body: bytes, secret: str) -> None:
    for parse, value in ((service_account, body), (webhook_key, secret)):
        try:
            parse(value)  # type: ignore[arg-type] # each gets its own
        except ValueError:
            pass
    said = "pl.json"
    try:
        Wording({"pl": body})
    except Invalid as error:
        said = error.message
    assert "pl.json" in said


@bounded
@given(st.ip_addresses())
def test_no_private_address_is_public_in_any_spelling(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    public = is_public(str(address))
    assert not (public and (address.is_private or address.is_loopback or address.is_link_local))
    if isinstance(address, ipaddress.IPv4Address):
        for spelling in (f"::ffff:{address}", f"64:ff9b::{address}"):
            assert is_public(spelling) is public
