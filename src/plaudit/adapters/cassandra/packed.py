"""How headers, registrations and profiles are stored: MessagePack arrays whose first element is the version.

Fields are only ever appended; a reader takes this version and ignores what a newer one appended.
"""

import msgspec

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header
from plaudit.domain.errors import Corrupt
from plaudit.ports.directory import Profile


class _Header(msgspec.Struct, frozen=True, array_like=True, tag_field="packed", tag="header.v1", gc=False):
    """All of a header but what the conditions need as columns: `seq` and `lanes`."""

    type: str
    counts: tuple[int, ...]
    rows: int
    last_at: int
    born: int
    recent: tuple[tuple[str, int], ...]
    deleted: int


class _SplitHeader(_Header, frozen=True, array_like=True, tag_field="packed", tag="header.v1", gc=False):
    """What was appended for split targets; left out where it is empty, and so in every other header."""

    recent_at: tuple[int, ...] = ()
    erased: tuple[int, ...] = ()


class _LongHeader(_SplitHeader, frozen=True, array_like=True, tag_field="packed", tag="header.v1", gc=False):
    """The same for targets that were deleted and are there again."""

    deleted_at: int = 0


class _Registration(
    msgspec.Struct, frozen=True, array_like=True, tag_field="packed", tag="registration.v1", gc=False
):
    type: str
    owner: str | None
    title: str | None
    closed: bool
    allowed: int | None


class _Profile(msgspec.Struct, frozen=True, array_like=True, tag_field="packed", tag="profile.v1", gc=False):
    name: str | None
    avatar_url: str | None
    locale: str | None
    time_zone: str | None


_encode = msgspec.msgpack.Encoder().encode
_headers = msgspec.msgpack.Decoder(_LongHeader)
_registrations = msgspec.msgpack.Decoder(_Registration)
_profiles = msgspec.msgpack.Decoder(_Profile)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def pack_header(header: Header) -> bytes:
    """The bytes of a header."""
    h = header
    front = (h.type, h.counts, h.rows, h.last_at, h.born, h.recent, int(h.deleted))
    if h.deleted_at:
        return _encode(_LongHeader(*front, h.recent_at, h.erased, h.deleted_at))
    if h.recent_at or h.erased:
        return _encode(_SplitHeader(*front, h.recent_at, h.erased))
    return _encode(_Header(*front))


def unpack_header(body: bytes, seq: int, lanes: int | None) -> Header:
    """The header in `body`. Raises `Corrupt`."""
    try:
        h = _headers.decode(body)
    except _UNREADABLE as error:
        raise Corrupt(f"not a header: {error}") from error
    return Header(
        *(seq, h.type, h.counts, h.rows, h.last_at, h.born, h.recent, h.deleted, lanes or 1),
        recent_at=h.recent_at,
        erased=h.erased,
        deleted_at=h.deleted_at,
    )


def pack_registration(registration: Registration) -> bytes:
    """The bytes of a registration."""
    r = registration
    return _encode(_Registration(r.type, r.owner, r.title, r.closed, r.allowed))


def unpack_registration(body: bytes | None) -> Registration | None:
    """The registration in `body`; None for none. Raises `Corrupt`."""
    if body is None:
        return None
    try:
        r = _registrations.decode(body)
    except _UNREADABLE as error:
        raise Corrupt(f"not a registration: {error}") from error
    return Registration(type=r.type, owner=r.owner, title=r.title, closed=r.closed, allowed=r.allowed)


def pack_profile(profile: Profile) -> bytes:
    """The bytes of a profile."""
    return _encode(_Profile(profile.name, profile.avatar_url, profile.locale, profile.time_zone))


def unpack_profile(body: bytes | None) -> Profile | None:
    """The profile in `body`; None for none. Raises `Corrupt`."""
    if body is None:
        return None
    try:
        p = _profiles.decode(body)
    except _UNREADABLE as error:
        raise Corrupt(f"not a profile: {error}") from error
    return Profile(name=p.name, avatar_url=p.avatar_url, locale=p.locale, time_zone=p.time_zone)
