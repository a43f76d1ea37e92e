"""Proposers and stores that are wrong on purpose: if the judges do not notice one, they are no judges."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from plaudit.domain.bloom import Bloom
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Plan, Tap, Transition
from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.domain.events import Cause, committed
from plaudit.ports.cells import CellKey, CellState, Proposal
from plaudit.ports.ledger import Target
from plaudit.services.known import Known
from plaudit.services.lanes import Look, SplitCells
from plaudit.services.propose import NO_LANES, Lost, Moved, Open, Proposer, Sealed, Settled
from plaudit.services.publish import Publish, Swept
from plaudit.services.recover import Left, Recover, cells_of
from plaudit.services.root_users import RootUsers
from tests.simulation.journal import SimulatedJournal
from tests.simulation.store import SimulatedCells
from tests.simulation.world import RULES, ProcessClock, ProposerMaker


class TakesUnknownForRefused(Proposer):
    """A time-out is no answer, so nothing was stored, surely."""

    async def attempt(self, key: CellKey, taps: Sequence[Tap]) -> Settled | Lost | Open | Sealed:
        result = await super().attempt(key, taps)
        if isinstance(result, Open):
            self.published(result.entry)
            return Lost()
        return result


class TakesUnknownForStored(Proposer):
    """It was sent, so it is stored."""

    async def settle(self, key: CellKey, open_: Open) -> Settled | Moved | None:
        return self._applied(key, open_.before, open_.taps, open_.plan, open_.entry)


class GivesUpTooEarly(Proposer):
    """The cell is where it was, so the proposal is lost: forgets that it may still come."""

    async def settle(self, key: CellKey, open_: Open) -> Settled | Moved | None:
        state = await self._cells.settle(key, [tap.user for tap in open_.taps])
        if state.seq == open_.proposal.seq:
            return Moved([None] * len(open_.taps), Target(), open_.entry)
        return self._verdict(key, open_, state)


class OneIdIsProof(Proposer):
    """Finds one operation id of its own and takes the whole proposal for stored (found by the simulation itself)."""

    def _verdict(
        self, key: CellKey, open_: Open, state: CellState, lanes: Mapping[int, CellState] = NO_LANES
    ) -> Settled | Moved:
        result = super()._verdict(key, open_, state, lanes)
        if isinstance(result, Moved) and any(result.answers):
            return self._applied(key, state, open_.taps, open_.plan, open_.entry)
        return result


class FoldsAgainBlindly(Proposer):
    """The cell has moved on without looking whether by us: the taps go once more, under ids of their own."""

    def _verdict(
        self, key: CellKey, open_: Open, state: CellState, lanes: Mapping[int, CellState] = NO_LANES
    ) -> Settled | Moved:
        return Moved([None] * len(open_.taps), super()._verdict(key, open_, state, lanes).target, open_.entry)


class AnswersFromMemory(Proposer):
    """What it believes is good enough where nothing has to be written."""

    async def attempt(self, key: CellKey, taps: Sequence[Tap]) -> Settled | Lost | Open | Sealed:
        belief = self._known.recall(key, {tap.user for tap in taps})
        if belief is not None:
            taken, plan = self._fold(belief, taps, ())
            if not plan.changed and len(taken) == len(taps):
                return self._applied(key, belief, taps, plan)
        return await super().attempt(key, taps)


class _Cells(SimulatedCells):
    """Wraps another process's way to the store."""

    def __init__(self, inner: SimulatedCells) -> None:
        self.__dict__ = inner.__dict__


class Unconditional(_Cells):
    """Writes whatever it is told: the last one wins."""

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        last = self._store.states(key)[-1].header.seq
        moved = msgspec.structs.replace(proposal.header, seq=last + 1)
        return await super().propose(key, Proposal(last, moved, proposal.rows))


class AppliesTwice(_Cells):
    """A driver that repeats what timed out, without being asked, and takes the refusal for the answer."""

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        try:
            return await super().propose(key, proposal)
        except OutcomeUnknown:
            return await super().propose(key, proposal)


class TwoMoments(_Cells):
    """Reads the header, then the rows."""

    async def read(self, key: CellKey, users: Iterable[str]) -> CellState:
        header = (await super().read(key, [])).header
        return CellState(header, None, (await super().read(key, users)).rows)


class SettlesByQuorum(_Cells):
    """Settles with an ordinary read: a decided commit may be missed."""

    async def settle(self, key: CellKey, users: Iterable[str]) -> CellState:
        return await self.read(key, users)


def proposer(kind: type[Proposer]) -> ProposerMaker:
    """Processes with this proposer."""
    return lambda cells, known, clock, journal: kind(cells, known, clock, RULES, journal=journal)


def cells(kind: Callable[[SimulatedCells], SimulatedCells]) -> ProposerMaker:
    """Processes with this way to the store."""

    def make(inner: SimulatedCells, known: Known, clock: ProcessClock, journal: SimulatedJournal) -> Proposer:
        return Proposer(kind(inner), known, clock, RULES, journal=journal)

    return make


BROKEN: dict[str, ProposerMaker] = {
    kind.__name__: proposer(kind)
    for kind in (
        TakesUnknownForRefused,
        TakesUnknownForStored,
        GivesUpTooEarly,
        OneIdIsProof,
        FoldsAgainBlindly,
        AnswersFromMemory,
    )
} | {kind.__name__: cells(kind) for kind in (Unconditional, AppliesTwice, TwoMoments, SettlesByQuorum)}


class PublishesAndHopes(Publish):
    """Asks the log once, and answers whatever it says."""

    async def commit(
        self,
        key: CellKey,
        header: Header,
        transitions: Sequence[Transition],
        cause: Cause = "tap",
        registration: Registration | None = None,
    ) -> None:
        await self._publish(key, committed(key.target, header, cause, list(transitions), 0, registration))


class TrustsTheDead(Publish):
    """Takes what is stored already for published already."""

    async def again(self, key: CellKey, users: Collection[str], cause: Cause = "late") -> None:
        return None


class PaysWithOldCoin(Publish):
    """Sweeps with what the debt says, and does not look at the cell: nothing but the users is in it."""

    async def sweep(self, shard: int) -> Swept:
        for debt in await self._debts.owed(shard):
            await self._debts.settle(debt)
        return Swept(0, 0)


BROKEN_PUBLISH = {kind.__name__: kind for kind in (PublishesAndHopes, TrustsTheDead, PaysWithOldCoin)}


class NeverFences(Recover):
    """What is not there now will not come, surely."""

    async def _fence(self, left: Left) -> None:
        await self._cells.settle(left.key, left.users)


class DropsFirst(Recover):
    """Forgets the journal, then does what is in it."""

    async def look(self) -> int:
        for journal in await self._journals.adopt():
            journal.drop()
            await self._finish(cells_of(journal.entries))
        return 0


class LeavesThemLying(Recover):
    """Somebody else will look."""

    async def look(self) -> int:
        return 0


class FencesAndForgets(Recover):
    """Makes sure that nothing comes, and publishes nothing."""

    async def _through(self, left: Left) -> None:
        await self._fence(left)


BROKEN_RECOVER = {
    kind.__name__: kind for kind in (NeverFences, DropsFirst, LeavesThemLying, FencesAndForgets)
}


class EndsTooEarly(Proposer):
    """Stored, so nothing is under way any more: does not wait until it is published."""

    def _applied(
        self, key: CellKey, before: CellState, taps: Sequence[Tap], plan: Plan, entry: int | None = None
    ) -> Settled:
        self.published(entry)
        return super()._applied(key, before, taps, plan, entry)


BROKEN["EndsTooEarly"] = proposer(EndsTooEarly)


class _Lanes(SplitCells):
    """Lanes in a wrong way; on the way of any process to the store."""


class CopiesNoOperations(_Lanes):
    """Takes over a reaction, and forgets which taps made it."""

    async def _lane(self, key: CellKey, users: Sequence[str], look: Look) -> CellState:
        state = await super()._lane(key, users, look)
        there = (await look(key, users)).rows
        rows = {
            user: row if user in there else msgspec.structs.replace(row, ops=b"")
            for user, row in state.rows.items()
        }
        return CellState(state.header, state.registration, rows)


class StartsFromNothing(_Lanes):
    """Whoever comes to a lane is new."""

    async def _lane(self, key: CellKey, users: Sequence[str], look: Look) -> CellState:
        state = await super()._lane(key, users, look)
        return CellState(state.header, state.registration, (await look(key, users)).rows)


class ForgetsTheBase(_Lanes):
    """Takes rows over as if they were its own."""

    async def _lane(self, key: CellKey, users: Sequence[str], look: Look) -> CellState:
        state = await super()._lane(key, users, look)
        rows = {user: msgspec.structs.replace(row, base=None) for user, row in state.rows.items()}
        return CellState(state.header, state.registration, rows)


class StartsTheClockAnew(_Lanes):
    """A lane has no time to go on from."""

    async def _lane(self, key: CellKey, users: Sequence[str], look: Look) -> CellState:
        state = await super()._lane(key, users, look)
        header = state.header
        if header is not None and not header.seq:
            header = msgspec.structs.replace(header, last_at=0)
        return CellState(header, state.registration, state.rows)


class WritesToTheRoot(Proposer):
    """A root is a cell, and takes taps."""

    async def _sealed(self, key: CellKey, state: CellState) -> Sealed | None:
        if state.header is not None and state.header.lanes > 1:
            await self._views.ready(key.target)
        return None


def lanes(kind: type[_Lanes]) -> ProposerMaker:
    """Processes that see lanes in this way."""

    def make(inner: SimulatedCells, known: Known, clock: ProcessClock, journal: SimulatedJournal) -> Proposer:
        proposer = Proposer(inner, known, clock, RULES, journal=journal)
        proposer._cells = kind(inner)
        return proposer

    return make


BROKEN_LANES: dict[str, ProposerMaker] = {
    kind.__name__: lanes(kind)
    for kind in (CopiesNoOperations, StartsFromNothing, ForgetsTheBase, StartsTheClockAnew)
} | {"WritesToTheRoot": proposer(WritesToTheRoot)}


class KnowsBeforehand(RootUsers):
    """Has read who is in a root before that was sealed."""

    async def _run(self) -> None:
        for target in ("t0", "t1"):
            try:
                known = Bloom(10)
                for user in await self._rows.page(CellKey(target), "", 10):
                    known.add(user)
                self._kept[target] = known
            except Unavailable:
                pass


class TakesRootsForEmpty(RootUsers):
    """Whoever is not in the lane is new."""

    def maybe(self, target: str, users: Iterable[str]) -> list[str]:
        return []


BROKEN_ROOTS = {kind.__name__: kind for kind in (KnowsBeforehand, TakesRootsForEmpty)}
