"""One seeded history: a few processes, a few users with their devices, a store and a network with their moods."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import msgspec

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Rules, Tap, Verb
from plaudit.domain.errors import Invalid, OutcomeUnknown, Overloaded, Unavailable
from plaudit.domain.operations import KEPT
from plaudit.ports.cells import CellKey
from plaudit.ports.events import SHARDS
from plaudit.services.alter import Alter
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.pace import Limits
from plaudit.services.propose import Proposer
from plaudit.services.publish import Publish
from plaudit.services.recover import Recover
from plaudit.services.root_users import RootUsers
from plaudit.services.split import Split
from plaudit.telemetry import Metrics
from tests.simulation import loop
from tests.simulation.history import Seen, faults_of
from tests.simulation.journal import SimulatedJournal, SimulatedJournals, unpublished_at_rest
from tests.simulation.log import Away, SimulatedLog, not_published
from tests.simulation.splitting import faults_of_split, split_targets
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.support.totals import NoCounters

START_US = 1_760_000_000_000_000
RULES = Rules(Catalogue())
METRICS = Metrics()  # nobody looks at them here
QUIET_AFTER_S = 60.0
SPLITS = 0.5  # of the histories have targets that are split

ProposerMaker = Callable[[SimulatedCells, Known, "ProcessClock", SimulatedJournal], Proposer]


class ProcessClock:
    """The clock of one process: not quite the others', and it may step."""

    def __init__(self, random: Random) -> None:
        self.ahead_us = random.randint(-900_000, 900_000)

    def now_us(self) -> int:
        return START_US + self.ahead_us + round(asyncio.get_running_loop().time() * 1_000_000)

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()


class Report(msgspec.Struct):
    """What came of a history."""

    wrong: list[str]
    taps: int
    answered: int
    refused: int
    unknown: int
    split: int = 0


class Process(NamedTuple):
    """What one process has."""

    cells: SimulatedCells
    committer: CellCommitter
    journal: SimulatedJournal
    recover: Recover
    split: Split
    alter: Alter
    roots: RootUsers

    async def kill(self) -> None:
        """End it where it stands, between any two steps."""
        self.journal.kill()
        await self.roots.__aexit__()
        await self.split.drain(0.0)
        await self.alter.drain(0.0)
        await self.recover.__aexit__()
        await self.committer.close()


class World:
    """One history. `make` builds the proposer of a process, so that a test can build a broken one."""

    def __init__(
        self,
        seed: int,
        make: ProposerMaker,
        publish: type[Publish] = Publish,
        recover: type[Recover] = Recover,
        splits: float = SPLITS,
        roots: type[RootUsers] = RootUsers,
    ) -> None:
        self._splits = splits
        self._roots = roots
        self._random = Random(seed)
        self._make = make
        self._publish = publish
        self._recover = recover
        self._store = SimulatedStore()
        self._log = SimulatedLog(
            self._random, Away(self._random.choice((0.0, 0.1, 0.9)), self._random.choice((0.0, 0.3)))
        )
        self._journals = SimulatedJournals()
        self._seen: list[Seen] = []
        self._ops = 0
        self._processes: list[Process] = []

    async def _process(self) -> Process:
        random = self._random
        cells = SimulatedCells(self._store, random, self._mood())
        clock = ProcessClock(random)
        journal = SimulatedJournal(self._journals)
        proposer = self._make(cells, Known(random.choice((8, 1000))), clock, journal)
        roots = await self._roots(cells, cells, asked=random.choice((1, 3))).__aenter__()
        proposer._cells._roots = roots
        near = NearCache(NoCounters(), RULES.catalogue, entries=100, public=True)
        limits = Limits(answer_within_s=random.choice((0.5, 5.0)), max_under_way=random.choice((1, 16)))
        publish = self._publish(self._log, self._log, cells, clock)
        committer = CellCommitter(proposer, near, clock, METRICS, random, publish, limits)
        look_every_s = random.choice((0.5, 5.0))
        recover = self._recover(self._journals, cells, publish, METRICS, random, look_every_s=look_every_s)
        alter = Alter(cells, publish, clock, random)
        split = Split(alter, random.choice((2, 2, 3)), journal)
        return Process(cells, committer, journal, await recover.__aenter__(), split, alter, roots)

    def _mood(self) -> Faults:
        """Half of the processes have a good network, the others one fault or many."""
        random = self._random

        def often() -> float:
            return random.choice((0.0, 0.0, 0.1, 0.4))

        if random.random() < 0.3:
            return Faults(hidden=often(), slow=0.05)
        return Faults(
            unavailable=often() / 2,
            lost_request=often() / 2,
            lost_reply=often(),
            late=often(),
            hidden=often(),
            delay_s=random.choice((0.001, 0.02)),
            slow=random.choice((0.0, 0.05)),
        )

    async def run(self) -> Report:
        """Everybody taps, some processes die, the faults end, and what is left is judged."""
        random = self._random
        self._processes = [await self._process() for _ in range(random.randint(1, 3))]
        users = [f"u{n}" for n in range(random.randint(1, 5))]
        targets = [f"t{n}" for n in range(random.randint(1, 2))]
        devices = [
            asyncio.create_task(self._device(user, targets, random.randint(2, KEPT - 1) // 2 or 1))
            for user in users
            for _ in range(random.randint(1, 2))
        ]
        others = [asyncio.create_task(self._kill_some())]
        if random.random() < self._splits:
            others += [
                asyncio.create_task(self._split(random.choice(targets))) for _ in range(random.randint(1, 4))
            ]
        async with asyncio.timeout(600):
            await asyncio.gather(*devices)
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self._come_to_rest()
        split = split_targets(self._store)
        wrong = [
            *faults_of(self._store, [tap for tap in self._seen if tap.key.target not in split]),
            *(fault for target in sorted(split) for fault in self._faults_of(target)),
            *not_published(self._store, self._log, self._seen, random),
            *unpublished_at_rest(self._store, self._log),
        ]
        return Report(
            wrong,
            len(self._seen),
            sum(tap.answer is not None for tap in self._seen),
            sum(tap.refused for tap in self._seen),
            sum(tap.answer is None and tap.maybe for tap in self._seen),
            len(split),
        )

    def _faults_of(self, target: str) -> list[str]:
        taps = [tap for tap in self._seen if tap.key.target == target]
        return list(faults_of_split(self._store, target, taps))

    async def _split(self, target: str) -> None:
        """Somebody splits a target: at any moment, and perhaps several at once."""
        await asyncio.sleep(self._random.choice((0.0, 0.01, self._random.uniform(0, 2.0))))
        for _ in range(10):
            try:
                await self._random.choice(self._processes).split.split(target)
                return
            except (Invalid, Unavailable, OutcomeUnknown):
                pass
            await asyncio.sleep(self._random.uniform(0, 0.3))

    async def _come_to_rest(self) -> None:
        """The network is quiet, and everything that is owed, open or left behind is brought to its end."""
        self._log.away = Away()
        for process in self._processes:
            process.cells.faults = Faults()
            await process.committer.drain(QUIET_AFTER_S)
            await process.split.drain(QUIET_AFTER_S)
            await process.alter.drain(QUIET_AFTER_S)
            assert not process.committer.open, "an outcome stayed unknown on a quiet network"
        await asyncio.sleep(QUIET_AFTER_S)  # whatever is late has come by then
        sweeper = self._publish(self._log, self._log, process.cells, ProcessClock(self._random))
        for shard in range(SHARDS):
            await sweeper.sweep(shard)
        assert not self._log.debts, "a debt was not paid on a quiet network"
        assert not any(journal.open for journal in self._journals.all), "something is still under way"
        for process in self._processes:
            await process.recover.__aexit__()
            await process.roots.__aexit__()

    async def _kill_some(self) -> None:
        """Now and then a process ends without a word and another one starts; or its clock steps."""
        random = self._random
        while True:
            # Some are killed a moment after another, while they still look at what it left behind.
            await asyncio.sleep(random.choice((random.uniform(0.01, 3.0), random.uniform(0.0, 0.02))))
            at = random.randrange(len(self._processes))
            if random.random() < 0.5:
                killed, self._processes[at] = self._processes[at], await self._process()
                await killed.kill()

    async def _device(self, user: str, targets: Sequence[str], taps: int) -> None:
        random = self._random
        for _ in range(taps):
            await asyncio.sleep(random.choice((0.0, 0.0, random.uniform(0, 0.02), random.uniform(0, 2.0))))
            self._ops += 1
            verb = random.choice((Verb.TOGGLE, Verb.SET, Verb.SET))
            reaction = random.choice((1, 1, 2)) if verb == Verb.TOGGLE else random.choice((0, 1, 1, 2))
            seen = Seen(
                key=CellKey(random.choice(targets)),
                user=user,
                verb=verb,
                reaction=reaction,
                op=self._ops.to_bytes(8, "big"),
                keyed=random.random() < 0.6,
                sent_s=asyncio.get_running_loop().time(),
            )
            self._seen.append(seen)
            await self._send(seen)

    async def _send(self, seen: Seen) -> None:
        """As a careful client: what is unknown is repeated with its key, what was refused perhaps."""
        random = self._random
        tap = Tap(seen.user, seen.verb, seen.reaction, seen.op, seen.keyed)
        for _ in range(8):
            process = random.choice(self._processes)
            try:
                waiting = process.committer.submit(seen.key.target, tap)
                answer, shown, _ = await asyncio.wait_for(waiting, random.choice((0.05, 30.0)))
            except (OutcomeUnknown, TimeoutError):  # the client's own patience may end first
                seen.maybe = True
                if not seen.keyed or random.random() < 0.1:
                    return
            except (Overloaded, Unavailable):
                if not seen.keyed or random.random() < 0.3:
                    break
            else:
                seen.answer = answer  # type: ignore[assignment] # nothing here is refused by policy
                seen.version = shown.seq
                header = shown.target.header
                seen.counts = header.counts if header else ()
                seen.lanes = header.lanes if header else 1
                break
            await asyncio.sleep(random.uniform(0, 0.5))
        if seen.answer is not None or not seen.maybe:
            seen.told_s = asyncio.get_running_loop().time()


def sound(cells: SimulatedCells, known: Known, clock: ProcessClock, journal: SimulatedJournal) -> Proposer:
    """The proposer as it is."""
    return Proposer(cells, known, clock, RULES, journal=journal)


def play(
    seed: int,
    make: ProposerMaker = sound,
    publish: type[Publish] = Publish,
    recover: type[Recover] = Recover,
    splits: float = SPLITS,
    roots: type[RootUsers] = RootUsers,
) -> Report:
    """Run one history on a virtual clock."""

    async def main() -> Report:
        return await World(seed, make, publish, recover, splits, roots).run()

    return loop.run(main())
