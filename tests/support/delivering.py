"""Pushes from a store to providers, and the short ways to make them and to wait for them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from plaudit.adapters.push import Fcm, PushClient, service_account
from plaudit.domain.catalogue import Catalogue
from plaudit.ports.notifications import Address, Channel, Device
from plaudit.ports.push import Sender
from plaudit.services.deliver import Deliver
from plaudit.services.wording import Wording
from plaudit.telemetry import Metrics
from tests.support.clock import ManualClock
from tests.support.notifying import OWNER, message
from tests.support.provider import Certificates, Provider, served
from tests.support.providers import FcmServer
from tests.support.stores import Stores


@asynccontextmanager
async def reached(
    clock: ManualClock, certificates: Certificates, *servers: Provider
) -> AsyncIterator[PushClient]:
    """These providers, and a client that reaches them."""
    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(served(server, certificates))
        yield await stack.enter_async_context(PushClient(certificates.pem, clock, private=True))


@asynccontextmanager
async def delivering(
    stores: Stores, clock: ManualClock, *senders: Sender, metrics: Metrics | None = None
) -> AsyncIterator[Metrics]:
    """Deliveries going on in the background."""
    metrics = metrics or Metrics()
    deliver = Deliver(
        stores.deliveries,
        stores.directory,
        senders,
        Wording(),
        Catalogue(),
        clock,
        metrics,
        asyncio.Event(),
        look_every_s=0.01,
    )
    async with deliver:
        yield metrics


async def told(
    stores: Stores, clock: ManualClock, channel: Channel, count: int = 1, devices: Sequence[str] = ("",)
) -> None:
    """Messages with pushes to these devices."""
    now = clock.now_us()
    messages = [message(f"m{n:05}", at=now) for n in range(count)]
    await stores.inbox.put(messages, [Address(m.id, channel, d) for m in messages for d in devices], now)


async def settled(stores: Stores, *, dead: int = 0, clock: ManualClock | None = None) -> None:
    """Wait until nothing is under way; a clock makes the time pass meanwhile."""
    async with asyncio.timeout(60):
        while await stores.deliveries.waiting() != {"dead": dead}:
            if clock is not None:
                clock.advance(1)
            await asyncio.sleep(0.01)


async def registered(stores: Stores, device: Device) -> str:
    """Put a device there; its id."""
    await stores.audience.put_device(device)
    return device.id


async def devices(stores: Stores) -> list[str]:
    """The ids of the owner's devices."""
    return [device.id for device in (await stores.audience.devices([OWNER])).get(OWNER, [])]


def fcm(client: PushClient, clock: ManualClock, server: FcmServer) -> Fcm:
    """A sender that speaks to this server."""
    return Fcm(client, clock, service_account(server.account()), server.url)
