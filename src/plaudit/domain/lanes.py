"""Lanes: how a target that is too big or too hot for one cell goes on as a root and many lanes.

One commit seals the root (`seal`). From then on nobody taps there: each user has a lane (`lane_of`), a cell of its own
that starts from the root. At a user's first tap in it the row of the root is taken over as a whole, operations too
(`touched`), so that a key which was applied on the root is found again. Totals of a lane are relative to the root, and
`merge` adds up what a target shows. Pure; the rules of taps are in `fold`, which knows nothing of all this.

What the other cells rely on:

- a sealed root changes only where rows go: by a deletion, or the erasure of a user;
- whatever a lane took from the root (rows, type, registration, whether it is deleted) was read after the state of the
  lane that it is proposed from. So copies never go back, however many processes copy;
- a root that was purged is later than anything that was in its lanes, and a lane that is opened again is no earlier: so
  all that is committed to a target that was registered again, in whichever cell, is newer than what was deleted;
- each user is in one lane, so any choice of one state per lane is a state that the target could have had: totals that
  are added up from lanes of different moments are never negative and never count a user twice.
"""

from collections.abc import Mapping
from zlib import crc32

import msgspec

from plaudit.domain.catalogue import DEFAULT_TYPE, NONE
from plaudit.domain.cell import (
    RECENT,
    Deleted,
    Header,
    Row,
    Transition,
    apply_to_counts,
    apply_to_recent,
    recent_since,
)

LANES = 64
MAX_LANES = 1024


def lane_of(user: str, lanes: int) -> int:
    """The bucket of a user's lane, 1 to `lanes`. For ever: it depends on nothing but the two."""
    return 1 + crc32(user.encode()) % lanes


def route(target: str, bucket: int) -> str:
    """What load balancers may hash on, so that one process takes the taps of one cell."""
    return f"{target}/{bucket}" if bucket else target


def seal(root: Header, lanes: int) -> Header:
    """The root after the commit that splits it; as it is where it is split or deleted already.

    Whoever had no type yet gets the default one, or each lane would take that of its own first tap.
    """
    if root.lanes > 1 or root.deleted:
        return root
    if not 2 <= lanes <= MAX_LANES:
        raise ValueError(f"a target is split over 2 to {MAX_LANES} lanes")
    # Nobody knows since when they react, but their order, and that it was before whatever comes.
    since = tuple(root.last_at - place for place in range(len(root.recent)))
    return msgspec.structs.replace(
        root, seq=root.seq + 1, lanes=lanes, recent_at=since, type=root.type or DEFAULT_TYPE
    )


def first(root: Header, bucket: int) -> Header:
    """A lane that nobody wrote yet: `seq` 0, nothing counted, and everything later than whatever is in the root."""
    mine = [
        (person, at)
        for person, at in zip(root.recent, root.recent_at, strict=True)
        if lane_of(person[0], root.lanes) == bucket
    ]
    return Header(
        type=root.type,
        last_at=root.last_at,
        recent=tuple(person for person, _ in mine),
        recent_at=tuple(at for _, at in mine),
        deleted=root.deleted,
        lanes=root.lanes,
        deleted_at=root.deleted_at,
    )


def touched(row: Row) -> Row:
    """A row of the root, as its user's lane takes it over."""
    return msgspec.structs.replace(row, base=row.reaction)


def merge(root: Header, lanes: Mapping[int, Header]) -> Header:
    """What a split target shows: the root and those of its lanes that were written, by bucket.

    `seq` is the sum of all: it goes up with every commit anywhere, and says which of two views has seen more, but two
    views may each have seen what the other has not. The newest three of `recent` are the newest of all where nobody
    took a reaction back; else there may be a newer one whom their lane does not name any more.
    """
    parts = (root, *lanes.values())
    counts = [0] * max(len(part.counts) for part in parts)
    for part in parts:
        for place, number in enumerate(part.counts):
            counts[place] += number
    births = [part.born for part in parts if part.born]
    people = [
        (at, person)
        for bucket, part in ((0, root), *lanes.items())
        for person, at in zip(part.recent, part.recent_at, strict=True)
        if bucket or lane_of(person[0], root.lanes) not in lanes
    ]
    people.sort(key=lambda each: -each[0])
    gone = bool(root.deleted)  # the lanes follow one by one
    return Header(
        seq=sum(part.seq for part in parts),
        type=root.type,
        counts=() if gone else tuple(counts),
        rows=sum(part.rows for part in parts),
        last_at=max(part.last_at for part in parts),
        born=min(births, default=0),
        recent=() if gone else tuple(person for _, person in people[:RECENT]),
        deleted=root.deleted,
        lanes=root.lanes,
    )


def close(cell: Header) -> Header:
    """A cell of a split target that is being deleted. Its rows are to be removed whatever it counts: it may count none
    of those that its lane only took over."""
    if cell.deleted:
        return cell
    emptied = msgspec.structs.replace(cell, counts=(), recent=(), recent_at=(), erased=())
    return msgspec.structs.replace(
        emptied, seq=cell.seq + 1, last_at=cell.last_at + 1, deleted=Deleted.PURGING
    )


def follows(lane: Header, root: Header) -> bool:
    """Whether a lane was written and says what the root says of the whole target.

    Lanes are purged before the root. One that was by an earlier deletion is written once more, or a commit that
    somebody wanted in between, to open it, could still be applied.
    """
    purged = lane.deleted == Deleted.PURGED and bool(root.deleted) and lane.last_at >= root.last_at
    return bool(lane.seq) and lane.type == root.type and (lane.deleted == root.deleted or purged)


def follow(lane: Header, root: Header) -> Header:
    """The lane after the commit by which it says what the root says."""
    last_at = max(lane.last_at, root.last_at)
    typed = msgspec.structs.replace(lane, type=root.type, last_at=last_at, deleted_at=root.deleted_at)
    if root.deleted and not lane.deleted:
        return close(typed)
    deleted = lane.deleted if root.deleted else Deleted.NO
    return msgspec.structs.replace(typed, seq=lane.seq + 1, deleted=deleted)


def let_go(lane: Header, user: str, row: Row, now: int) -> tuple[Header, Row, Transition]:
    """A user's reaction goes from a lane for good; the row stays, as long as the root has one that it took over. It is
    told as in `plaudit.domain.removal.erase`."""
    at = max(now, lane.last_at + 1)
    moved = Transition(user, row.reaction, NONE, row.created_at, at)
    recent = apply_to_recent(lane.recent, [moved])
    header = msgspec.structs.replace(
        lane,
        seq=lane.seq + 1,
        counts=apply_to_counts(lane.counts, [moved]),
        last_at=at,
        recent=recent,
        recent_at=recent_since(lane, recent, [moved]),
    )
    return header, Row(NONE, row.created_at, at, b"", row.base), msgspec.structs.replace(moved, before=None)


def has_let_go(row: Row) -> bool:
    """Whether a lane's row is what `let_go` leaves."""
    return row.base is not None and row.reaction == NONE and not row.ops


def without(cell: Header, user: str, reaction: int, now: int, *, rows: int) -> Header:
    """A cell without a row, and without a change of what it counts: it goes to the tally of nobody's.

    In the root, whose lane has let go of `reaction` already, and then in the lane that had it as `base`. So at each
    moment counts are the rows (in a lane: less what they started from) and the tally (in a lane: less the tally).
    `rows`: how many it counts less. A deleted cell counts nothing. `last_at` tells this commit from that of another
    user who had the same reaction: nothing else would.
    """
    tally = list(cell.erased) + [0] * (reaction - len(cell.erased))
    if reaction:
        tally[reaction - 1] += 1
    people = [each for each in zip(cell.recent, cell.recent_at, strict=True) if each[0][0] != user]
    return msgspec.structs.replace(
        cell,
        seq=cell.seq + 1,
        rows=cell.rows - rows,
        last_at=max(now, cell.last_at + 1),
        recent=tuple(person for person, _ in people),
        recent_at=tuple(at for _, at in people),
        erased=() if cell.deleted else tuple(tally),
    )
