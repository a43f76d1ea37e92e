"""The ports of one profile, opened together: what contract tests are written against."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from plaudit.adapters.sqlite import (
    Database,
    SqliteAudience,
    SqliteBatches,
    SqliteCopies,
    SqliteDeliveries,
    SqliteDirectory,
    SqliteInbox,
    SqliteIntake,
    SqliteJobs,
    SqliteLedger,
    SqliteLists,
    SqliteLog,
    SqliteRemovals,
    SqliteSource,
)
from plaudit.adapters.sqlite.ledger import Numbers
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Answer, Rules, Tap
from plaudit.ports.batches import Batches
from plaudit.ports.clock import Clock
from plaudit.ports.directory import Directory
from plaudit.ports.ledger import CellResult, CellTaps, Ledger, Target
from plaudit.ports.lists import Counters, OwnState, Reactions, Reactors
from plaudit.ports.log import EventLog
from plaudit.ports.notifications import Audience, Deliveries, Inbox
from plaudit.ports.removals import Jobs, Removals
from plaudit.ports.transfer import Intake, Source


async def _nothing() -> None:
    """For profiles in which every read sees every commit."""


@dataclass(frozen=True)
class Stores:
    """Every port of one profile over the same data. `settle` waits until all reads see all commits."""

    ledger: Ledger
    counters: Counters
    own: OwnState
    reactors: Reactors
    reactions: Reactions
    directory: Directory
    removals: Removals
    jobs: Jobs
    log: EventLog
    batches: Batches
    inbox: Inbox
    audience: Audience
    deliveries: Deliveries
    intake: Intake
    source: Source
    copies: SqliteCopies
    settle: Callable[[], Awaitable[None]] = _nothing

    async def tap(self, target: str, *taps: Tap) -> CellResult:
        """Commit taps on one target."""
        [result] = await self.ledger.commit([CellTaps(target, taps)])
        await self.settle()
        return result

    async def answer(self, target: str, tap: Tap) -> Answer:
        """Commit one tap that must not be refused."""
        [answer] = (await self.tap(target, tap)).answers
        assert isinstance(answer, Answer), answer
        return answer

    async def target(self, target: str) -> Target:
        """What the counters say about one target."""
        return (await self.counters.targets([target])).get(target, Target())

    async def counts(self, target: str) -> tuple[int, ...]:
        """The counts without the zeros at the end."""
        header = (await self.target(target)).header
        counts = list(header.counts) if header else []
        while counts and counts[-1] == 0:
            counts.pop()
        return tuple(counts)


@asynccontextmanager
async def sqlite_stores(folder: Path, clock: Clock, *, vfs: str | None = None) -> AsyncIterator[Stores]:
    """The embedded profile on a folder."""
    async with Database(folder, vfs=vfs) as database:
        yield stores_on(database, clock)


def stores_on(database: Database, clock: Clock) -> Stores:
    """The embedded profile on an open database."""
    numbers = Numbers(database)
    lists = SqliteLists(database)
    return Stores(
        ledger=SqliteLedger(database, clock, Rules(Catalogue()), numbers),
        counters=lists,
        own=lists,
        reactors=lists,
        reactions=lists,
        directory=SqliteDirectory(database, numbers),
        removals=SqliteRemovals(database, clock, numbers),
        jobs=SqliteJobs(database),
        log=SqliteLog(database),
        batches=SqliteBatches(database, clock),
        inbox=SqliteInbox(database),
        audience=SqliteAudience(database),
        deliveries=SqliteDeliveries(database, clock),
        intake=SqliteIntake(database, clock, numbers),
        source=SqliteSource(database.folder),
        copies=SqliteCopies(database.folder, clock),
    )
