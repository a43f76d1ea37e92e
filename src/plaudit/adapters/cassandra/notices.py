"""How messages to owners are stored: MessagePack arrays, their version first. Fields are only ever appended."""

from collections.abc import Collection

import msgspec

from plaudit.domain.errors import Corrupt
from plaudit.ports.notifications import Notification


class _Message(msgspec.Struct, frozen=True, array_like=True, tag_field="packed", tag="message.v1", gc=False):
    """All of a message but its place (owner, at, id) and its read mark."""

    target: str
    type: str
    title: str | None
    total: int
    split: dict[int, int]
    sample: tuple[tuple[str, int], ...]


_encode = msgspec.msgpack.Encoder().encode
_messages = msgspec.msgpack.Decoder(_Message)


def pack_message(m: Notification) -> bytes:
    """The bytes of a message."""
    return _encode(_Message(m.target, m.type, m.title, m.total, m.split, m.sample))


def unpack_message(body: bytes, owner: str, at: int, id_: str, *, read: bool = False) -> Notification:
    """The message in `body`. Raises `Corrupt`."""
    try:
        m = _messages.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"not a message: {error}") from error
    return Notification(
        id=id_,
        owner=owner,
        at=at,
        target=m.target,
        type=m.type,
        title=m.title,
        total=m.total,
        split=m.split,
        sample=m.sample,
        read=read,
    )


def at_place(message: Notification, at: int) -> Notification:
    """The message with the time that it was told first."""
    return message if message.at == at else msgspec.structs.replace(message, at=at)


def without(message: Notification, users: Collection[str]) -> Notification:
    """The message without these users in its sample."""
    sample = tuple(pair for pair in message.sample if pair[0] not in users)
    return message if len(sample) == len(message.sample) else msgspec.structs.replace(message, sample=sample)
