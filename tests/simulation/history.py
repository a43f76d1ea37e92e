"""What clients saw, and whether a correct service could have shown it to them.

Two judges that know nothing of each other. `not_linearizable` sees only what clients saw: per user and cell, the taps
with their answers and one read at the end. `faults_of` compares every answer with the store's own record.
"""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from itertools import pairwise

import msgspec

from plaudit.domain.cell import Answer, Outcome, Verb
from plaudit.domain.operations import ID_BYTES
from plaudit.ports.cells import CellKey
from tests.simulation.store import Committed, SimulatedStore

NEVER = float("inf")


class Seen(msgspec.Struct):
    """One tap as its client saw it, over all its attempts. No answer: unknown, or refused each time."""

    key: CellKey
    user: str
    verb: Verb
    reaction: int
    op: bytes
    keyed: bool
    sent_s: float
    told_s: float = NEVER
    answer: Answer | None = None
    version: int = 0
    counts: tuple[int, ...] = ()
    lanes: int = 1
    maybe: bool = False  # an attempt was told that nobody knows

    @property
    def refused(self) -> bool:
        """Whether the client knows that nothing of it was or will be stored."""
        return self.answer is None and not self.maybe


def after(tap: Seen, before: int) -> int:
    """The rule of a tap, in a second hand."""
    return 0 if tap.verb == Verb.TOGGLE and tap.reaction == before else tap.reaction


def outcome(before: int, now: int) -> Outcome:
    """What a change is called, in a second hand."""
    if before == now:
        return Outcome.UNCHANGED
    if not before:
        return Outcome.CREATED
    return Outcome.SWITCHED if now else Outcome.REMOVED


def not_linearizable(taps: Sequence[Seen], final: int) -> bool:
    """Whether no order of these taps on one row explains their answers and the reaction at the end.

    Wing & Gong's search ("Testing and Verifying Concurrent Objects", 1993) with remembered dead ends (Lowe 2017): take
    as next any tap that was sent before all remaining ones were told. A tap with an unknown outcome may come at any
    time after it was sent, or never. A row is an object, so rows are judged one by one (locality, Herlihy & Wing 1990).
    """
    live = [tap for tap in taps if not tap.refused]
    told = sum(1 << i for i, tap in enumerate(live) if tap.answer is not None)
    dead: set[tuple[int, int]] = set()

    def search(done: int, reaction: int) -> bool:
        if done & told == told and reaction == final:
            return True
        if (done, reaction) in dead:
            return False
        horizon = min((tap.told_s for i, tap in enumerate(live) if not done >> i & 1), default=NEVER)
        for i, tap in enumerate(live):
            if done >> i & 1 or tap.sent_s > horizon:
                continue
            now = after(tap, reaction)
            if tap.answer is not None and (tap.answer.previous, tap.answer.outcome) != (
                reaction,
                outcome(reaction, now),
            ):
                continue
            if search(done | 1 << i, now):
                return True
        dead.add((done, reaction))
        return False

    return not search(0, 0)


def faults_of(store: SimulatedStore, taps: Sequence[Seen]) -> Iterator[str]:
    """Everything that is wrong with targets that are not split, in words."""
    for key in {tap.key for tap in taps}:
        states = store.states(key)
        mine = [tap for tap in taps if tap.key == key]
        yield from _chain(states)
        stored = yield from effects(states, mine)
        for tap in mine:
            yield from promised(states, tap, stored.get((tap.user, tap.op)))
            yield from _shown(states, tap)
        for user in {tap.user for tap in mine}:
            row = states[-1].rows.get(user)
            if not_linearizable([tap for tap in mine if tap.user == user], row.reaction if row else 0):
                yield f"{key} {user}: no order of the taps explains the answers"


def _chain(states: Sequence[Committed]) -> Iterator[str]:
    """Every state follows from the one before, and header and rows agree."""
    for before, now in pairwise(states):
        seq = now.header.seq
        if seq != before.header.seq + 1:
            yield f"seq {seq} after {before.header.seq}"
        counted = Counter(row.reaction for row in now.rows.values() if row.reaction)
        if {i: n for i, n in enumerate(now.header.counts, 1) if n} != counted:
            yield f"seq {seq}: header {now.header.counts}, rows {counted}"
        if now.header.rows != len(now.rows):
            yield f"seq {seq}: {now.header.rows} rows in the header, {len(now.rows)} there"
        for user, row in now.rows.items():
            old = before.rows.get(user)
            if old is not None and old.created_at and old.created_at != row.created_at:
                yield f"seq {seq}: created_at of {user} changed"
            moved = row.reaction != (old.reaction if old else 0)
            if moved and row.updated_at <= before.header.last_at:
                yield f"seq {seq}: updated_at of {user} went back"


Stored = dict[tuple[str, bytes], int]


def effects(states: Sequence[Committed], taps: Sequence[Seen]) -> Generator[str, None, Stored]:
    """No tap is in two commits, and each did what its client was told. Returns in which commit each is."""
    by_op = {(tap.user, tap.op): tap for tap in taps}
    stored: Stored = {}
    for before, now in pairwise(states):
        for user, row in now.rows.items():
            old = before.rows.get(user)
            if old is row:
                continue
            known = set(_ops(old.ops)) if old else set()
            reaction = old.reaction if old else 0
            for op in reversed([op for op in _ops(row.ops) if op not in known]):
                tap = by_op[user, op]
                if (user, op) in stored:
                    yield f"{user} {op.hex()}: stored by {stored[user, op]} and by {now.header.seq}"
                stored[user, op] = now.header.seq
                did = after(tap, reaction)
                if tap.answer is not None and (tap.answer.previous, tap.answer.outcome) != (
                    reaction,
                    outcome(reaction, did),
                ):
                    yield f"{user} {op.hex()}: told {tap.answer}, was {outcome(reaction, did)!r} from {reaction}"
                reaction = did
            if reaction != row.reaction:
                yield f"{user}: row says {row.reaction}, its taps make {reaction}"
    return stored


def promised(states: Sequence[Committed], tap: Seen, seq: int | None) -> Iterator[str]:
    """A tap is stored if its client was promised that, and in time. `seq`: the commit it is in."""
    name = f"{tap.user} {tap.op.hex()}"
    if seq is not None:
        if tap.refused:
            yield f"{name}: refused and stored by {seq}"
        if not tap.sent_s <= states[seq].at_s <= tap.told_s:
            yield f"{name}: sent {tap.sent_s}, told {tap.told_s}, stored at {states[seq].at_s}"
    if tap.answer is None:
        return
    if seq is None and (tap.keyed or tap.answer.outcome != Outcome.UNCHANGED):
        yield f"{name}: acknowledged and not stored"


def _shown(states: Sequence[Committed], tap: Seen) -> Iterator[str]:
    """What the client was shown was there meanwhile, and has the tap in it."""
    name = f"{tap.user} {tap.op.hex()}"
    if tap.answer is None:
        return
    if tap.version >= len(states):
        yield f"{name}: version {tap.version} never was"
        return
    shown = states[tap.version]
    if tap.counts != shown.header.counts:
        yield f"{name}: version {tap.version} shown as {tap.counts}, is {shown.header.counts}"
    row = shown.rows.get(tap.user)
    if tap.answer.reaction != (row.reaction if row else 0):
        yield f"{name}: told {tap.answer.reaction} at version {tap.version}, row {row}"
    gone_s = states[tap.version + 1].at_s if tap.version + 1 < len(states) else NEVER
    if not tap.answer.replayed and not (shown.at_s <= tap.told_s and gone_s >= tap.sent_s):
        yield f"{name}: version {tap.version} was not there between {tap.sent_s} and {tap.told_s}"


def _ops(ops: bytes) -> list[bytes]:
    """The ids a row remembers, newest first: records of 14 bytes, the id in front."""
    return [ops[at : at + ID_BYTES] for at in range(0, len(ops), 14)]
