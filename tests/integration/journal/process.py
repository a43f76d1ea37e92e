"""One API process without HTTP: a committer on real Cassandra and Kafka with its journal, and users who tap.

As a program it taps until it is killed. Arguments: Cassandra's host and port, Kafka's address, the topic, the data
folder, and a prefix for the users. Prints `ready`, then a line for every tap that was acknowledged.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from plaudit.adapters.cassandra import CassandraCells, CassandraConfig, CassandraDebts, Session
from plaudit.adapters.journal import FileJournal
from plaudit.adapters.kafka import KafkaConfig, KafkaEvents
from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Rules
from plaudit.domain.errors import PlauditError
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.propose import Proposer
from plaudit.services.publish import Publish
from plaudit.telemetry import Metrics
from tests.support.taps import set_to
from tests.support.totals import NoCounters

USERS = 32
TARGETS = 6


class Process(NamedTuple):
    """What one process has."""

    cells: CassandraCells
    debts: CassandraDebts
    publish: Publish
    journal: FileJournal
    committer: CellCommitter


@asynccontextmanager
async def process(session: Session, bootstrap: str, topic: str, data: Path) -> AsyncIterator[Process]:
    """A process on an open session with the schema in it."""
    clock, catalogue = SystemClock(), Catalogue()
    async with AsyncExitStack() as stack:
        cells = await stack.enter_async_context(CassandraCells(session))
        debts = await stack.enter_async_context(CassandraDebts(session, clock))
        events = await stack.enter_async_context(KafkaEvents(KafkaConfig([bootstrap], topic)))
        journal = stack.enter_context(FileJournal(data))
        publish = Publish(events, debts, cells, clock)
        proposer = Proposer(cells, Known(), clock, Rules(catalogue), journal=journal)
        near = NearCache(NoCounters(), catalogue, entries=100, public=True)
        committer = CellCommitter(proposer, near, clock, Metrics(), Random(0), publish)
        yield Process(cells, debts, publish, journal, committer)
        await committer.drain()


async def tap_for_ever(
    committer: CellCommitter, targets: Sequence[str], user: str, told: Callable[[str], None]
) -> None:
    """One user, one tap after the other."""
    random = Random(user)
    while True:
        target, reaction = random.choice(targets), random.choice((0, 1, 2))
        try:
            await committer.submit(target, set_to(user, reaction))
        except PlauditError:
            continue
        told(f"{user} {target} {reaction}\n")


def targets_of(topic: str) -> list[str]:
    """A test's own targets."""
    return [f"{topic}.{n}" for n in range(TARGETS)]


def users_of(prefix: str) -> list[str]:
    """The users of one process."""
    return [f"{prefix}-{n}" for n in range(USERS)]


def told(line: str) -> None:
    """Say it at once."""
    sys.stdout.write(line)
    sys.stdout.flush()


async def main(host: str, port: str, bootstrap: str, topic: str, data: str, prefix: str) -> None:
    """See the module."""
    async with (
        Session(CassandraConfig([host], int(port), replication=1)) as session,
        process(session, bootstrap, topic, Path(data)) as running,
    ):
        told("ready\n")
        async with asyncio.TaskGroup() as group:
            for user in users_of(prefix):
                group.create_task(tap_for_ever(running.committer, targets_of(topic), user, told))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
