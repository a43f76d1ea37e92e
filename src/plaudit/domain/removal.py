"""Deleting a target and erasing a user: the commits that take rows away.

Registering is here because it undoes a deletion. Deletion is two kinds of commit: one that closes the cell
(`begin_purge`: counts become 0, taps are refused from then on) and then as many as it takes to remove its rows
(`purge`), the last of which says it is done. Erasure removes one user's row from one cell (`erase`). Headers stay for
ever, so that `seq` never starts again.
"""

from collections.abc import Mapping

import msgspec

from plaudit.domain.cell import (
    Deleted,
    Header,
    Row,
    Transition,
    apply_to_counts,
    apply_to_recent,
    recent_since,
)
from plaudit.domain.errors import Conflict


def begin_purge(header: Header | None, type_name: str) -> Header:
    """The header of a target that is being deleted. Idempotent: a deleted one comes back as it is."""
    old = header or Header(type=type_name)
    if old.deleted:
        return old
    closed = msgspec.structs.replace(old, counts=(), recent=(), deleted=Deleted.PURGING)
    return purge(closed, 0)


def purge(header: Header, removed: int) -> Header:
    """The header after `removed` more rows went away; with the last row the target is purged."""
    rows = header.rows - removed
    if rows:
        return msgspec.structs.replace(header, seq=header.seq + 1, rows=rows)
    return msgspec.structs.replace(header, seq=header.seq + 1, rows=0, born=0, deleted=Deleted.PURGED)


def purge_rows(
    header: Header, rows: Mapping[str, Row], after: int = 0, *, last: bool
) -> tuple[Header, list[Transition]]:
    """The header without these rows, and the transitions that take their users off every list. Those of before may
    never have been told, so what they leave is not known, and who has no reaction now is told of too.

    `last`: no others are left, so the cell is purged, whatever the header counted. Its time goes on behind everything
    that was in it, and behind `after`, with the last page alone: every page is told at that time, whoever tells it.
    """
    at = max(header.last_at, after) + 1
    transitions = [
        Transition(user, None, 0, row.created_at, at) for user, row in rows.items() if row.created_at
    ]
    if last:
        return purge(msgspec.structs.replace(header, last_at=at), header.rows), transitions
    # At least one is left, also in a lane, which does not count all of its rows.
    return purge(header, min(len(rows), header.rows - 1)), transitions


def register(header: Header | None, type_name: str) -> Header:
    """The header of a target that is registered: of that type and, if it was purged, there again.

    A registration is a commit too, so that whoever has the higher `seq` also has the newer registration.
    Raises `Conflict` while its rows are still being removed.
    """
    old = header or Header()
    if old.deleted == Deleted.PURGING:
        raise Conflict("this target is still being deleted; register it when the deletion job is done")
    deleted_at = old.last_at if old.deleted else old.deleted_at
    return msgspec.structs.replace(
        old, seq=old.seq + 1, type=type_name, deleted=Deleted.NO, deleted_at=deleted_at
    )


def told_before(header: Header | None) -> int | None:
    """What owners were told before this time (microseconds UTC) is of a target that was deleted; None: all of it.

    One that is there again under the same name has nothing to tell from before its first reaction.
    """
    return None if header is None or header.deleted else header.born or None


def erase(header: Header, user: str, row: Row, now: int) -> tuple[Header, Transition]:
    """The header without this user's row, and the transition that consumers are told. Those of before may never have
    been told, so what it leaves is not known.

    On a target that is being purged the counts are 0 already and only the row goes. A lane may have more rows than it
    counts, so there it is never taken for the last.
    """
    at = max(now, header.last_at + 1)
    transition = Transition(user, row.reaction, 0, row.created_at, at)
    told = msgspec.structs.replace(transition, before=None)
    if header.deleted:
        removed = min(1, header.rows - 1) if header.lanes > 1 else 1
        return purge(msgspec.structs.replace(header, last_at=at), removed), told
    recent = apply_to_recent(header.recent, [transition])
    after = msgspec.structs.replace(
        header,
        seq=header.seq + 1,
        counts=apply_to_counts(header.counts, [transition]),
        rows=header.rows - 1,
        last_at=at,
        recent=recent,
        recent_at=recent_since(header, recent, [transition]) if header.recent_at else (),
    )
    return after, told


def counts_of(rows: Mapping[str, Row]) -> tuple[int, ...]:
    """The counts that these rows add up to: what every header must show at rest."""
    transitions = [Transition(user, 0, row.reaction, 0, 0) for user, row in rows.items() if row.reaction]
    return apply_to_counts((), transitions)
