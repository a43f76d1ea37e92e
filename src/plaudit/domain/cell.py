"""The cell: what must agree lives together and changes in one atomic commit. `fold` is the only place with the rules.

A cell is one target (or one lane of a split target): a header with the totals and one row per user. Everything else
Plaudit shows (counters, lists, notifications) is derived from these two and can be rebuilt.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import IntEnum

import msgspec

from plaudit.domain.catalogue import DEFAULT_TYPE, NONE, Catalogue, Registration
from plaudit.domain.operations import recall, remember

RECENT = 3
MAX_USERS_PER_COMMIT = 128
MAX_TAPS_PER_USER = 4


class Verb(IntEnum):
    """How a tap asks: toggle (the same again removes) or set (a wish: this one, or none)."""

    TOGGLE = 0
    SET = 1


class Outcome(IntEnum):
    """What a tap did."""

    CREATED = 1
    SWITCHED = 2
    REMOVED = 3
    UNCHANGED = 4


class Deleted(IntEnum):
    """Whether the target is there: purging means its rows are still being removed."""

    NO = 0
    PURGING = 1
    PURGED = 2


class Header(msgspec.Struct, frozen=True, gc=False):
    """The totals of a cell.

    `counts[code - 1]` is the number of rows with that reaction; `rows` counts all rows, those without a reaction too.
    Times are microseconds UTC. `born` is the smallest `created_at` there was since the target was last purged, 0 if
    there was none. `deleted_at` is when the target was deleted that is there again, 0 where it never was. `recent`
    holds at most three current reactors, newest first, as (user, code). `seq` goes up by one with every commit and
    decides which of two states is the newer one.

    Where `lanes` is more than 1 this is one part of a split target (see `plaudit.domain.lanes`): counts and rows of a
    lane are relative to the root, so counts may be negative; `recent_at` says since when each of `recent` reacts, and
    `erased[code - 1]` how many rows of that reaction were taken away without a trace in `counts`. Both are empty
    elsewhere.
    """

    seq: int = 0
    type: str = ""
    counts: tuple[int, ...] = ()
    rows: int = 0
    last_at: int = 0
    born: int = 0
    recent: tuple[tuple[str, int], ...] = ()
    deleted: int = Deleted.NO
    lanes: int = 1
    recent_at: tuple[int, ...] = ()
    erased: tuple[int, ...] = ()
    deleted_at: int = 0

    @property
    def total(self) -> int:
        """How many users have a reaction."""
        return sum(self.counts)


class Row(msgspec.Struct, frozen=True, gc=False):
    """One user's state in a cell. `created_at` is the time of their first reaction and never changes (0: none yet).

    `base`, in lanes alone, is the reaction of the user's row in the root, which this row took over; None: no such row.
    """

    reaction: int = NONE
    created_at: int = 0
    updated_at: int = 0
    ops: bytes = b""
    base: int | None = None


class Tap(msgspec.Struct, frozen=True, gc=False):
    """One request to change a reaction. `op` is its operation id; `granted` whether the token grants this target."""

    user: str
    verb: int
    reaction: int
    op: bytes
    keyed: bool = False
    target_type: str | None = None
    granted: bool = False


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What became of a tap. `outcome` and `previous` are of its first application, `reaction` is of now."""

    outcome: int
    previous: int
    reaction: int
    replayed: bool = False


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A tap that was not stored, with the stable error code that says why."""

    code: str


class Transition(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One user's net change in a commit. `before` is None where it is not known: a republished state, or a row
    that goes."""

    user: str
    before: int | None
    after: int
    created_at: int
    at: int


class Plan(msgspec.Struct, gc=False):
    """What one commit would write, and what to answer once it is written. No `changed` row: nothing to write."""

    header: Header
    changed: dict[str, Row]
    answers: list[Answer | Refused]
    transitions: list[Transition]


class Rules(msgspec.Struct, frozen=True):
    """What the installation allows: its catalogue, and whether targets must be registered before anyone reacts."""

    catalogue: Catalogue
    registered_only: bool = False


_NO_ROW = Row()
# Plain numbers: to look a member up in its enumeration costs more than to apply a rule.
_TOGGLE = int(Verb.TOGGLE)
_CREATED, _SWITCHED, _REMOVED, _UNCHANGED = map(int, Outcome)
_Result = tuple[Tap, int, int, bool]  # a tap that was applied: outcome, previous, replayed


def fold(
    header: Header | None,
    rows: Mapping[str, Row],
    taps: Sequence[Tap],
    now: int,
    rules: Rules,
    registration: Registration | None = None,
    erased: Collection[str] = (),
) -> Plan:
    """Apply `taps` in order to a cell and say what to write.

    `rows` holds the existing rows of the taps' users; `now` is microseconds UTC. A user's taps make at most one
    transition (before the first, after the last). Every answer shows the state after the whole commit, so that one
    `version` always means one state. Users who were `erased` are refused. A target that nobody registered has the type
    of its reactions: where there are none, the next one decides it. Pure: the caller commits the plan atomically if
    `header.seq` is still the same.
    """
    old = header or Header()
    type_name = registration.type if registration else old.type
    # Of a lane nobody knows from here whether anybody reacts.
    free = registration is None and old.lanes == 1 and not old.deleted
    reactors = old.total
    changed: dict[str, Row] = {}
    results: list[_Result | Refused] = []
    last_at, now_s = old.last_at, now // 1_000_000
    for tap in taps:
        if erased and tap.user in erased:
            results.append(Refused("user_erased"))
            continue
        row = changed.get(tap.user) or rows.get(tap.user) or _NO_ROW
        its_type = type_name or tap.target_type or DEFAULT_TYPE
        if free and not reactors:
            its_type = tap.target_type or its_type
        asked, before = tap.verb << 4 | tap.reaction, row.reaction
        after = NONE if tap.verb == _TOGGLE and tap.reaction == before else tap.reaction
        code = _barred(tap, old, its_type, rules, registration)
        known = recall(row.ops, tap.op, now_s) if code is None else None
        # What is stored stays stored: a repeated key is answered even where the same tap would be refused by now.
        if known is not None:
            results.append(_replayed(tap, asked, *known))
            continue
        code = code or _unfit(tap, before, after, its_type, rules, registration)
        if code is not None:
            results.append(Refused(code))
            continue
        outcome = _outcome(before, after)
        if outcome != _UNCHANGED or tap.keyed:
            at = row.updated_at
            if outcome != _UNCHANGED:
                at = last_at = max(now, last_at + 1)
            ops = remember(row.ops, tap.op, now_s, asked, outcome << 4 | before)
            changed[tap.user] = Row(after, row.created_at or (at if after else 0), at, ops, row.base)
            reactors += (after != NONE) - (before != NONE)
            if after != NONE:
                type_name = its_type
        results.append((tap, outcome, before, False))
    answers = [r if isinstance(r, Refused) else _answer(r, changed, rows) for r in results]
    new_header, transitions = _advance(old, type_name or DEFAULT_TYPE, rows, changed, last_at)
    return Plan(new_header, changed, answers, transitions)


def _barred(
    tap: Tap, header: Header, its_type: str, rules: Rules, registration: Registration | None
) -> str | None:
    """Why this user may not touch this target at all, as an error code; None if they may."""
    needs_grant = rules.catalogue.needs_grant(its_type)
    if needs_grant and not tap.granted:
        return "target_not_granted"
    if header.deleted:
        return "target_deleted"
    if registration is None and (needs_grant or rules.registered_only):
        return "target_not_registered"
    return None


def _unfit(
    tap: Tap, before: int, after: int, its_type: str, rules: Rules, registration: Registration | None
) -> str | None:
    """Why this tap, never seen before, may not be applied, as an error code; None if it may."""
    if tap.target_type is not None and tap.target_type != its_type:
        return "target_type_mismatch"
    if registration is not None and registration.closed and tap.reaction != NONE:
        return "target_closed"
    if after not in (before, NONE) and not rules.catalogue.allowed(its_type, registration) >> after & 1:
        return "reaction_not_allowed"
    return None


def _replayed(tap: Tap, asked: int, first_asked: int, did: int) -> _Result | Refused:
    if asked != first_asked:
        return Refused("idempotency_key_reused")
    return tap, did >> 4, did & 15, True


def _outcome(before: int, after: int) -> int:
    if before == after:
        return _UNCHANGED
    if before == NONE:
        return _CREATED
    return _REMOVED if after == NONE else _SWITCHED


def _answer(result: _Result, changed: Mapping[str, Row], rows: Mapping[str, Row]) -> Answer:
    tap, outcome, previous, replayed = result
    row = changed.get(tap.user) or rows.get(tap.user) or _NO_ROW
    return Answer(outcome, previous, row.reaction, replayed)


def _advance(
    old: Header, type_name: str, rows: Mapping[str, Row], changed: Mapping[str, Row], last_at: int
) -> tuple[Header, list[Transition]]:
    """The header after the commit, and the transitions in it, in the order of their times."""
    if not changed:
        return old, []
    transitions = []
    new_rows = 0
    born = old.born
    for user, row in changed.items():
        before = rows.get(user)
        if before is None:
            new_rows += 1
        if row.created_at and (not born or row.created_at < born):
            born = row.created_at
        was = before.reaction if before else NONE
        if was != row.reaction:
            transitions.append(Transition(user, was, row.reaction, row.created_at, row.updated_at))
    if len(transitions) > 1:
        transitions.sort(key=lambda t: t.at)
    counts, recent = apply_to_counts(old.counts, transitions), apply_to_recent(old.recent, transitions)
    rows_now = old.rows + new_rows
    front = (old.seq + 1, type_name, counts, rows_now, last_at, born, recent, old.deleted, old.lanes)
    header = Header(*front, deleted_at=old.deleted_at)
    if old.lanes > 1:
        since = recent_since(old, recent, transitions)
        header = msgspec.structs.replace(header, recent_at=since, erased=old.erased)
    return header, transitions


def apply_to_counts(counts: tuple[int, ...], transitions: Sequence[Transition]) -> tuple[int, ...]:
    """`counts` with every transition moved from its reaction before to its reaction after."""
    new = list(counts)
    for transition in transitions:
        if len(new) < transition.after:
            new.extend([0] * (transition.after - len(new)))
        if transition.before:
            if len(new) < transition.before:  # the reaction is counted in the root, and leaves in a lane
                new.extend([0] * (transition.before - len(new)))
            new[transition.before - 1] -= 1
        if transition.after:
            new[transition.after - 1] += 1
    return tuple(new)


def apply_to_recent(
    recent: tuple[tuple[str, int], ...], transitions: Sequence[Transition]
) -> tuple[tuple[str, int], ...]:
    """`recent` after the transitions: who reacts goes to the front, who switches stays, who removes leaves."""
    if not transitions:
        return recent
    people = list(recent)
    for transition in transitions:
        user, before, after = transition.user, transition.before, transition.after
        place = next((i for i, (name, _) in enumerate(people) if name == user), None) if people else None
        if place is not None:
            if after and before:
                people[place] = (user, after)
            else:
                del people[place]
        if after and not before:
            people.insert(0, (user, after))
            del people[RECENT:]
    return tuple(people)


def recent_since(
    old: Header, recent: tuple[tuple[str, int], ...], transitions: Sequence[Transition]
) -> tuple[int, ...]:
    """The `recent_at` to a `recent` that these transitions made of the one in `old`."""
    since = {user: at for (user, _), at in zip(old.recent, old.recent_at, strict=True)}
    since.update((t.user, t.at) for t in transitions if t.after and not t.before)
    return tuple(since[user] for user, _ in recent)
