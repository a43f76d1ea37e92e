"""Ids are opaque strings the host app already has; this module says which strings they may be."""

import re

from plaudit.domain.errors import Invalid

MAX_ID_LENGTH = 128
RESERVED_TARGETS = frozenset({"counts", "mine", "feed", "stream", ".", ".."})
RESERVED_USERS = frozenset(
    {".", ".."}
)  # clients take these out of paths, so such a user could never be erased

# \Z and not $: `$` would let a trailing newline through.
_TARGET = re.compile(r"[A-Za-z0-9_.:@~|=-]{1,128}\Z")
_USER = re.compile(r"[!#$%&()*+\-./0-9:;=?@A-Z\[\]^_`a-z{|}~]{1,128}\Z")
_KEY = re.compile(rb"[\x21-\x7e]{1,128}\Z")


def target_id(value: object, field: str = "target_id") -> str:
    """The target id in `value`; a JSON integer becomes its decimal text.

    Raises `Invalid` (`invalid_target_id`) for anything else.
    """
    text = _text(value)
    if text is not None and _TARGET.match(text) and text not in RESERVED_TARGETS:
        return text
    raise Invalid(
        "invalid_target_id",
        f"A target id is 1-{MAX_ID_LENGTH} characters of A-Z a-z 0-9 _ . : @ ~ | = - "
        f"and none of {', '.join(sorted(RESERVED_TARGETS))}.",
        field=field,
    )


def user_id(value: object, field: str = "user_id") -> str:
    """The user id in `value`; a JSON integer becomes its decimal text.

    Raises `Invalid` (`invalid_user_id`) for anything else.
    """
    text = _text(value)
    if text is not None and _USER.match(text) and text not in RESERVED_USERS:
        return text
    raise Invalid(
        "invalid_user_id",
        f"A user id is 1-{MAX_ID_LENGTH} printable ASCII characters without space, comma, quotes, < > or \\, "
        "and not . or ..",
        field=field,
    )


def idempotency_key(value: bytes) -> bytes:
    """The key as sent: 1-128 characters 0x21-0x7E. Raises `Invalid` (`invalid_idempotency_key`)."""
    if _KEY.match(value):
        return value
    raise Invalid(
        "invalid_idempotency_key",
        "An Idempotency-Key is 1-128 printable ASCII characters without spaces, for example a UUID.",
        field="Idempotency-Key",
    )


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    # bool is an int to Python, never to the person who wrote the JSON.
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**MAX_ID_LENGTH:
        return str(value)
    return None
