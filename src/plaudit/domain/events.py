"""What a commit publishes: absolute totals plus the transitions in it.

Consumers apply an event if its `seq` is newer than what they have, so lost, doubled, reordered and replayed events
converge. The wire form is a MessagePack array whose first element names kind and version; fields are only ever
appended, and a reader takes this version and the one before.
"""

from typing import Literal

import msgspec

from plaudit.domain.cell import Header, Transition
from plaudit.domain.errors import Corrupt

Cause = Literal["tap", "late", "import", "erase", "delete", "repair"]


class Committed(msgspec.Struct, frozen=True, array_like=True, tag_field="event", tag="committed.v1"):
    """One commit of one cell. Times are microseconds UTC; `counts[code - 1]` as in the header."""

    target: str
    bucket: int
    type: str
    lanes: int
    cause: Cause
    seq: int
    counts: tuple[int, ...]
    rows: int
    born: int
    recent: tuple[tuple[str, int], ...]
    transitions: tuple[Transition, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Committed)


def committed(
    target: str, header: Header, cause: Cause, transitions: list[Transition], bucket: int = 0
) -> bytes:
    """The encoded event of a commit that left `header` behind."""
    return _encoder.encode(
        Committed(
            target,
            bucket,
            header.type,
            header.lanes,
            cause,
            header.seq,
            header.counts,
            header.rows,
            header.born,
            header.recent,
            tuple(transitions),
        )
    )


def decode(body: bytes) -> Committed:
    """The event in `body`. Raises `Corrupt` for anything else."""
    try:
        return _decoder.decode(body)
    # msgspec lets two more through: a text that is not UTF-8, and arrays nested deeper than the stack.
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"not a committed.v1 event: {error}") from error
