"""A cell store for simulations: one truth, many processes, and a network that does to them what networks do.

It behaves as Cassandra does under Paxos, at its worst: a proposal may be applied after its caller was told that nobody
knows, and after a linearizable read that did not show it; a reply may be lost on its way; a decided commit may be seen
by one read and missed by the next, until it is at a quorum. It never does what Paxos rules out.
"""

import asyncio
from collections.abc import Iterable, Sequence
from random import Random
from typing import NamedTuple

import msgspec

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Row
from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.ports.cells import CellKey, CellState, Proposal

TIMEOUT_S = 2.0


class Faults(msgspec.Struct, frozen=True):
    """How often something goes wrong, and how long things take (seconds)."""

    unavailable: float = 0.0  # refused before anything happened
    lost_request: float = 0.0
    lost_reply: float = 0.0
    late: float = 0.0  # applied after its caller gave up
    hidden: float = 0.0  # decided, and at a quorum only when somebody looks or commits
    delay_s: float = 0.002
    slow: float = 0.0  # this often a delay is a hundred times as long


class Committed(NamedTuple):
    """One state of a cell and when it was decided."""

    at_s: float
    header: Header
    rows: dict[str, Row]
    registration: Registration | None = None


class SimulatedStore:
    """All cells of one history, every state they ever had. `first` is the state before the first commit."""

    def __init__(self) -> None:
        self.cells: dict[CellKey, list[Committed]] = {}
        self._at_quorum: dict[CellKey, int] = {}

    def states(self, key: CellKey) -> list[Committed]:
        """The states of the cell, in the order of `seq`, from that of a cell nobody wrote."""
        return self.cells.setdefault(key, [Committed(0.0, Header(), {})])

    def decide(self, key: CellKey, proposal: Proposal, now_s: float) -> bool:
        """The moment of a commit."""
        states = self.states(key)
        last = states[-1]
        self.at_quorum(key)  # before the next is proposed, the last one is at a quorum
        if last.header.seq != proposal.seq or last.header.lanes != proposal.lanes:
            return False
        rows = {
            user: row
            for user, row in {**last.rows, **proposal.rows}.items()
            if user not in proposal.gone and user > proposal.gone_through
        }
        registration = proposal.registered(last.registration)
        states.append(Committed(now_s, proposal.header, rows, registration))
        return True

    def at_quorum(self, key: CellKey) -> None:
        """From now on every read shows the newest state."""
        self._at_quorum[key] = len(self.states(key)) - 1

    def look(self, key: CellKey, random: Random) -> Committed:
        """What a quorum read shows: what is at a quorum, or the newer state that one replica has already."""
        states = self.states(key)
        return states[random.randint(self._at_quorum.get(key, 0), len(states) - 1)]


class SimulatedCells:
    """See `plaudit.ports.cells`: one process's way to the store. `faults` may be changed at any time."""

    def __init__(self, store: SimulatedStore, random: Random, faults: Faults) -> None:
        self._store = store
        self._random = random
        self.faults = faults

    async def read(self, key: CellKey, users: Iterable[str]) -> CellState:
        await self._way()
        self._may_be_unavailable()
        state = self._store.look(key, self._random)
        await self._way()
        return _of(state, users)

    async def settle(self, key: CellKey, users: Iterable[str]) -> CellState:
        await self._way()
        self._may_be_unavailable()
        self._store.at_quorum(key)
        state = self._store.states(key)[-1]
        await self._way()
        self._may_be_unavailable()
        return _of(state, users)

    async def page(self, key: CellKey, after: str, limit: int) -> dict[str, Row]:
        await self._way()
        self._may_be_unavailable()
        rows = self._store.look(key, self._random).rows
        await self._way()
        return dict([(user, rows[user]) for user in sorted(rows) if user > after][:limit])

    async def unwritten(self, targets: Sequence[str]) -> set[str]:
        await self._way()
        self._may_be_unavailable()
        looks = {target: self._store.look(CellKey(target), self._random) for target in targets}
        await self._way()
        return {target for target, state in looks.items() if not state.header.seq}

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        faults, dice = self.faults, self._random.random
        try:
            await self._way()
        except asyncio.CancelledError:
            self._later(key, proposal)  # the process died, its request is on its way
            raise
        self._may_be_unavailable()
        if dice() < faults.lost_request:
            await self._time_out()
        if dice() < faults.late:
            self._later(key, proposal)
            await self._time_out()
        applied = self._store.decide(key, proposal, self._now_s())
        if dice() < faults.lost_reply:
            await self._time_out()
        if dice() >= faults.hidden:
            self._store.at_quorum(key)
        await self._way()
        self._store.at_quorum(key)  # nobody is told before that
        return applied

    def _later(self, key: CellKey, proposal: Proposal) -> None:
        if self._random.random() < 0.7:
            delay_s = self._random.uniform(0, 2 * TIMEOUT_S)
            loop = asyncio.get_running_loop()
            loop.call_later(delay_s, lambda: self._store.decide(key, proposal, loop.time()))

    async def _time_out(self) -> None:
        """A connection that breaks is known at once, a server that is silent after a while."""
        await asyncio.sleep(self._random.choice((0.0, 0.01, TIMEOUT_S)))
        raise OutcomeUnknown("simulated")

    def _may_be_unavailable(self) -> None:
        if self._random.random() < self.faults.unavailable:
            raise Unavailable("simulated")

    async def _way(self) -> None:
        delay_s = self._random.uniform(0, self.faults.delay_s)
        await asyncio.sleep(delay_s * 100 if self._random.random() < self.faults.slow else delay_s)

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()


def _of(state: Committed, users: Iterable[str]) -> CellState:
    header = state.header if state.header.seq else None
    return CellState(
        header, state.registration, {user: state.rows[user] for user in users if user in state.rows}
    )
