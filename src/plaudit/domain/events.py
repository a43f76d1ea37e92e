"""What a commit publishes: absolute totals plus the transitions in it.

Consumers apply an event if its `seq` is newer than what they have, so lost, doubled, reordered and replayed events
converge. The wire form is a MessagePack array whose first element names kind and version; fields are only ever
appended, and a reader takes this version and the one before.
"""

from typing import Literal

import msgspec

from plaudit.domain.catalogue import Registration
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
    deleted: int = 0
    told: tuple[str, str | None, str | None, bool, int | None] | None = None
    recent_at: tuple[int, ...] = ()

    @property
    def header(self) -> Header:
        """The header that the commit left behind, but for `last_at`, which only a commit needs."""
        return Header(
            *(self.seq, self.type, self.counts, self.rows, 0, self.born, self.recent, self.deleted),
            *(self.lanes, self.recent_at),
        )

    @property
    def registration(self) -> Registration | None:
        """What the host app told us about the target, as it was at the commit."""
        if self.told is None:
            return None
        type_, owner, title, closed, allowed = self.told
        return Registration(type=type_, owner=owner, title=title, closed=closed, allowed=allowed)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Committed)


def committed(
    target: str,
    header: Header,
    cause: Cause,
    transitions: list[Transition],
    bucket: int = 0,
    registration: Registration | None = None,
) -> bytes:
    """The encoded event of a commit that left `header` behind, and `registration` as it was or as it made it."""
    r = registration
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
            int(header.deleted),
            None if r is None else (r.type, r.owner, r.title, r.closed, r.allowed),
            header.recent_at,
        )
    )


def decode(body: bytes) -> Committed:
    """The event in `body`. Raises `Corrupt` for anything else."""
    try:
        return _decoder.decode(body)
    # msgspec lets two more through: a text that is not UTF-8, and arrays nested deeper than the stack.
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"not a committed.v1 event: {error}") from error
