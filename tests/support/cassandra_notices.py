"""Notifications on the tests' Cassandra, on empty tables."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
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
from plaudit.ports.clock import Clock
from tests.engines.cassandra import Cassandra
from tests.support.cassandra import emptied as empty
from tests.support.cassandra import open_session
from tests.support.stores import Stores

TABLES = (
    *("inbox", "told", "wish", "device", "device_of", "erased_user", "erased_lately"),
    *("push", "push_slice", "push_share", "dead_letter", "dead_hour"),
)


@dataclass
class Notices:
    """All of one process, and the marks of who was erased."""

    pushes: Pushes
    inbox: CassandraInbox
    audience: CassandraAudience
    told: CassandraTold
    shares: Shares
    deliveries: CassandraDeliveries
    users: CassandraUsers

    async def mark_erased(self, user: str, job: Any) -> None:
        """What the job of an erasure does here, once the user is marked."""
        await self.users.mark(user)
        await self.inbox.forget(user)
        await self.audience.forget(user)


async def emptied(session: Session) -> None:
    """Nobody was told of anything, and nobody delivers."""
    await empty(session, TABLES)


@asynccontextmanager
async def notices(session: Session, clock: Clock) -> AsyncIterator[Notices]:
    """A process of its own on an open session."""
    async with AsyncExitStack() as stack:
        users = await stack.enter_async_context(CassandraUsers(session, clock))

        async def among(names: Collection[str]) -> Collection[str]:
            marked = await asyncio.gather(*map(users.marked_at, names))
            return {name for name, at in zip(names, marked, strict=True) if at is not None}

        pushes = await stack.enter_async_context(Pushes(session))
        inbox = await stack.enter_async_context(CassandraInbox(session, pushes, among))
        audience = await stack.enter_async_context(CassandraAudience(session, among))
        told = await stack.enter_async_context(CassandraTold(session))
        shares = await stack.enter_async_context(Shares(session, clock, uuid4().hex))
        deliveries = await stack.enter_async_context(
            CassandraDeliveries(session, pushes, inbox, audience, shares, clock)
        )
        yield Notices(pushes, inbox, audience, told, shares, deliveries, users)


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
