"""Cursors: a place in a list, opaque and signed, so that nobody can send one we did not give for that very list."""

import base64
import binascii
import struct
from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest

from plaudit.domain.errors import Invalid

_MAC_BYTES = 8
_AT = struct.Struct(">q")


class Cursors:
    """Writes and reads cursors. `secret` is any bytes that all processes share; cursors of `old` ones are read too."""

    def __init__(self, secret: bytes, old: Sequence[bytes] = ()) -> None:
        self._keys = [
            blake2b(each, digest_size=32, person=b"plaudit-cursor").digest() for each in (secret, *old)
        ]

    def write(self, context: str, at: int, key: str) -> str:
        """The cursor after the entry (`at` in microseconds, `key`) of the list that `context` describes."""
        body = _AT.pack(at) + key.encode()
        return base64.urlsafe_b64encode(_mac(self._keys[0], context, body) + body).rstrip(b"=").decode()

    def read(self, context: str, cursor: str) -> tuple[int, str]:
        """`(at, key)`. Raises `Invalid` (`invalid_cursor`) for a cursor that we did not give for this list."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        good = any(compare_digest(mac, _mac(key, context, body)) for key in self._keys)
        if len(body) <= _AT.size or not good:
            raise Invalid(
                "invalid_cursor",
                "Send next_cursor as it came, with the same target and filter; leave it out for the first page.",
                field="cursor",
            )
        return _AT.unpack_from(body)[0], body[_AT.size :].decode()


def _mac(key: bytes, context: str, body: bytes) -> bytes:
    return blake2b(context.encode() + b"\0" + body, key=key, digest_size=_MAC_BYTES).digest()
