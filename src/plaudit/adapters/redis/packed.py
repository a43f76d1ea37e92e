"""How a target is stored: format version (1 byte), seq (8 bytes, big-endian), then the rest as a MessagePack array.

Version and seq have their places in every version, so that a script can compare what it cannot read. Fields are only
ever appended. A target that is known to have no header is a version and a seq of 0, and nothing after them.
"""

import struct

import msgspec

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header
from plaudit.domain.errors import Corrupt
from plaudit.ports.ledger import Target

VERSION = 1
_FRONT = struct.Struct(">BQ")
_FRONT_BYTES = _FRONT.size
_unpack_front = _FRONT.unpack_from


class _Rest(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A header but for `seq` and `last_at` (which only commits need), and the registration."""

    type: str
    counts: tuple[int, ...]
    rows: int
    born: int
    recent: tuple[tuple[str, int], ...]
    deleted: int
    lanes: int
    told: tuple[str, str | None, str | None, bool, int | None] | None


class _SplitRest(_Rest, frozen=True, array_like=True, gc=False):
    """What was appended for cells of split targets; left out where it is empty, and so everywhere else."""

    recent_at: tuple[int, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_SplitRest).decode
_NOBODY = Target()
NOTHING = _FRONT.pack(VERSION, 0)
"""A target without a header."""


def pack(header: Header, registration: Registration | None) -> bytes:
    """The bytes of a target. `seq` may be anything up to 2^64 - 1."""
    r, h = registration, header
    told = None if r is None else (r.type, r.owner, r.title, r.closed, r.allowed)
    fields = (h.type, h.counts, h.rows, h.born, h.recent, int(h.deleted), h.lanes, told)
    rest = _SplitRest(*fields, h.recent_at) if h.recent_at else _Rest(*fields)
    return _FRONT.pack(VERSION, h.seq) + _encode(rest)


def unpack(body: bytes) -> Target:
    """The target in `body`, with a `last_at` of 0. Raises `Corrupt`: not of this version."""
    if body == NOTHING:
        return _NOBODY
    try:
        version, seq = _unpack_front(body)
        if version != VERSION:
            raise Corrupt(f"a target in format {version}, not {VERSION}")
        rest = _decode(memoryview(body)[_FRONT_BYTES:])
    except (struct.error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"not a target: {error}") from error
    registration = None
    if rest.told is not None:
        type_, owner, title, closed, allowed = rest.told
        registration = Registration(type=type_, owner=owner, title=title, closed=closed, allowed=allowed)
    return Target(
        Header(
            *(seq, rest.type, rest.counts, rest.rows, 0, rest.born, rest.recent, rest.deleted, rest.lanes),
            recent_at=rest.recent_at,
        ),
        registration,
    )
