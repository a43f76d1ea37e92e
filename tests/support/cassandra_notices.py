"""Notifications on the tests' Cassandra, on empty tables."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from plaudit.adapters.cassandra import (
    CassandraAudience,
    CassandraDeliveries,
    CassandraInbox,
    CassandraTold,
    CassandraUsers,
    Pushes,
    Session,
    Shares,
)
from plaudit.bootstrap.letters import Letters
from plaudit.ports.clock import Clock
from tests.engines.cassandra import Cassandra
from tests.support.cassandra import emptied as empty
from tests.support.cassandra import letters, open_session
from tests.support.notifying import OWNER
from tests.support.stores import Stores, sqlite_stores

TABLES = (
    *(
        "inbox",
        "told",
        "told_of",
        "former_owner",
        "wish",
        "device",
        "device_of",
        "erased_user",
        "erased_lately",
    ),
    *("push", "push_slice", "push_share", "dead_letter", "dead_hour"),
)


@dataclass
class Notices:
    """All of one process, and the marks of who was erased."""

    letters: Letters
    shares: Shares
    deliveries: CassandraDeliveries
    users: CassandraUsers

    @property
    def pushes(self) -> Pushes:
        return self.letters.pushes

    @property
    def inbox(self) -> CassandraInbox:
        return self.letters.inbox

    @property
    def audience(self) -> CassandraAudience:
        return self.letters.audience

    @property
    def told(self) -> CassandraTold:
        return self.letters.told

    async def mark_erased(self, user: str, job: Any) -> None:
        """What the job of an erasure does here, once the user is marked."""
        await self.users.mark(user)
        await self.letters.forget(user)

    async def take_back(self, target: str, *, last: bool) -> int:
        """What the job of a deletion does here, of a target that was the tests' owner's."""
        await self.letters.owners.note(target, OWNER)
        return await self.letters.take_back(target, None, last)


async def emptied(session: Session) -> None:
    """Nobody was told of anything, and nobody delivers."""
    await empty(session, TABLES)


@asynccontextmanager
async def notices(session: Session, clock: Clock) -> AsyncIterator[Notices]:
    """A process of its own on an open session."""
    async with AsyncExitStack() as stack:
        users = await stack.enter_async_context(CassandraUsers(session, clock))
        found = await stack.enter_async_context(letters(session, users))
        shares = await stack.enter_async_context(Shares(session, clock, uuid4().hex))
        deliveries = await stack.enter_async_context(
            CassandraDeliveries(session, found.pushes, found.inbox, found.audience, shares, clock)
        )
        yield Notices(found, shares, deliveries, users)


@asynccontextmanager
async def notice_stores(cassandra: Cassandra, others: Stores, clock: Clock) -> AsyncIterator[Stores]:
    """These stores, but with the inbox, the audience and the deliveries in Cassandra."""
    async with open_session(cassandra) as session:
        await emptied(session)
        async with notices(session, clock) as opened:
            marking: Any = opened
            yield replace(
                others,
                inbox=opened.inbox,
                audience=opened.audience,
                deliveries=opened.deliveries,
                removals=marking,
            )


@asynccontextmanager
async def either_stores(folder: Path, cassandra: Cassandra | None, clock: Clock) -> AsyncIterator[Stores]:
    """The embedded profile on a folder, with its notifications in Cassandra where there is one."""
    async with sqlite_stores(folder, clock) as embedded:
        if cassandra is None:
            yield embedded
            return
        async with notice_stores(cassandra, embedded, clock) as opened:
            yield opened
