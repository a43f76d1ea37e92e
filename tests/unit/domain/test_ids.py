"""Which ids are let in. Every refusal is an `Invalid` with a code and the field's name."""

from collections.abc import Callable
from enum import IntEnum

import pytest

from plaudit.domain.errors import Invalid
from plaudit.domain.ids import idempotency_key, target_id, user_id


class Seven(IntEnum):
    SEVEN = 7


def shown(value: object) -> str:
    """A test's id: Python refuses to print the largest integers."""
    return "an int of 5,001 digits" if value == HUGE else ascii(value)[:40]


HUGE = 10**5000
GOOD_TARGETS = [
    "a",
    "42",
    "post:42",
    "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "1234567890123456789",
    "blog|2024~01=draft@host.example",
    "...",
    "Counts",
    "counts2",
    "x" * 128,
]
BAD_FOR_BOTH = [
    "",
    " ",
    "a b",
    " a",
    "a ",
    "a,b",
    "a\x00",
    "\x00",
    "a\n",
    "\na",
    "a\r\n",
    "a\t",
    "a\x7f",
    "x" * 129,
    "x" * 128 + "\n",
    "👍",
    "caf\u00e9",
    "\u0661",  # a digit, but not an ASCII one
    "a\u200b",
    "\ud800",
    'a"b',
    "a'b",
    "<b>",
    "a\\b",
    True,
    False,
    1.0,
    float("nan"),
    10**128,
    -(10**127),  # 129 characters with its sign
    HUGE,  # longer than Python turns into text
    b"a",
    None,
    [],
    ["a"],
    {"a": 1},
    ("a",),
]
BAD_TARGETS = [
    "counts",
    "mine",
    "feed",
    "stream",
    ".",
    "..",
    "a/b",
    "a?b",
    "a#b",
    "a%20b",
    "a+b",
    "a*",
    "[a]",
]
GOOD_USERS = [
    "a",
    "auth0|5f7c8ec7c33c6c004bbafe82",
    "me@example.com",
    "a/b?c#d%e&f",
    "!$*+()[]{}^_`~;:=|-.",
    "counts",
    "...",
    "x" * 128,
]
INTEGERS = [
    (0, "0"),
    (42, "42"),
    (-7, "-7"),
    (2**63, "9223372036854775808"),
    (10**127, "1" + "0" * 127),
    (Seven.SEVEN, "7"),
]


@pytest.mark.parametrize("value", GOOD_TARGETS)
def test_a_good_target_id_comes_back_as_it_was(value: str) -> None:
    assert target_id(value) == value


@pytest.mark.parametrize("value", GOOD_USERS)
def test_a_good_user_id_comes_back_as_it_was(value: str) -> None:
    assert user_id(value) == value


@pytest.mark.parametrize(("value", "text"), INTEGERS)
@pytest.mark.parametrize("check", [target_id, user_id])
def test_a_json_integer_becomes_its_decimal_text(
    check: Callable[[object], str], value: int, text: str
) -> None:
    assert check(value) == text
    assert type(check(value)) is str


@pytest.mark.parametrize("value", [*BAD_FOR_BOTH, *BAD_TARGETS], ids=shown)
def test_a_bad_target_id_is_refused_with_code_and_field(value: object) -> None:
    with pytest.raises(Invalid) as refusal:
        target_id(value, field="target_ids[3]")
    assert (refusal.value.code, refusal.value.field) == ("invalid_target_id", "target_ids[3]")


@pytest.mark.parametrize("value", [*BAD_FOR_BOTH, ".", ".."], ids=shown)
def test_a_bad_user_id_is_refused_with_code_and_field(value: object) -> None:
    with pytest.raises(Invalid) as refusal:
        user_id(value, field="sub")
    assert (refusal.value.code, refusal.value.field) == ("invalid_user_id", "sub")


def test_each_ascii_character_is_in_an_id_exactly_where_the_contract_says_so() -> None:
    def allowed(check: Callable[[object], str]) -> set[str]:
        found = set()
        for char in map(chr, range(256)):
            try:
                check(f"a{char}a")
            except Invalid:
                continue
            found.add(char)
        return found

    words = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    printable = {chr(code) for code in range(0x21, 0x7F)}
    assert allowed(target_id) == words | set("_.:@~|=-")
    assert allowed(user_id) == printable - set(",\"'<>\\")


@pytest.mark.parametrize(
    "key", [b"k", b"!", b"~", b"a,b\"'<>\\", b"9b2f6c1e-0000-4000-8000-000000000000", b"x" * 128]
)
def test_a_good_idempotency_key_comes_back_as_it_was(key: bytes) -> None:
    assert idempotency_key(key) == key


@pytest.mark.parametrize(
    "key",
    [b"", b" ", b"a b", b"a\n", b"a\x00", b"\x7f", b"\x80", "👍".encode(), b"x" * 129, b"x" * 128 + b"\n"],
)
def test_a_bad_idempotency_key_is_refused_with_code_and_field(key: bytes) -> None:
    with pytest.raises(Invalid) as refusal:
        idempotency_key(key)
    assert (refusal.value.code, refusal.value.field) == ("invalid_idempotency_key", "Idempotency-Key")
