"""What clients saw of targets that were split while they tapped, and whether a correct service could have shown it.

The commits of root and lanes, in the order in which they were decided, are one history of one target; what
`plaudit.domain.lanes.merge` makes of it is worked out here in a second hand, from the rows.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from zlib import crc32

from plaudit.domain.cell import Header, Row
from tests.simulation.history import Seen, effects, not_linearizable, promised
from tests.simulation.store import Committed, SimulatedStore


def split_targets(store: SimulatedStore) -> set[str]:
    """Those that were split by the end."""
    return {key.target for key in store.cells if store.states(key)[-1].header.lanes > 1}


def faults_of_split(store: SimulatedStore, target: str, taps: Sequence[Seen]) -> Iterator[str]:
    """Everything that is wrong with one of them, in words."""
    cells = {key.bucket: store.states(key) for key in store.cells if key.target == target}
    yield from _sealed(cells)
    for bucket, states in cells.items():
        if bucket:
            yield from _lane(bucket, states, cells[0][-1])
    whole = _together(cells)
    stored = yield from effects(whole, taps)
    for tap in taps:
        yield from promised(whole, tap, stored.get((tap.user, tap.op)))
        yield from _shown(cells, tap)
    rows = whole[-1].rows
    for user in {tap.user for tap in taps}:
        row = rows.get(user)
        if not_linearizable([tap for tap in taps if tap.user == user], row.reaction if row else 0):
            yield f"{target} {user}: no order of the taps explains the answers"


def _sealed(cells: dict[int, list[Committed]]) -> Iterator[str]:
    """A root is sealed once, and takes nothing after that; no lane is older than the seal."""
    root = cells[0]
    at = next(n for n, state in enumerate(root) if state.header.lanes > 1)
    if [state.header.seq for state in root] != list(range(len(root))):
        yield f"the root's commits are {[state.header.seq for state in root]}"
    if len(root) != at + 1 or root[at].rows != root[at - 1].rows:
        yield f"the root was sealed by {at} and is at {len(root) - 1}"
    first_s = min((states[1].at_s for bucket, states in cells.items() if bucket and states[1:]), default=None)
    if first_s is not None and first_s < root[at].at_s:
        yield "a lane is older than the seal"


def _lane(bucket: int, states: Sequence[Committed], root: Committed) -> Iterator[str]:
    """Header and rows of a lane agree, and every row goes on from that of the root."""
    for before, now in pairwise(states):
        if now.header.seq != before.header.seq + 1:
            yield f"lane {bucket}: {now.header.seq} after {before.header.seq}"
        counted = Counter(row.reaction for row in now.rows.values() if row.reaction)
        counted.subtract(Counter(row.base for row in now.rows.values() if row.base))
        if {i: n for i, n in enumerate(now.header.counts, 1) if n} != {i: n for i, n in counted.items() if n}:
            yield f"lane {bucket} at {now.header.seq}: header {now.header.counts}, rows {counted}"
        if now.header.rows != sum(row.base is None for row in now.rows.values()):
            yield f"lane {bucket} at {now.header.seq}: {now.header.rows} new rows in the header"
        for user, row in now.rows.items():
            old = before.rows.get(user) or root.rows.get(user)
            if 1 + crc32(user.encode()) % root.header.lanes != bucket:
                yield f"lane {bucket}: {user} does not belong there"
            if user in root.rows and row.base != root.rows[user].reaction:
                yield f"lane {bucket}: {user} went on from {row.base}, the root had {root.rows[user]}"
            if old is not None and old.created_at and old.created_at != row.created_at:
                yield f"lane {bucket}: created_at of {user} changed"
            if old is not None and old.reaction != row.reaction and row.updated_at <= old.updated_at:
                yield f"lane {bucket}: updated_at of {user} went back"


def _together(cells: dict[int, list[Committed]]) -> list[Committed]:
    """One history of rows: every commit of every cell, as they were decided. `header.seq` is the place in it."""
    commits = sorted(
        ((state.at_s, bucket, state) for bucket, states in cells.items() for state in states[1:]),
        key=lambda each: (each[0], each[1], each[2].header.seq),
    )
    rows: dict[str, Row] = {}
    history = [Committed(0.0, Header(), {})]
    for at_s, _, state in commits:
        rows = {**rows, **state.rows}
        history.append(Committed(at_s, Header(seq=len(history)), rows))
    return history


def _shown(cells: dict[int, list[Committed]], tap: Seen) -> Iterator[str]:
    """There is a state of each cell whose sum was shown, and that of the tap's own cell has the tap in it."""
    if tap.answer is None:
        return
    own = 1 + crc32(tap.user.encode()) % tap.lanes if tap.lanes > 1 else 0
    root = [state for state in _possible(cells[0], tap) if state.header.lanes == tap.lanes]
    lanes = {bucket: _possible(states, tap) for bucket, states in cells.items() if bucket and own}
    choices = {0: root, **lanes}
    for states in product(*choices.values()):
        if sum(state.header.seq for state in states) != tap.version:
            continue
        counts: Counter[int] = Counter()
        for state in states:
            counts.update(dict(enumerate(state.header.counts, 1)))
        if {c: n for c, n in counts.items() if n} != {c: n for c, n in enumerate(tap.counts, 1) if n}:
            continue
        by_bucket = dict(zip(choices, states, strict=True))
        row = by_bucket[own].rows.get(tap.user) if own in by_bucket else None
        row = row or by_bucket[0].rows.get(tap.user)
        if (row.reaction if row else 0) == tap.answer.reaction:
            return
    yield f"{tap.user} {tap.op.hex()}: version {tap.version} with {tap.counts} never was, or not with this tap"


def _possible(states: Sequence[Committed], tap: Seen) -> list[Committed]:
    """What somebody who was told could have been shown of a cell."""
    return [state for state in states if state.at_s <= tap.told_s]
