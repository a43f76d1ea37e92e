"""Publish: a commit's event to the log, or the debt of it to the store; and the state of now where one was missed.

An acknowledged tap has its event in the log or is owed: whoever derives something from the log sees it, soon or after
the next sweep. After three failures in a row the log is asked once a second only, and everything else is owed at once.
Knows neither log nor store.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import MAX_USERS_PER_COMMIT, Header, Transition
from plaudit.domain.errors import Corrupt, OutcomeUnknown, PlauditError, Unavailable
from plaudit.domain.events import Cause, committed
from plaudit.ports.cells import CellKey, Cells, CellState
from plaudit.ports.clock import Clock
from plaudit.ports.events import SHARDS, Debt, Debts, Events
from plaudit.services.lanes import SplitCells

log = logging.getLogger("plaudit.publish")

PATIENCE_S = 1.5
FAILURES = 3
PROBE_EVERY_S = 1.0
PAUSE_S = 0.1


class Swept(NamedTuple):
    """What became of a shard's debts: so many were paid, and so many nobody can pay: their cells cannot be read."""

    paid: int
    unreadable: int


class Publish:
    """See the module. Lives on the event loop."""

    def __init__(self, events: Events, debts: Debts, cells: Cells, clock: Clock) -> None:
        self._events = events
        self._debts = debts
        self._cells = SplitCells(cells)  # a user may be in the root still, and their key in the lane
        self._clock = clock
        self._failures = 0
        self._probe_at_s = 0.0

    @property
    def away(self) -> bool:
        """Whether the log did not answer and is not to be asked again yet."""
        return self._failures >= FAILURES and self._clock.monotonic_s() < self._probe_at_s

    async def commit(
        self,
        key: CellKey,
        header: Header,
        transitions: Sequence[Transition],
        cause: Cause = "tap",
        registration: Registration | None = None,
    ) -> None:
        """Publish a commit's event; returns when it is in the log or owed. Goes on until one of them works."""
        event = committed(key.target, header, cause, list(transitions), key.bucket, registration)
        while not await self._publish(key, event):
            try:
                await self._debts.owe(key, [transition.user for transition in transitions])
                return
            except (Unavailable, OutcomeUnknown) as error:
                log.warning("an event is neither published nor owed: %s", error)
            await asyncio.sleep(PAUSE_S)

    async def before(
        self,
        key: CellKey,
        header: Header,
        transitions: Sequence[Transition],
        cause: Cause,
        registration: Registration | None = None,
    ) -> None:
        """Publish transitions before the commit that takes their rows away, under the header of before it.

        A debt would not do: it is paid from the rows. Raises `Unavailable`: the log does not take it now.
        """
        try:
            await self.at_once(key, header, transitions, cause, registration)
        except Unavailable as error:
            raise Unavailable("rows go only when the log of events has been told") from error

    async def at_once(
        self,
        key: CellKey,
        header: Header,
        transitions: Sequence[Transition],
        cause: Cause,
        registration: Registration | None = None,
    ) -> None:
        """Publish a commit's event and owe it to nobody, for who can make it again. Raises `Unavailable`."""
        event = committed(key.target, header, cause, list(transitions), key.bucket, registration)
        if not await self._publish(key, event):
            raise Unavailable("the log of events is away")

    async def again(self, key: CellKey, users: Collection[str], cause: Cause = "late") -> None:
        """Publish the state of these users in the cell as it is now; what their reactions were before is not known.

        Goes on until it works. Raises `Corrupt`: the state cannot be read, and nothing was published.
        """
        state = None
        while state is None:
            try:
                state = await self._cells.settle(key, users)
            except Unavailable as error:
                log.warning("a state that has to be published cannot be read yet: %s", error)
                await asyncio.sleep(PAUSE_S)
        if state.header is not None:
            await self.commit(key, state.header, _as_it_is(state), cause, state.registration)

    async def readable(self, debt: Debt) -> bool:
        """Whether it can be paid at all: the state that is owed can be read. Raises `Unavailable`."""
        try:
            await self._cells.settle(debt.key, debt.users)
        except Corrupt:
            return False
        return True

    async def sweep(self, shard: int) -> Swept:
        """Pay the debts of one shard, as far as the log takes them.

        Debts of one cell are paid together. One whose cell cannot be read stays, and keeps up no other.

        Raises `Unavailable` and `OutcomeUnknown`: sweep again.
        """
        if not 0 <= shard < SHARDS:
            raise ValueError(f"there are {SHARDS} shards")
        paid = unreadable = 0
        for key, debts in _together(await self._debts.owed(shard)):
            try:
                state = await self._cells.settle(key, {user for debt in debts for user in debt.users})
            except Corrupt as error:
                log.error("what is owed of target %s, bucket %s, cannot be paid: %s", *key, error)
                unreadable += len(debts)
                continue
            if state.header is not None:
                moved = _as_it_is(state)
                event = committed(key.target, state.header, "late", moved, key.bucket, state.registration)
                if not await self._publish(key, event):
                    break
            for debt in debts:
                await self._debts.settle(debt)
                paid += 1
        return Swept(paid, unreadable)

    async def _publish(self, key: CellKey, event: bytes) -> bool:
        """Whether the log has it; False at once while it is known to be away."""
        if self.away:
            return False
        self._probe_at_s = (
            self._clock.monotonic_s() + PROBE_EVERY_S
        )  # while it is away, this one is the probe
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._events.publish(key, event)
        except (PlauditError, TimeoutError) as error:
            self._failures += 1
            if self._failures == FAILURES:
                reason = str(error) or "no answer in time"
                log.warning("the log of events is away; commits are owed: %s", reason)
            self._probe_at_s = self._clock.monotonic_s() + PROBE_EVERY_S
            return False
        if self._failures >= FAILURES:
            log.warning("the log of events is back")
        self._failures = 0
        return True


def _together(debts: Iterable[Debt]) -> Iterator[tuple[CellKey, list[Debt]]]:
    """Debts that one event pays: of one cell, and of no more users than a commit has, unless a single debt does."""
    open_: dict[CellKey, tuple[list[Debt], set[str]]] = {}
    for debt in debts:
        together, users = open_.setdefault(debt.key, ([], set()))
        if together and len(users.union(debt.users)) > MAX_USERS_PER_COMMIT:
            yield debt.key, together
            together, users = open_[debt.key] = ([], set())
        together.append(debt)
        users.update(debt.users)
    for key, (together, _) in open_.items():
        yield key, together


def _as_it_is(state: CellState) -> list[Transition]:
    """The rows as transitions from nobody knows what; without those that only remember, and never changed."""
    return [
        Transition(user, None, row.reaction, row.created_at, row.updated_at)
        for user, row in state.rows.items()
        if row.updated_at
    ]
