"""Builds what owners are told, in the cluster: the inbox and settings of the API, and the notifier of the worker."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from plaudit.adapters.cassandra import (
    CassandraAudience,
    CassandraDeliveries,
    CassandraInbox,
    CassandraOwners,
    CassandraTold,
    Pushes,
    Shares,
)
from plaudit.adapters.push import PushClient
from plaudit.adapters.redis import RedisBatches
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import Engines, engines
from plaudit.bootstrap.notifications import authorities, make_senders, make_wording
from plaudit.domain.windows import Pace
from plaudit.ports.clock import Clock
from plaudit.ports.directory import Directory
from plaudit.ports.notifications import Parcel
from plaudit.services.behind import Late
from plaudit.services.deliver import Deliver
from plaudit.services.notifier import Notifier
from plaudit.services.tell import Sources, Tell
from plaudit.settings import Settings
from plaudit.telemetry import Metrics

CLOSED_AT_ONCE = (
    200  # more than where taps wait for the same store: each look for them goes through all shards
)


class Letters(NamedTuple):
    """What owners were told, and how they are reached."""

    pushes: Pushes
    inbox: CassandraInbox
    audience: CassandraAudience
    told: CassandraTold
    owners: CassandraOwners

    async def take_back(self, target: str, before: int | None, last: bool) -> int:
        """See `plaudit.services.removals.TakeBack`."""
        owners = await self.owners.of(target)
        removed = await self.inbox.take_back(target, owners, before)
        if before is None:  # else the target is there again, and what is remembered may be of it
            await self.told.forget(target, owners)
            if last:
                await self.owners.forget(target, owners)
        return removed

    async def forget(self, user: str) -> None:
        """Nothing of this user stays."""
        await self.inbox.forget(user)
        await self.audience.forget(user)


@asynccontextmanager
async def letters(held: Engines) -> AsyncIterator[Letters]:
    """The stores of messages."""
    among = held.erased.among
    async with (
        Pushes(held.session) as pushes,
        CassandraInbox(held.session, pushes, among) as inbox,
        CassandraAudience(held.session, among) as audience,
        CassandraTold(held.session) as told,
        CassandraOwners(held.session) as owners,
    ):
        yield Letters(pushes, inbox, audience, told, owners)


@asynccontextmanager
async def _deliveries(held: Engines, found: Letters, clock: Clock) -> AsyncIterator[CassandraDeliveries]:
    async with (
        Shares(held.session, clock, secrets.token_hex(8)) as shares,
        CassandraDeliveries(
            held.session, found.pushes, found.inbox, found.audience, shares, clock
        ) as deliveries,
    ):
        yield deliveries


async def dead_letters(settings: Settings, after: int, limit: int) -> list[Parcel]:
    """Pushes that were given up, the oldest first. Raises `PlauditError`."""
    clock = SystemClock()
    async with (
        engines(settings, clock) as held,
        letters(held) as found,
        _deliveries(held, found, clock) as deliveries,
    ):
        return await deliveries.dead(after, limit)


async def resend(settings: Settings, numbers: Sequence[int] | None) -> int:
    """Have dead letters sent again (None: all); how many. Raises `PlauditError`."""
    clock = SystemClock()
    async with (
        engines(settings, clock) as held,
        letters(held) as found,
        _deliveries(held, found, clock) as deliveries,
    ):
        return await deliveries.resend(numbers, clock.now_us())


@asynccontextmanager
async def notifier(
    settings: Settings, held: Engines, directory: Directory, clock: Clock, metrics: Metrics
) -> AsyncIterator[Notifier]:
    """A handler of events that tells owners, with the senders that the settings name."""
    made = asyncio.Event()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        found = await enter(letters(held))
        deliveries = await enter(_deliveries(held, found, clock))
        client = await enter(
            PushClient(authorities(settings.push_ca), clock, private=settings.push_private_addresses)
        )
        senders = make_senders(settings, client, clock)
        wording, catalogue = make_wording(settings), settings.catalogue()
        await enter(Deliver(deliveries, directory, senders, wording, catalogue, clock, metrics, made))
        batches = RedisBatches(held.redis, clock)
        await enter(Late(batches, clock, metrics))
        tell = Tell(
            batches,
            Sources(held.lists, held.lists, directory, found.audience, found.told),
            found.inbox,
            clock,
            metrics,
            pace=Pace(windows_s=tuple(settings.notification_windows_s)),
            channels=[sender.channel for sender in senders],
            made=made,
            at_once=CLOSED_AT_ONCE,
            saved_at_once=CLOSED_AT_ONCE,
        )
        yield await enter(Notifier(tell, clock))
