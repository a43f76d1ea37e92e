"""What must hold of every cell and of every commit, whatever the taps were."""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

from plaudit.domain.cell import RECENT, Header, Plan, Row
from plaudit.domain.operations import KEPT


def tally(counts: tuple[int, ...]) -> Counter[int]:
    """Counts by reaction code, without the zeros."""
    return Counter({code: number for code, number in enumerate(counts, 1) if number})


def check_cell(header: Header, rows: Mapping[str, Row]) -> None:
    """Header and rows agree."""
    assert header.rows == len(rows)
    assert all(number >= 0 for number in header.counts)
    if header.deleted:
        assert (header.total, header.recent) == (0, ())
    else:
        assert tally(header.counts) == Counter(row.reaction for row in rows.values() if row.reaction)
        assert all(rows[user].reaction == code for user, code in header.recent)
    people = [user for user, _ in header.recent]
    assert len(people) == len(set(people)) <= RECENT
    times = [row.updated_at for row in rows.values() if row.updated_at]
    assert len(times) == len(set(times))
    assert max(times, default=0) <= header.last_at
    for row in rows.values():
        assert bool(row.created_at) is bool(row.updated_at) or not row.reaction
        assert row.created_at <= row.updated_at
        assert len(row.ops) <= KEPT * 14
        assert not row.created_at or 0 < header.born <= row.created_at


def check_plan(old: Header, before: Mapping[str, Row], plan: Plan) -> None:
    """A commit goes from one state of the cell to the next, and its transitions tell the whole difference."""
    if not plan.changed:
        assert (plan.header, plan.transitions) == (old, [])
        return
    new = plan.header
    assert new.seq == old.seq + 1
    assert (new.deleted, new.lanes) == (old.deleted, old.lanes)
    check_transitions(old, before, plan)
    for user, row in plan.changed.items():
        was = before.get(user, Row())
        assert row != was
        assert was.created_at in (0, row.created_at)
        assert row.updated_at == was.updated_at or old.last_at < row.updated_at <= new.last_at


def check_transitions(old: Header, before: Mapping[str, Row], plan: Plan) -> None:
    """One transition for each user whose reaction differs, in the order of time, adding up to the counts."""
    moved = {user for user, row in plan.changed.items() if row.reaction != before.get(user, Row()).reaction}
    assert sorted(t.user for t in plan.transitions) == sorted(moved)
    difference = tally(old.counts)
    for transition in plan.transitions:
        row = plan.changed[transition.user]
        assert transition.before == before.get(transition.user, Row()).reaction != transition.after
        assert (transition.after, transition.created_at, transition.at) == (
            row.reaction,
            row.created_at,
            row.updated_at,
        )
        difference[transition.before] -= 1
        difference[transition.after] += 1
    del difference[0]
    assert +difference == tally(plan.header.counts)
    times = [old.last_at, *(t.at for t in plan.transitions)]
    assert all(a < b for a, b in pairwise(times))
