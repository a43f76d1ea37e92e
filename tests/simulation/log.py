"""A log of events and a store of debts for simulations: they refuse, lose replies, and take in what came late."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from zlib import crc32

import msgspec

from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.domain.events import Committed, decode
from plaudit.ports.cells import CellKey
from plaudit.ports.events import OWED_AT_ONCE, SHARDS, Debt
from tests.simulation.history import Seen
from tests.simulation.store import SimulatedStore

MOST_BYTES = 1_000_000


class Away(msgspec.Struct):
    """How often each of two parts fails: the log, and the store of debts."""

    log: float = 0.0
    debts: float = 0.0


class SimulatedLog:
    """See `plaudit.ports.events.Events` and `Debts`; one for all processes."""

    def __init__(self, random: Random, away: Away) -> None:
        self._random = random
        self.away = away
        self.events: list[Committed] = []
        self.debts: dict[int, Debt] = {}
        self._places = 0

    async def publish(self, key: CellKey, event: bytes) -> None:
        await self._way()
        if len(event) > MOST_BYTES:
            raise Unavailable("too big")
        if self._random.random() < self.away.log:
            match self._random.randrange(4):
                case 0:
                    raise Unavailable("simulated")
                case 1:
                    await asyncio.sleep(30)  # silent
                case 2:
                    self.events.append(decode(event))  # there, and nobody says so
            raise OutcomeUnknown("simulated")
        self.events.append(decode(event))
        await self._way()

    async def owe(self, key: CellKey, users: Iterable[str]) -> None:
        await self._way()
        users = tuple(users)
        fails = self._random.random() < self.away.debts
        if not fails or self._random.random() < 0.5:
            self._places += 1
            shard = crc32(key.target.encode()) % SHARDS
            self.debts[self._places] = Debt(key, users, (0, shard, self._places))
        if fails:
            raise OutcomeUnknown("simulated")

    async def owed(self, shard: int) -> list[Debt]:
        return [debt for debt in self.debts.values() if debt.place[1] == shard][:OWED_AT_ONCE]

    async def settle(self, debt: Debt) -> None:
        self.debts = {place: each for place, each in self.debts.items() if each.place != debt.place}

    async def _way(self) -> None:
        await asyncio.sleep(self._random.uniform(0, 0.005))


def not_published(
    store: SimulatedStore, log: SimulatedLog, taps: Sequence[Seen], random: Random
) -> Iterator[str]:
    """What a consumer of the log would have wrong of acknowledged taps, in whatever order the events come."""
    events = log.events[:]
    random.shuffle(events)
    newest: dict[tuple[CellKey, str], tuple[int, int]] = {}
    for event in events:
        key = CellKey(event.target, event.bucket)
        states = store.states(key)
        if event.seq >= len(states) or event.counts != states[event.seq].header.counts:
            yield f"{key}: seq {event.seq} published with {event.counts}"
        for t in event.transitions:
            place = key, t.user
            newest[place] = max(newest.get(place, (0, 0)), (t.at, t.after))
    for tap in taps:
        if tap.answer is None or tap.version >= len(store.states(tap.key)):
            continue
        rows = store.states(tap.key)[tap.version].rows
        row = rows.get(tap.user)
        at, reaction = newest.get((tap.key, tap.user), (0, 0))
        if row is not None and at < row.updated_at and reaction != row.reaction and tap.op in row.ops:
            yield f"{tap.user} {tap.op.hex()}: acknowledged at version {tap.version}, never published"
        final = store.states(tap.key)[-1].rows.get(tap.user)
        if final is not None and at == final.updated_at and at and reaction != final.reaction:
            yield f"{tap.user}: published as {reaction}, is {final.reaction}"
