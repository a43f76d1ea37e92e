"""What is remembered of a target between events, in its stored form. The rules are in `plaudit.domain.windows`."""

from collections.abc import Sequence
from itertools import zip_longest

import msgspec

from plaudit.domain.errors import Corrupt

# Fewer later events of a cell may come before one that is taken all the same: what 64 bits hold (as RFC 4303, 3.4.3).
REACH = 64


class Seen(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A user in an open window: the reaction at its opening, the reaction now, and since when (microseconds UTC)."""

    before: int
    now: int
    at: int


class CellCounts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The counts of one cell when the window opened (None: it had no event since), and now; `seq` is of the last event
    that was applied. What was nobody's news since then is in both, so the difference has none of it. Without a window
    `counts` is that difference, of the last one.

    Bit n of `missing` says that the event of `seq - n` has not come. Of those that are `sure` or more behind, this is
    not known: they may have come before the window opened, when there was nothing to remember.
    """

    seq: int
    opened: tuple[int, ...] | None
    counts: tuple[int, ...]
    missing: int = 0
    sure: int = REACH

    @property
    def grown(self) -> tuple[int, ...]:
        """By how much they grew since the window opened."""
        return summed(self.counts, [-count for count in self.opened]) if self.opened is not None else ()

    def missing_by(self, seq: int) -> int:
        """What is missing of a cell that is at `seq`, no less than its own, where nothing has come since."""
        by = min(seq - self.seq, REACH)
        return (self.missing << by | (1 << by) - 1) & (1 << REACH) - 1


class Window(msgspec.Struct, frozen=True, array_like=True):
    """An open window. So many `taps` came, the newest `lasted_s` whole seconds after its opening; `more`: there are
    users beyond `seen`."""

    opened_at: int
    closes_at: int
    lasted_s: int
    taps: int
    seen: dict[str, Seen]
    more: bool


class Watch(msgspec.Struct, frozen=True, array_like=True, tag_field="watch", tag="watch.v1"):
    """What is remembered of a target: its cells, the open window, how many messages followed one another (`level`),
    when the last one was due (0: never), and which users were told of when (seconds UTC, oldest first)."""

    cells: dict[int, CellCounts] = {}
    window: Window | None = None
    level: int = 0
    message_at: int = 0
    told: dict[str, int] = {}

    @property
    def users(self) -> int:
        """How many it knows by name: what its size goes by."""
        return len(self.told) + (len(self.window.seen) if self.window is not None else 0)


UNSEEN = Watch()
UNSEEN_CELL = CellCounts(0, None, ())
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Watch)


def pack(watch: Watch) -> bytes:
    """The stored form."""
    return _encoder.encode(watch)


def unpack(body: bytes) -> Watch:
    """The watch in `body`. Raises `Corrupt` for anything else."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Corrupt(f"not a watch.v1: {error}") from error


def without_unsure(cell: CellCounts) -> CellCounts:
    """The cell as if all had come of which that is not known."""
    return msgspec.structs.replace(cell, missing=cell.missing & (1 << cell.sure) - 1)


def summed(counts: Sequence[int], more: Sequence[int]) -> tuple[int, ...]:
    """Counts and counts together."""
    return tuple(map(sum, zip_longest(counts, more, fillvalue=0)))
