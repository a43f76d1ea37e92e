"""A notifier over the ports of one profile, and the short ways to make what it works on."""

import asyncio
from collections.abc import Sequence

from plaudit.domain.catalogue import Registration
from plaudit.domain.quiet import Wishes
from plaudit.domain.windows import Pace
from plaudit.ports.clock import Clock
from plaudit.ports.directory import Profile
from plaudit.ports.notifications import Channel, Device, DeviceKind, Notification
from plaudit.services.notify import Notify
from plaudit.services.tell import Sources, Tell
from plaudit.telemetry import Metrics
from tests.support.stores import Stores

OWNER = "owner"


def notifier(
    stores: Stores,
    clock: Clock,
    *,
    channels: Sequence[Channel] = (),
    pace: Pace = Pace(),  # noqa: B008 - frozen
    metrics: Metrics | None = None,
    made: asyncio.Event | None = None,
) -> Notify:
    """A notifier that does nothing by itself."""
    metrics = metrics or Metrics()
    tell = Tell(
        stores.batches,
        Sources(stores.counters, stores.reactions, stores.directory, stores.audience),
        stores.inbox,
        clock,
        metrics,
        pace=pace,
        channels=channels,
        made=made,
    )
    return Notify(stores.log, tell, clock, metrics, every_s=0.01)


async def own(stores: Stores, *targets: str, owner: str = OWNER) -> None:
    """Register targets of this owner."""
    for target in targets:
        await stores.directory.register(
            target, Registration(type="post", owner=owner, title=f"Title of {target}")
        )


async def wish(stores: Stores, wishes: Wishes, *, owner: str = OWNER, time_zone: str | None = None) -> None:
    """What the owner wishes, and where they live."""
    await stores.audience.put_wishes(owner, wishes)
    await stores.directory.put_profile(owner, Profile(time_zone=time_zone))


async def settle(notify: Notify) -> None:
    """Let it take in and close everything there is by now."""
    while await notify.follow():
        pass
    while await notify.close():
        pass


def device(id_: str, owner: str = OWNER, kind: DeviceKind = "fcm", at: int = 1) -> Device:
    """A device whose token is its id."""
    return Device(id=id_, owner=owner, kind=kind, token=f"token-of-{id_}", registered_at=at)


def message(
    id_: str, owner: str = OWNER, at: int = 1, *sample: tuple[str, int], target: str = "t"
) -> Notification:
    """A message about a target."""
    people = sample or (("ann", 1),)
    return Notification(
        id=id_,
        owner=owner,
        at=at,
        target=target,
        type="post",
        title=None,
        total=len(people),
        split={1: len(people)},
        sample=people,
    )


async def inbox(stores: Stores, owner: str = OWNER) -> list[Notification]:
    """Everything this owner was told, the newest first."""
    return await stores.inbox.page(owner, None, 100)
