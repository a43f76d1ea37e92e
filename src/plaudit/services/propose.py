"""Propose: brings a few taps on one cell to one commit, and finds out what became of it.

Reads what is not known, lets `fold` decide, proposes. Knows nothing of queues, deadlines or clients. Guarantees:

- what is answered was true: outcomes come from a commit that was applied, from a row that remembers the tap, or, where
  nothing had to be written, from a linearizable read made after the tap came;
- a tap is in at most one commit, because a proposal whose outcome is unknown is settled before anything else is tried
  on its cell: the operation ids in the rows tell whether it was applied;
- a proposal is in the journal before it leaves, and stays there until it is known never to be stored, or the caller
  says that it is `published`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from plaudit.domain.cell import Answer, Outcome, Plan, Refused, Row, Rules, Tap, fold
from plaudit.domain.errors import Corrupt, OutcomeUnknown, Unavailable
from plaudit.domain.lanes import lane_of
from plaudit.domain.operations import KEPT, newest, recall, recalls, remembered
from plaudit.ports.cells import CellKey, Cells, CellState, Proposal
from plaudit.ports.clock import Clock
from plaudit.ports.journal import Journal
from plaudit.ports.ledger import Target
from plaudit.services.erased import Erased
from plaudit.services.known import Known
from plaudit.services.lanes import SplitCells, Views
from plaudit.services.lanes import proposal as following
from plaudit.services.root_users import RootUsers

# What a batch of one partition may weigh before it hurts the replicas (16 KiB), and what is counted for it.
MAX_BYTES = 16 * 1024
ROW_BYTES = 48  # times, reaction, names of columns
_NO_ROW = Row()
NO_LANES: Mapping[int, CellState] = MappingProxyType({})


class Settled(NamedTuple):
    """What became of the first `len(answers)` taps, and the target after them. `wrote`: the commit, if any.

    `entry`, here and below: its place in the journal, if it has one; for `Proposer.published`.
    """

    answers: Sequence[Answer | Refused]
    target: Target
    wrote: Plan | None
    entry: int | None = None


class Lost(NamedTuple):
    """Somebody else was first: nothing of this attempt was or will be stored."""


class Moved(NamedTuple):
    """Somebody else was first, after all. One answer per tap that is stored all the same; None: it never will be."""

    answers: Sequence[Answer | None]
    target: Target
    entry: int | None = None


class Sealed(NamedTuple):
    """The target is split: nothing of this attempt was or will be stored, and its taps belong to their lanes."""

    lanes: int


class Open(NamedTuple):
    """A proposal whose outcome is unknown: it may be stored, now or later."""

    before: CellState
    taps: Sequence[Tap]
    plan: Plan
    proposal: Proposal
    entry: int | None = None


class Proposer:
    """See the module. One attempt at a time and cell; the caller sees to that.

    Without a clock that is `trusted` nothing new is proposed: times decide nothing here, but they are shown, and
    derived lists are ordered by them. Taps of users who were `erased` are refused. `roots`: who may be in sealed roots.
    """

    def __init__(
        self,
        cells: Cells,
        known: Known,
        clock: Clock,
        rules: Rules,
        trusted: Callable[[], bool] = lambda: True,
        journal: Journal | None = None,
        erased: Erased | None = None,
        roots: RootUsers | None = None,
    ) -> None:
        self._cells = SplitCells(cells, roots)
        self._views = Views(cells, clock)
        self.lanes: Mapping[str, int] = self._views.lanes
        """Over how many lanes a target is split, of those that are known to be."""
        self._known = known
        self._clock = clock
        self._rules = rules
        self._trusted = trusted
        self._journal = journal
        self._erased = erased

    async def attempt(self, key: CellKey, taps: Sequence[Tap]) -> Settled | Lost | Open | Sealed:
        """Try once. Takes as many of the taps, in order, as one commit holds; the rest stay with the caller.

        Raises `Unavailable` (nothing of it was or will be stored) and `Corrupt` (the same, and it will not get better).
        """
        if not self._trusted():
            raise Unavailable("the clock of this process is not that of the store")
        users = dict.fromkeys(tap.user for tap in taps)
        # Here and not where taps come in: they may have waited since.
        erased: Collection[str] = ()
        if self._erased is not None and (suspects := self._erased.suspects(users)):
            erased = await self._erased.verified(suspects)
        belief = self._known.recall(key, users)
        state = belief or await self._cells.read(key, users)
        if _is_split(state) and (sealed := await self._sealed(key, state)):
            return sealed
        taps, plan = self._fold(state, taps, erased)
        if not plan.changed and (belief is not None or any(isinstance(a, Answer) for a in plan.answers)):
            # Nothing to write, so no commit will prove that what we know is true: ask, and be sure. A refusal that
            # comes from a read may stay: it says nothing about what is stored.
            state = await self._cells.settle(key, users)
            if _is_split(state) and (sealed := await self._sealed(key, state)):
                return sealed
            taps, plan = self._fold(state, taps, erased)
        if not plan.changed:
            return Settled(plan.answers, self._target(key, state), wrote=None)
        if key.bucket:
            proposal = following(key, state, plan.header, plan.changed)
        else:
            proposal = Proposal(state.seq, plan.header, plan.changed)
        entry = self._journal.begin(key, state.seq, plan.changed) if self._journal else None
        try:
            applied = await self._cells.propose(key, proposal)
        except OutcomeUnknown:
            self._known.forget(key)
            return Open(state, taps, plan, proposal, entry)
        except Unavailable:
            self.published(entry)
            raise
        if not applied:
            self._known.forget(key)
            self.published(entry)
            return Lost()
        return self._applied(key, state, taps, plan, entry)

    def published(self, entry: int | None) -> None:
        """There is nothing more to publish of this proposal: its place in the journal may be forgotten."""
        if self._journal is not None and entry is not None:
            self._journal.end(entry)

    async def settle(self, key: CellKey, open_: Open) -> Settled | Moved | None:
        """Find out what became of a proposal; None if that is not known yet: pause, and ask again.

        Raises `OutcomeUnknown` and `Corrupt` where it will never be known: the rows have forgotten, or were lost.
        """
        users = dict.fromkeys(tap.user for tap in open_.taps)
        try:
            state = await self._cells.settle(key, users)
        except Unavailable:
            return None
        if state.seq > open_.proposal.seq:
            try:
                return self._verdict(key, open_, state, await self._lanes_after(key, state, users))
            except Unavailable:
                return None
        if state.seq < open_.proposal.seq:
            raise Corrupt(f"cell {key} went back from {open_.proposal.seq} to {state.seq}")
        # It may still be applied, so what is proposed now is the same to the last byte: whichever of the two comes
        # first, the other finds `seq` moved on.
        try:
            applied = await self._cells.propose(key, open_.proposal)
        except (Unavailable, OutcomeUnknown):
            return None
        return self._applied(key, open_.before, open_.taps, open_.plan, open_.entry) if applied else None

    def _fold(
        self, state: CellState, taps: Sequence[Tap], erased: Collection[str]
    ) -> tuple[Sequence[Tap], Plan]:
        """Fold as many of the taps as one commit holds."""
        header = state.header
        now = self._clock.now_us()
        while True:
            plan = fold(header, state.rows, taps, now, self._rules, state.registration, erased)
            if len(taps) == 1 or weight_bytes(plan.changed) <= MAX_BYTES:
                return taps, plan
            taps = taps[: len(taps) // 2]

    def _applied(
        self, key: CellKey, before: CellState, taps: Sequence[Tap], plan: Plan, entry: int | None = None
    ) -> Settled:
        rows: dict[str, Row | None] = {tap.user: before.rows.get(tap.user) for tap in taps}
        rows.update(plan.changed)
        self._known.learn(key, before, plan.header, rows)
        target = self._views.seen(key, plan.header, before.registration)
        return Settled(plan.answers, target, plan, entry)

    async def _sealed(self, key: CellKey, state: CellState) -> Sealed | None:
        """What there is to know before a cell is written: that it is a root which takes no taps, or all other lanes.

        A lane counts from where the root stands, so an answer needs the others too.
        """
        if state.header is None or key.bucket:
            await self._views.ready(key.target)
            return None
        self._known.forget(key)
        self._views.learn(key.target, state.header.lanes)
        self._views.expect(key.target)
        return Sealed(state.header.lanes)

    async def _lanes_after(
        self, key: CellKey, state: CellState, users: Collection[str]
    ) -> dict[int, CellState]:
        """The lanes that took these users over since, where the cell was sealed meanwhile: what they say is now."""
        if state.header is None or state.header.lanes == 1:
            return {}
        await self._views.ready(key.target)
        if key.bucket:
            return {}
        # Not `learn`: what comes for the lanes from then on would overtake what waits for the root.
        buckets = {lane_of(user, state.header.lanes) for user in users}
        return {bucket: await self._cells.read(CellKey(key.target, bucket), users) for bucket in buckets}

    def _target(self, key: CellKey, state: CellState) -> Target:
        return self._views.seen(key, state.header, state.registration)

    def _verdict(
        self,
        key: CellKey,
        open_: Open,
        state: CellState,
        lanes: Mapping[int, CellState] = NO_LANES,
    ) -> Settled | Moved:
        """The cell has moved on: by our commit, or without it.

        To find one of our operation ids is no proof: a client that repeats its tap through another process leaves the
        same id in that process's commit. So every tap is judged by its own row, unless the commit is ours beyond doubt.
        """
        rows, taps = state.rows, open_.taps
        now = {**rows}
        for bucket, lane in lanes.items():
            over = lane.header.lanes if lane.header else 1
            now.update({user: row for user, row in lane.rows.items() if lane_of(user, over) == bucket})
        headers = {bucket: lane.header for bucket, lane in lanes.items() if lane.header}
        target = self._views.seen(key, state.header, state.registration, headers)
        if _is_ours(open_, state):
            return Settled(_as_of_now(open_, now), target, open_.plan, open_.entry)
        answers: list[Answer | None] = []
        missing, sure = False, False
        for tap, answer in zip(taps, open_.plan.answers, strict=True):
            found = self._stored(tap, rows.get(tap.user, _NO_ROW), now.get(tap.user, _NO_ROW))
            if found is not None and _may_be_ours(open_, state, tap.user) and isinstance(answer, Answer):
                found = Answer(found.outcome, found.previous, found.reaction, answer.replayed)
            answers.append(found)
            if found is None and _is_remembered(tap, answer):
                missing = True
                sure = sure or _would_remember(open_.before.rows.get(tap.user), rows.get(tap.user))
        if missing and not sure:
            raise OutcomeUnknown("The rows have forgotten whether this was stored.")
        return Moved(answers, target, open_.entry)

    def _stored(self, tap: Tap, row: Row, now: Row) -> Answer | None:
        """The answer to a tap that is stored, by whichever process, with the reaction of now."""
        known = recall(row.ops, tap.op, self._clock.now_us() // 1_000_000)
        if known is None or known[0] != tap.verb << 4 | tap.reaction:
            return None
        return Answer(known[1] >> 4, known[1] & 15, now.reaction, replayed=tap.keyed)


def _is_split(state: CellState) -> bool:
    return state.header is not None and state.header.lanes > 1


def _is_ours(open_: Open, state: CellState) -> bool:
    """Whether the commit of a cell that has moved on is this proposal, or the same as it.

    Rows as we would have written them are not enough: for a key that changes nothing and is repeated within the second
    another process writes the same row, to the byte. While the commit is the newest, its header tells; then a time
    of our clock in its rows, or an id that nobody else could know.
    """
    plan, before = open_.plan, open_.before.header
    if any(state.rows.get(user) != row for user, row in plan.changed.items()):
        return False
    if state.seq == plan.header.seq:
        return state.header == plan.header
    did = [
        tap
        for tap, answer in zip(open_.taps, plan.answers, strict=True)
        if isinstance(answer, Answer) and not answer.replayed and answer.outcome != Outcome.UNCHANGED
    ]
    # Where our clock is behind, times follow the last one there was, whoever writes them.
    by_our_clock = plan.header.last_at > (before.last_at if before else 0) + len(did)
    return bool(did) and (by_our_clock or any(not tap.keyed for tap in did))


def _may_be_ours(open_: Open, state: CellState, user: str) -> bool:
    """Whether nobody can tell who wrote this user's row: then it is not called a repetition."""
    return state.seq > open_.plan.header.seq and state.rows.get(user) == open_.plan.changed.get(user)


def _as_of_now(open_: Open, rows: Mapping[str, Row]) -> list[Answer | Refused]:
    """The answers of a plan that was applied, with the reactions of now: others may have committed after it."""
    return [
        Answer(answer.outcome, answer.previous, rows.get(tap.user, _NO_ROW).reaction, answer.replayed)
        if isinstance(answer, Answer)
        else answer
        for tap, answer in zip(open_.taps, open_.plan.answers, strict=True)
    ]


def _is_remembered(tap: Tap, answer: Answer | Refused) -> bool:
    """Whether a row remembers the tap, once it is stored."""
    return isinstance(answer, Answer) and (tap.keyed or answer.outcome != Outcome.UNCHANGED)


def _would_remember(before: Row | None, now: Row | None) -> bool:
    """Whether a row that we proposed to change from `before` would still remember that it was.

    It would if it has room left, or still remembers what it did before us.
    """
    ops = now.ops if now else b""
    return remembered(ops) < KEPT or (
        before is not None and bool(before.ops) and recalls(ops, newest(before.ops))
    )


def weight_bytes(rows: Mapping[str, Row]) -> int:
    """What the rows of a commit weigh, of `MAX_BYTES`."""
    return sum(len(user) + len(row.ops) + ROW_BYTES for user, row in rows.items())
