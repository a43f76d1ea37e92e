"""What becomes of imported records: how they join a cell that may have reactions of its own.

Nothing newer is ever overwritten: a row that is there and at least as new stays as it is, and so do registrations and
profiles, which have no time. Therefore the order of batches does not matter much, and importing a file again changes
nothing. What was deleted or erased here stays so. Versions only go up: past the stored one, and up to the imported one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from plaudit.domain.catalogue import DEFAULT_TYPE, Registration
from plaudit.domain.cell import RECENT, Deleted, Header, Row
from plaudit.domain.transfer import ReactionRecord, Record, TargetRecord, UserRecord

Shown = tuple[str | None, str | None, str | None, str | None]  # name, avatar_url, locale, time_zone


class Tally(msgspec.Struct):
    """What became of records. `skipped` is by `SKIPS`, `refused` holds a code of `REFUSALS` with its record."""

    created: int = 0  # rows
    changed: int = 0  # rows that were there, and older
    targets: int = 0  # registered, deleted, raised to a higher version, or just made known
    users: int = 0  # given a profile or marked as erased
    skipped: Counter[str] = msgspec.field(default_factory=Counter)
    refused: list[tuple[str, Record]] = msgspec.field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Count what the other one counted."""
        self.created += other.created
        self.changed += other.changed
        self.targets += other.targets
        self.users += other.users
        self.skipped.update(other.skipped)
        self.refused += other.refused


class Merged(msgspec.Struct):
    """What one commit of a cell would write: nothing if `header` is the old one."""

    header: Header
    registration: Registration | None
    rows: dict[str, Row]


def merge(
    old: Header,
    registration: Registration | None,
    rows: Mapping[str, Row],
    targets: Sequence[TargetRecord],
    reactions: Sequence[ReactionRecord],
    erased: AbstractSet[str],
    tally: Tally,
    *,
    version: int = 0,
    later: int = 0,
) -> Merged:
    """Join records of one target, in the order of the file, with its cell, and count in `tally` what became of them.

    `rows` holds the rows of the reactions' users and of the header's recent reactors, as far as they exist; `erased`
    are the erased ones among the users. A target never seen comes with an empty header, whose `seq` its versions start
    after. Pure: the caller commits the result atomically if nothing has changed meanwhile.

    Where the records of a target are more than one commit holds: `later` commits are to follow this one, which leaves
    them room below the imported version, and the last one is told that `version`.

    Of a split target this is a cell: a lane with reactions alone, or the root without any. What the other cells have
    committed counts as `later`, because versions are of all of them.
    """
    header = old
    for record in targets:
        refused = len(tally.refused)
        header, registration = _describe(header, registration, record, tally)
        if len(tally.refused) == refused:
            version = max(version, record.version - later)
    changed: dict[str, Row] = {}
    if header.deleted:
        if reactions:
            tally.skipped["target_deleted"] += len(reactions)
    else:
        header, changed = _join(header, registration, rows, reactions, erased, tally)
    if changed or header is not old:
        seq = max(old.seq + 1, version)
    elif version > old.seq and old.type:
        seq = version
    else:
        return Merged(old, registration, changed)
    if changed:
        return Merged(_total(header, seq, rows, changed), registration, changed)
    return Merged(msgspec.structs.replace(header, seq=seq), registration, changed)


def merge_users(
    records: Sequence[UserRecord], there: Mapping[str, Shown], erased: AbstractSet[str], tally: Tally
) -> tuple[dict[str, UserRecord], dict[str, UserRecord]]:
    """The profiles to store and the marks to set, by user, and count in `tally` what became of the records.

    `there` holds the profiles that exist, `erased` those of the users who were erased already.
    """
    marks = {record.user: record for record in records if record.erased_at is not None}
    profiles: dict[str, UserRecord] = {}
    for record in records:
        user = record.user
        if user in erased:
            tally.skipped["already_there" if record.erased_at is not None else "user_erased"] += 1
        elif user in marks:
            if marks[user] is record:
                tally.users += 1
            else:
                tally.skipped["user_erased"] += 1
        elif (known := there.get(user) or (shown(profiles[user]) if user in profiles else None)) is not None:
            tally.skipped["already_there" if known == shown(record) else "registration_kept"] += 1
        else:
            tally.users += 1
            profiles[user] = record
    return profiles, {user: record for user, record in marks.items() if user not in erased}


def shown(record: UserRecord) -> Shown:
    """How the record shows its user."""
    return record.name, record.avatar_url, record.locale, record.time_zone


def _describe(
    header: Header, registration: Registration | None, record: TargetRecord, tally: Tally
) -> tuple[Header, Registration | None]:
    """Header and registration with what the record says; `seq` is left alone."""
    new = not header.type
    if header.deleted:
        tally.skipped["already_there" if record.deleted else "target_deleted"] += 1
    elif record.deleted:
        if header.rows or header.lanes > 1 or registration is not None:
            tally.refused.append(("target_in_use", record))
        else:
            tally.targets += 1
            header = msgspec.structs.replace(
                header, type=header.type or record.type, deleted=Deleted.PURGED, born=0
            )
    elif registration is None and record.registration is not None:
        tally.targets += 1
        return msgspec.structs.replace(header, type=record.type), record.registration
    elif new:
        tally.targets += 1
        header = msgspec.structs.replace(header, type=record.type)
    elif record.type != header.type:
        tally.refused.append(("target_type_mismatch", record))
    elif record.registration not in (None, registration):
        tally.skipped["registration_kept"] += 1
    else:
        tally.skipped["already_there"] += 1
    return header, registration


def _join(
    header: Header,
    registration: Registration | None,
    rows: Mapping[str, Row],
    reactions: Sequence[ReactionRecord],
    erased: AbstractSet[str],
    tally: Tally,
) -> tuple[Header, dict[str, Row]]:
    """The rows that change, and the header with its type if that was not known."""
    changed: dict[str, Row] = {}
    type_name = registration.type if registration else header.type
    for record in reactions:
        user = record.user
        if user in erased:
            tally.skipped["user_erased"] += 1
            continue
        if record.type is not None and type_name and record.type != type_name:
            tally.refused.append(("target_type_mismatch", record))
            continue
        row = changed.get(user) or rows.get(user)
        if row is None:
            tally.created += 1
            changed[user] = Row(record.reaction, record.created_at, record.updated_at)
        elif row.updated_at < record.updated_at:
            tally.changed += 1
            created_at = min(row.created_at or record.created_at, record.created_at)
            changed[user] = Row(record.reaction, created_at, record.updated_at, row.ops, row.base)
        else:
            same = row.updated_at == record.updated_at and row.reaction == record.reaction
            tally.skipped["already_there" if same else "newer_there"] += 1
        type_name = type_name or record.type or DEFAULT_TYPE
    if changed and not header.type:
        header = Header(header.seq, type_name)
    return header, changed


def _total(header: Header, seq: int, rows: Mapping[str, Row], changed: Mapping[str, Row]) -> Header:
    """The header's totals once these rows have changed. The recent reactors are the newest by `created_at`; of a lane,
    by what it says itself."""
    counts, last_at, born, new = list(header.counts), header.last_at, header.born, 0
    if header.lanes > 1:
        since = zip(header.recent_at, header.recent, strict=True)
        people = [(at, user, code) for at, (user, code) in since if user not in changed]
    else:
        people = [(rows[user].created_at, user, code) for user, code in header.recent if user not in changed]
    for user, row in changed.items():
        before = rows.get(user)
        if before is None:
            new += 1
        elif before.reaction:
            while len(counts) < before.reaction:  # it is counted in the root, and leaves in a lane
                counts.append(0)
            counts[before.reaction - 1] -= 1
        reaction, created_at = row.reaction, row.created_at
        if reaction:
            while len(counts) < reaction:
                counts.append(0)
            counts[reaction - 1] += 1
            people.append((created_at, user, reaction))
        if row.updated_at > last_at:
            last_at = row.updated_at
        if created_at < born or not born:
            born = created_at
    people.sort(reverse=True)
    return Header(
        seq,
        header.type,
        tuple(counts),
        header.rows + new,
        last_at,
        born,
        tuple([(user, code) for _, user, code in people[:RECENT]]),
        header.deleted,
        header.lanes,
        tuple([at for at, _, _ in people[:RECENT]]) if header.lanes > 1 else (),
        header.erased,
        header.deleted_at,
    )
