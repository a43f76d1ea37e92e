"""Targets through several lives: tapped on, split, deleted and registered, with faults of every process and of the log.

At rest, when what is late has come and what is owed is paid, everything has to say the same: the header what the rows
add up to, both lists who is in them, the newest event of each cell what its header says; and no deletion is left over.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from random import Random

from plaudit.domain.cell import Deleted, Row, Tap, Verb
from plaudit.domain.errors import PlauditError
from plaudit.domain.lanes import merge
from tests.simulation import loop
from tests.simulation.lists import lists_of
from tests.simulation.log import Away
from tests.simulation.store import Committed, Faults, SimulatedCells
from tests.simulation.town import REGISTRATION, Process, Town

ENDS_S = 60.0
QUIET_AFTER_S = 60.0
JOBS_END_S = 400.0
LANES = 3
LOOK_EVERY_S = 10.0
TARGETS = ("t", "s")
USERS = [f"u{n}" for n in range(12)]


class Lives(Town):
    """One history. `splits`: whether targets are split too."""

    def __init__(self, seed: int, *, splits: bool) -> None:
        super().__init__(Random(seed))
        self._splits = splits
        self._outage = self.random.random() < 0.5

    async def run(self) -> None:
        """Two API processes and a worker."""
        one, other = self.process(self._network(), lanes=LANES), self.process(self._network(), lanes=LANES)
        worker = self.process(self._network(), look_every_s=LOOK_EVERY_S)
        async with AsyncExitStack() as stack, asyncio.timeout(3600):
            for each in (one, other, worker):
                await stack.enter_async_context(each.remove)
            sweeping = asyncio.create_task(self._pay(worker))
            await asyncio.gather(
                self._fail(),
                *(self._tap([one, other]) for _ in range(6)),
                *(self._manage([one, other]) for _ in range(3)),
            )
            for each in (one, other, worker):
                each.cells.faults = Faults()
                await each.committer.drain(QUIET_AFTER_S)
                await each.alter.drain(QUIET_AFTER_S)
                await each.split.drain(QUIET_AFTER_S)
            await asyncio.sleep(JOBS_END_S)
            sweeping.cancel()
        await self.sweep()

    def wrong(self) -> Iterator[str]:
        """Everything that does not say the same, in words."""
        lists = lists_of(self.log.events, self.random)
        for target in TARGETS:
            states = {
                key.bucket: self.store.states(key)[-1] for key in self.store.cells if key.target == target
            }
            cells = {bucket: state for bucket, state in states.items() if state.header.seq}
            if 0 not in cells:
                continue
            yield from self._faults_of(target, cells)
            rows = _rows(cells)
            there = sorted((user, row.created_at, row.reaction) for user, row in rows.items() if row.reaction)
            for name, listed in (("reactors", lists.reactors(target)), ("reacted", lists.reacted(target))):
                if listed != there:
                    yield f"{target}: {name} differ from the rows by {sorted({*listed} ^ {*there})}"

    def _faults_of(self, target: str, cells: dict[int, Committed]) -> Iterator[str]:
        header = cells[0].header
        if header.lanes > 1:
            header = merge(header, {bucket: state.header for bucket, state in cells.items() if bucket})
        counts = Counter(row.reaction for row in _rows(cells).values() if row.reaction)
        if {code: n for code, n in enumerate(header.counts, 1) if n} != counts:
            yield f"{target}: header {header.counts}, rows {counts}"
        for bucket, state in cells.items():
            if state.header.deleted == Deleted.PURGING:
                yield f"{target}/{bucket}: being deleted for ever, jobs {self.ended()}"
            events = [event for event in self.log.events if (event.target, event.bucket) == (target, bucket)]
            newest = max(events, key=lambda event: event.seq, default=None)
            said = newest and (newest.seq, newest.counts, newest.deleted)
            if said != (state.header.seq, state.header.counts, state.header.deleted):
                yield f"{target}/{bucket}: the newest event says {said}, the header is {state.header}"

    def _network(self) -> SimulatedCells:
        random = self.random
        faults = Faults(
            unavailable=random.choice((0.0, 0.05)),
            lost_request=random.choice((0.0, 0.05)),
            lost_reply=random.choice((0.0, 0.1)),
            late=random.choice((0.0, 0.1)),
            hidden=0.2,
            slow=0.02,
        )
        return SimulatedCells(self.store, random, faults)

    async def _tap(self, processes: list[Process]) -> None:
        random = self.random
        while _now_s() < ENDS_S:
            verb = random.choice((Verb.TOGGLE, Verb.SET))
            reaction = random.randrange(4) if random.random() < 0.5 else 1
            tap = Tap(random.choice(USERS), verb, reaction, random.randbytes(8), random.random() < 0.5)
            try:
                await random.choice(processes).committer.submit(random.choice(TARGETS), tap)
            except PlauditError:
                pass
            await asyncio.sleep(random.uniform(0, 1.0))

    async def _manage(self, processes: list[Process]) -> None:
        random = self.random
        while _now_s() < ENDS_S:
            await asyncio.sleep(random.uniform(0, 12))
            process, target, dice = random.choice(processes), random.choice(TARGETS), random.random()
            try:
                if dice < 0.4:
                    await process.remove.delete_target(target)
                elif self._splits and dice > 0.8:
                    await process.split.split(target)
                else:
                    await process.directory.register(target, REGISTRATION)
            except PlauditError:
                pass

    async def _fail(self) -> None:
        """The log is away for a while, perhaps."""
        if self._outage:
            await asyncio.sleep(25)
            self.log.away = Away(log=1.0)
            await asyncio.sleep(10)
            self.log.away = Away()

    async def _pay(self, worker: Process) -> None:
        while True:
            await asyncio.sleep(1.0)
            if not worker.publish.away and self.log.debts:
                try:
                    await self.sweep()
                except PlauditError:
                    pass


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _rows(cells: dict[int, Committed]) -> dict[str, Row]:
    """The rows that count: those of lanes before those of the root."""
    return {user: row for bucket in sorted(cells) for user, row in cells[bucket].rows.items()}


def live(seed: int) -> list[str]:
    """Run one history on a virtual clock, of targets that are split if it is an odd one; what is wrong at its end."""
    lives = Lives(seed, splits=bool(seed % 2))
    loop.run(lives.run())
    return list(lives.wrong())
