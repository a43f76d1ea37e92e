"""Many pushes and few that are answered: nobody's dead devices hold up another's."""

import asyncio

import pytest

from plaudit.ports.notifications import Address, Channel, Device
from plaudit.ports.push import Push, Verdict
from plaudit.services.breaker import TRIPS_AT
from tests.support.clock import ManualClock
from tests.support.delivering import delivering, registered, settled
from tests.support.notifying import message
from tests.support.stores import Stores, stores_on
from tests.support.wait import until


class Crowd:
    """Devices by name: a push to one whose token begins with dead hangs until `back`. The host is the provider."""

    channel: Channel = "webpush"
    at_once = 100

    def __init__(self) -> None:
        self.back = asyncio.Event()
        self.hanging = 0
        self.most = 0
        self.down = False
        self.seen: list[str] = []

    def provider(self, push: Push) -> str:
        assert push.device is not None
        return push.device.token.partition("/")[0]

    async def send(self, push: Push) -> Verdict:
        assert push.device is not None
        if self.down:
            return Verdict(reason="unreachable")
        if push.device.token.startswith("dead") and not self.back.is_set():
            self.hanging += 1
            self.most = max(self.most, self.hanging)
            await self.back.wait()
            self.hanging -= 1
        self.seen.append(push.device.token)
        return Verdict(reason="delivered")


async def crowded(stores: Stores, clock: ManualClock, *tokens: tuple[str, str]) -> None:
    """A message for each (owner, token), due in this order."""
    for n, (owner, token) in enumerate(tokens):
        await registered(stores, Device(id=token, owner=owner, kind="webpush", token=token))
        at = clock.now_us() - 1000 + n
        id_ = f"{n} {token}"
        await stores.inbox.put([message(id_, owner, at)], [Address(id_, "webpush", token)], at)


@pytest.mark.parametrize("whose", ["one owner on many hosts", "many owners on one host"])
async def test_many_dead_devices_do_not_hold_up_the_others(
    stores: Stores, clock: ManualClock, whose: str
) -> None:
    sender, by_owner = Crowd(), whose == "one owner on many hosts"
    dead = [("mallory", f"dead{n % 20}/") if by_owner else (f"u{n}", f"dead/{n}") for n in range(150)]
    await crowded(stores, clock, *dead, ("ann", "good/"))
    async with delivering(stores, clock, sender):
        await until(lambda: sender.seen == ["good/"], "the good push")
        assert (sender.hanging, sender.most) == (12, 12)
        clock.advance(1.1)
        other = stores_on(stores.deliveries._database, clock)  # type: ignore[attr-defined] # knows no leases
        waiting = await other.deliveries.claim("webpush", clock.now_us(), 60, 200)
        assert {(parcel.tries, parcel.reason) for parcel in waiting} == {(0, "")}
        sender.back.set()
        await settled(stores, clock=clock)
    assert sorted(sender.seen) == sorted([*(token for _, token in dead), "good/"])


async def test_a_provider_that_answers_has_half_of_the_places(stores: Stores, clock: ManualClock) -> None:
    sender = Crowd()
    sender.back.set()
    await crowded(stores, clock, ("ann", "dead/first"))
    async with delivering(stores, clock, sender):
        await settled(stores)
        sender.back.clear()
        await crowded(stores, clock, *((f"u{n}", f"dead/{n}") for n in range(150)))
        await until(lambda: sender.hanging == 50, "half of the places")
        await crowded(stores, clock, ("ann", "good/"))
        await until(lambda: "good/" in sender.seen, "the good push")
        assert sender.most == 50
        sender.back.set()
        await settled(stores, clock=clock)


async def test_a_provider_that_is_down_gets_one_push_at_a_time(stores: Stores, clock: ManualClock) -> None:
    sender = Crowd()
    sender.down = True
    await crowded(stores, clock, *((f"u{n}", f"dead/{n}") for n in range(50)))
    async with delivering(stores, clock, sender) as metrics:
        await until(lambda: metrics.pushes == {"unreachable": TRIPS_AT}, "the first tries")
        sender.down = False
        while not sender.hanging:
            clock.advance(1)
            await asyncio.sleep(0.01)
        clock.advance(60)
        await crowded(stores, clock, ("ann", "good/"))
        await until(lambda: "good/" in sender.seen, "the good push")
        assert sender.most == 1
        sender.back.set()
        await settled(stores, clock=clock)
