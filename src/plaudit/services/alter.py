"""Alter: commits of one cell that are no taps, brought to an end whoever else commits there.

Reads, lets a pure function decide, proposes, publishes; from the start when somebody else was first. Guarantees:

- what is returned is durable, and the state that it left, or found as wanted already, is in the log or owed: whoever
  committed that may have died before publishing;
- where rows are found by nothing but themselves (`Change.told_before`), they go only after the log has the transitions
  that take their users off every list: once they are gone, nobody could tell which entries of the lists were theirs;
- whoever ceases to own a target is noted before that: afterwards nobody could tell whom there is to tell no more;
- an unknown outcome is settled before anything else is tried, and whoever does not wait any longer does not end that.

What is decided must be idempotent: it is asked again after every look. Knows no storage and no rules.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from typing import NamedTuple

from plaudit.domain.cell import Transition
from plaudit.domain.errors import OutcomeUnknown, PlauditError, Unavailable
from plaudit.domain.events import Cause
from plaudit.ports.cells import CellKey, Cells, CellState, Proposal
from plaudit.ports.clock import Clock
from plaudit.ports.ledger import Target
from plaudit.services.pace import Backoff
from plaudit.services.publish import Publish

log = logging.getLogger("plaudit.alter")

Note = Callable[[str, str], Awaitable[None]]
"""Keeps in mind that this target was owned by this user. Idempotent. Raises `Unavailable` and `OutcomeUnknown`."""

WITHIN_S = 8.0
BACKOFF = Backoff()


async def _nobody_asks(target: str, owner: str) -> None:
    """For commits that leave owners alone."""


class Change(NamedTuple):
    """A commit that is wanted, and the transitions in it; `told_before`: they must be in the log before it is made."""

    proposal: Proposal
    transitions: Sequence[Transition] = ()
    told_before: bool = False


class Altered(NamedTuple):
    """The target as it is now, and the change that was made; None: it was as wanted already."""

    target: Target
    change: Change | None


Look = Callable[[bool], Awaitable[CellState]]  # True: linearizable, as `Cells.settle`
Decide = Callable[[CellState], Change | None]  # None: there is nothing to do


class Alter:
    """See the module. Lives on the event loop."""

    def __init__(
        self,
        cells: Cells,
        publish: Publish,
        clock: Clock,
        random: Random,
        trusted: Callable[[], bool] = lambda: True,
        note: Note = _nobody_asks,
    ) -> None:
        self._cells = self.cells = cells
        self._publish = publish
        self._clock = clock
        self._random = random
        self._trusted = trusted
        self._note = note
        self._tasks: set[asyncio.Task[Altered]] = set()

    def by_name(self, key: CellKey, users: Iterable[str] = (), cells: Cells | None = None) -> Look:
        """Looks at the header and at the rows of these users, as `cells` shows them if it is given."""
        names, through = tuple(users), cells or self._cells
        return lambda sure: through.settle(key, names) if sure else through.read(key, names)

    async def commit(
        self, key: CellKey, cause: Cause, look: Look, decide: Decide, *, split_too: bool = False
    ) -> Altered:
        """Bring the cell to where `decide` has nothing more to do, or do it.

        Cells of split targets are `Unavailable` unless `split_too` says that `decide` knows what to do with them.

        Raises `Unavailable`: nothing of it was or will be stored. `OutcomeUnknown`: do it again. And what `decide`
        raises: it was not done.
        """
        task = asyncio.create_task(self._commit(key, cause, look, decide, split_too))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(2 * WITHIN_S):
                return await asyncio.shield(task)
        except TimeoutError as error:
            raise OutcomeUnknown("the commit is not published yet; that goes on") from error

    async def drain(self, within_s: float = 15.0) -> None:
        """Wait until everything begun has ended; what has not by then is given up."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[Altered]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and not isinstance(error := task.exception(), PlauditError | None):
            log.error("a commit failed in a way nobody foresaw", exc_info=error)

    async def _commit(
        self, key: CellKey, cause: Cause, look: Look, decide: Decide, split_too: bool
    ) -> Altered:
        ends_s = self._clock.monotonic_s() + WITHIN_S
        told: set[str] = set()
        open_: Change | None = None  # proposed, and nobody knows whether it is stored
        change: Change | None = None
        failures = 0
        while True:
            try:
                state, change = await self._decide(look, decide, open_, split_too)
                made = open_ if open_ and _is_made(open_.proposal, state) else None
                if made is not None or change is None:
                    await self._publish_found(key, cause, state, open_)
                    return Altered(Target(state.header, state.registration), made)
                if unknown := {t.user for t in change.transitions} - told if change.told_before else None:
                    await self._tell(key, cause, state, change)
                    told |= unknown
                    continue  # that took a while: look again
                await self._note_former(key, state, change)
                if await self._propose(key, change):
                    return await self._made(key, cause, state, change)
            except OutcomeUnknown:
                open_ = change
            except Unavailable:
                if open_ is None:
                    raise
            failures += 1
            if self._clock.monotonic_s() > ends_s:
                raise _given_up(open_)
            await asyncio.sleep(BACKOFF.pause_s(failures, self._random))

    async def _decide(
        self, look: Look, decide: Decide, open_: Change | None, split_too: bool
    ) -> tuple[CellState, Change | None]:
        """What the cell is, and what is to be done. Nothing to do rests on a linearizable look."""
        sure = open_ is not None
        while True:
            state = await look(sure)
            if state.header is not None and state.header.lanes > 1 and not split_too:
                raise Unavailable("this target is split over lanes, where this cannot be done yet")
            change = decide(state)
            if change is not None or sure:
                return state, change
            sure = True

    async def _note_former(self, key: CellKey, state: CellState, change: Change) -> None:
        """Note who owns the target and will not any more. Lanes only say what the root says."""
        before = state.registration
        after = change.proposal.registered(before)
        owner = before.owner if before is not None else None
        if owner is not None and key.bucket == 0 and (after is None or after.owner != owner):
            await self._note(key.target, owner)

    async def _propose(self, key: CellKey, change: Change) -> bool:
        if not self._trusted():
            raise Unavailable("the clock of this process is not that of the store")
        return await self._cells.propose(key, change.proposal)

    async def _tell(self, key: CellKey, cause: Cause, state: CellState, change: Change) -> None:
        if state.header is not None:
            await self._publish.before(key, state.header, change.transitions, cause, state.registration)

    async def _made(self, key: CellKey, cause: Cause, state: CellState, change: Change) -> Altered:
        target = Target(change.proposal.header, change.proposal.registered(state.registration))
        header = change.proposal.header
        await self._publish.commit(key, header, change.transitions, cause, target.registration)
        return Altered(target, change)

    async def _publish_found(
        self, key: CellKey, cause: Cause, state: CellState, open_: Change | None
    ) -> None:
        if state.header is not None:
            moved = open_.transitions if open_ else ()
            await self._publish.commit(key, state.header, moved, cause, state.registration)


def _is_made(proposal: Proposal, state: CellState) -> bool:
    """Whether this state is what the proposal leads to. Two may lead to the same header from the rows of two users, or
    with two registrations, of which each keeps another part.
    """
    if state.header != proposal.header or any(user in state.rows for user in proposal.gone):
        return False
    if any(state.rows.get(user, row) != row for user, row in proposal.rows.items()):
        return False
    return state.registration == proposal.registered(state.registration)


def _given_up(open_: Change | None) -> PlauditError:
    if open_ is not None:
        return OutcomeUnknown("The store did not confirm in time.")
    return Unavailable("others kept committing to this target first")
