"""Join: by which commits a cell takes imported records in, and what each of them publishes. Pure.

A commit holds 128 users and 16 KiB, so the records of one target may need several. They are planned over one state of
the cell, one upon the other; a commit proves the state it was planned over, so a plan that is out of date is refused
and made anew from its part.

What is said of a split target as a whole goes to its root, reactions go to the lanes of their users, and the version to
the root again when all of that is there.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import msgspec

from plaudit.domain.catalogue import NONE, Registration
from plaudit.domain.cell import MAX_USERS_PER_COMMIT, Header, Row, Transition
from plaudit.domain.lanes import lane_of
from plaudit.domain.merge import Merged, Tally, merge
from plaudit.domain.transfer import ReactionRecord, TargetRecord
from plaudit.ports.cells import CellState, Proposal
from plaudit.services.propose import MAX_BYTES, ROW_BYTES, weight_bytes


class Part(NamedTuple):
    """Records of one target for one commit. `version` and `later`: see `plaudit.domain.merge.merge`.

    `of_root`: it has what the root of a split target takes, and `version` is that of the whole target.
    """

    targets: Sequence[TargetRecord]
    reactions: Sequence[ReactionRecord]
    version: int
    later: int
    of_root: bool = False

    @property
    def users(self) -> list[str]:
        """Who reacts in it."""
        return list(dict.fromkeys(record.user for record in self.reactions))


class Step(NamedTuple):
    """A commit (None: everything is there already), and what is published then: nothing without a header."""

    part: Part
    proposal: Proposal | None
    header: Header | None
    registration: Registration | None
    transitions: list[Transition]
    tally: Tally


def parts_of(targets: Sequence[TargetRecord], reactions: Sequence[ReactionRecord]) -> list[Part]:
    """The records of one target, in their order, cut where a commit is full."""
    cut: list[list[ReactionRecord]] = [[]]
    users: set[str] = set()
    size = 0
    for record in reactions:
        if record.user not in users:
            weight = len(record.user) + ROW_BYTES
            if len(users) == MAX_USERS_PER_COMMIT or size + weight > MAX_BYTES:
                cut.append([])
                users, size = set(), 0
            users.add(record.user)
            size += weight
        cut[-1].append(record)
    first = Part(targets, cut[0], 0, len(cut) - 1)
    rest = [Part((), some, 0, len(cut) - 1 - n) for n, some in enumerate(cut[1:], 1)]
    if rest:
        rest[-1] = rest[-1]._replace(version=max((record.version for record in targets), default=0))
    return [first, *rest]


def lanes_of(parts: Iterable[Part], lanes: int) -> tuple[Part, dict[int, list[Part]], Part]:
    """These parts of a target that is split: what goes to its root, to its lanes by bucket, and to its root at last."""
    parts = list(parts)
    targets = [record for part in parts for record in part.targets]
    by_lane: dict[int, list[ReactionRecord]] = {}
    for part in parts:
        for record in part.reactions:
            by_lane.setdefault(lane_of(record.user, lanes), []).append(record)
    version = max(
        (*(part.version for part in parts), *(record.version for record in targets)),
        default=0,
    )
    # Nothing is raised to a version yet: that of all cells is known when the lanes have had their commits.
    first = Part(targets, (), 0, version, of_root=True)
    last = Part((), (), version, 0, of_root=True)
    return first, {bucket: parts_of((), some) for bucket, some in by_lane.items()}, last


def steps(state: CellState, parts: Sequence[Part], erased: AbstractSet[str]) -> list[Step]:
    """What takes these parts in. `state` has the rows of all their users and of the header's recent reactors.

    A lane is as `plaudit.services.lanes.SplitCells` shows it, and the parts of a split root have no reactions.
    """
    made: list[Step] = []
    header, registration, rows = state.header, state.registration, dict(state.rows)
    deleted_at = header.deleted_at if header is not None else 0
    todo = deque(
        part._replace(reactions=[_behind(deleted_at, each) for each in part.reactions]) for part in parts
    )
    while todo:
        part, tally = todo.popleft(), Tally()
        old = header or Header()
        merged = merge(
            old,
            registration,
            rows,
            part.targets,
            part.reactions,
            erased,
            tally,
            version=part.version,
            later=part.later,
        )
        # Rows that were tapped remember operations, and weigh more than was thought when the parts were cut.
        if len(part.reactions) > 1 and weight_bytes(merged.rows) > MAX_BYTES:
            todo.extendleft(reversed(_halves(part)))
            continue
        transitions = list(_transitions(part, merged, rows, erased))
        proposal = None
        if merged.header is not old:
            proposal = _proposal(old, registration, merged)
            header, registration = merged.header, merged.registration
            rows.update(merged.rows)
        made.append(Step(part, proposal, header, registration, transitions, tally))
    return made


def _behind(deleted_at: int, record: ReactionRecord) -> ReactionRecord:
    """The record with a time at which lists take it: they take nothing that is not newer than the deletion."""
    if record.updated_at > deleted_at:
        return record
    return msgspec.structs.replace(record, updated_at=deleted_at + 1)


def _proposal(old: Header, registration: Registration | None, merged: Merged) -> Proposal:
    """The commit from the one to the other. What creates a lane gives it the registration of the root."""
    if old.lanes > 1 and not old.seq:
        return Proposal(0, merged.header, merged.rows, merged.registration)
    new = merged.registration if merged.registration is not registration else None
    return Proposal(old.seq, merged.header, merged.rows, new, lanes=old.lanes)


def _halves(part: Part) -> list[Part]:
    half = len(part.reactions) // 2
    version = max((record.version for record in part.targets), default=part.version)
    return [
        Part(part.targets, part.reactions[:half], 0, part.later + 1),
        Part((), part.reactions[half:], version, part.later),
    ]


def _transitions(
    part: Part, merged: Merged, rows: dict[str, Row], erased: AbstractSet[str]
) -> Iterator[Transition]:
    """What changes; and what is as the file has it already, because whoever stored it may have died before it told."""
    if merged.header.deleted:
        return
    newest = {record.user: record for record in sorted(part.reactions, key=lambda each: each.updated_at)}
    for user, record in newest.items():
        before, after = rows.get(user), merged.rows.get(user)
        if after is None:
            same = before is not None and before.updated_at == record.updated_at
            if before is not None and same and before.reaction == record.reaction and user not in erased:
                # A row that was never tapped had no other reaction before, but for what a lane took over: clearing the
                # lists of all the others would leave them full of tombstones.
                yield from _moved(user, None if before.ops else before.base or NONE, before)
            continue
        was = before.reaction if before is not None else NONE
        if before is not None and before.created_at not in (0, after.created_at):
            # Lists are keyed by `created_at`, which moves only here: the entry goes from its old place.
            yield Transition(user, was, NONE, before.created_at, after.updated_at)
            was = NONE
        yield from _moved(user, was, after)


def _moved(user: str, before: int | None, row: Row) -> Iterator[Transition]:
    if before != NONE or row.reaction != NONE:  # else no list has, or gets, an entry
        yield Transition(user, before, row.reaction, row.created_at, row.updated_at)
