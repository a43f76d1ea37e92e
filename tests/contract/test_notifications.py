"""What the ports in `plaudit.ports.notifications` promise."""

import asyncio
from collections.abc import AsyncIterator
from datetime import time
from itertools import count
from pathlib import Path

import pytest

from plaudit.domain.errors import Conflict
from plaudit.domain.quiet import Quiet, Wishes
from plaudit.ports.notifications import Address, Settled
from tests.support.cassandra_notices import either_stores
from tests.support.clock import ManualClock
from tests.support.installation import job
from tests.support.notifying import OWNER, device, message
from tests.support.stores import Stores

PROFILES = ("sqlite", "cassandra")


@pytest.fixture
async def stores(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock, anyio_backend: str
) -> AsyncIterator[Stores]:
    cassandra = None if request.param == "sqlite" else request.getfixturevalue("cassandra")
    async with either_stores(tmp_path, cassandra, clock) as opened:
        yield opened


async def ids(
    stores: Stores, owner: str = OWNER, before: tuple[int, str] | None = None, limit: int = 100
) -> list[str]:
    return [found.id for found in await stores.inbox.page(owner, before, limit)]


async def claimed(stores: Stores, now: int = 100, limit: int = 100, channel: str = "fcm") -> list[str]:
    found = await stores.deliveries.claim(channel, now, 30, limit)  # type: ignore[arg-type] # a channel by name
    return [parcel.notification.id for parcel in found]


async def erase(stores: Stores, user: str) -> None:
    await stores.removals.mark_erased(user, job("erase_user", user))


async def test_an_inbox_is_newest_first_in_pages(stores: Stores) -> None:
    await stores.inbox.put([message("a", at=1), message("c", at=2), message("b", at=2)], [], 1)
    await stores.inbox.put([message("z", "other", 9)], [], 1)
    assert await ids(stores) == ["c", "b", "a"]
    assert await ids(stores, limit=2) == ["c", "b"]
    assert await ids(stores, before=(2, "b")) == ["a"]
    assert await ids(stores, "nobody") == []
    [newest] = await stores.inbox.page("other", None, 1)
    assert newest == message("z", "other", 9)


async def test_a_message_is_there_once_with_its_last_content_and_its_read_mark(stores: Stores) -> None:
    await stores.inbox.put([message("a", OWNER, 5)], [Address("a", "webhook")], 5)
    await stores.inbox.mark_read(OWNER, ["a"], None)
    await stores.inbox.put([message("a", OWNER, 9, ("bob", 2), ("cid", 2))], [Address("a", "webhook")], 9)
    [found] = await stores.inbox.page(OWNER, None, 10)
    assert (found.at, found.total, found.sample, found.read) == (5, 2, (("bob", 2), ("cid", 2)), True)
    assert await claimed(stores, channel="webhook") == ["a"]


async def test_unread_is_counted_up_to_a_limit_and_marks_are_counted_once(stores: Stores) -> None:
    await stores.inbox.put([message(f"m{n}", at=n) for n in range(10)], [], 1)
    assert (await stores.inbox.unread(OWNER, 100), await stores.inbox.unread(OWNER, 4)) == (10, 4)
    assert await stores.inbox.mark_read(OWNER, ["m9", "m9", "other"], None) == 1
    assert await stores.inbox.mark_read(OWNER, [], "m4") == 5
    assert await stores.inbox.mark_read(OWNER, [], "m4") == 0
    assert await stores.inbox.mark_read("other", ["m8"], "m9") == 0
    assert await stores.inbox.unread(OWNER, 100) == 4


async def test_only_the_newest_500_stay(stores: Stores) -> None:
    await stores.inbox.put([message(f"m{n:04}", at=n) for n in range(499)], [], 1)
    await stores.inbox.put(
        [message(f"n{n:04}", at=1000 + n) for n in range(3)], [Address("n0000", "webhook")], 1
    )
    found = await ids(stores, limit=1000)
    assert (len(found), found[0], found[-1]) == (500, "n0002", "m0002")


async def test_erased_owners_have_nothing_and_erased_users_are_in_no_sample(stores: Stores) -> None:
    await stores.audience.put_device(device("d"))
    await stores.audience.put_wishes(OWNER, Wishes(enabled=False))
    await stores.inbox.put(
        [message("a"), message("b", "other", 1, ("ann", 1), (OWNER, 2))], [Address("a", "fcm", "d")], 1
    )
    await erase(stores, OWNER)
    assert await ids(stores) == []
    assert await stores.audience.devices([OWNER]) == {}
    assert await stores.audience.wishes([OWNER]) == {}
    assert await claimed(stores) == []
    assert [found.sample for found in await stores.inbox.page("other", None, 9)] == [(("ann", 1),)]
    await stores.inbox.put([message("c")], [Address("c", "webhook")], 1)
    assert await ids(stores) == []
    assert await claimed(stores, channel="webhook") == []
    for write in (stores.audience.put_device(device("d")), stores.audience.put_wishes(OWNER, Wishes())):
        with pytest.raises(Conflict):
            await write


async def test_wishes_are_as_they_were_put(stores: Stores) -> None:
    wishes = Wishes(enabled=False, quiet=Quiet(time(22), time(7, 30)), muted=("a", "b"))
    await stores.audience.put_wishes("x", wishes)
    await stores.audience.put_wishes("y", Wishes())
    await stores.audience.put_wishes("y", Wishes(muted=("t",)))
    assert await stores.audience.wishes(["x", "y", "z"]) == {"x": wishes, "y": Wishes(muted=("t",))}
    assert await stores.audience.wishes([]) == {}


async def test_a_device_belongs_to_who_registered_it_last(stores: Stores) -> None:
    await stores.audience.put_device(device("d", "ann"))
    await stores.inbox.put([message("m", "ann")], [Address("m", "fcm", "d")], 1)
    await stores.audience.put_device(device("d", "bob", at=5))
    assert await stores.audience.devices(["ann", "bob"]) == {"bob": [device("d", "bob", at=5)]}
    assert await claimed(stores) == [], "ann's pushes do not reach bob"
    assert not await stores.audience.remove_device("ann", "d")
    assert await stores.audience.remove_device("bob", "d")
    assert not await stores.audience.remove_device("bob", "d")


async def test_the_newest_20_devices_stay(stores: Stores) -> None:
    for n in range(25):
        await stores.audience.put_device(device(f"d{n:02}", at=n))
    found = (await stores.audience.devices([OWNER]))[OWNER]
    assert [d.id for d in found] == [f"d{n:02}" for n in range(5, 25)]


async def test_pushes_come_when_due_to_one_holder_and_go_when_settled(
    stores: Stores, clock: ManualClock
) -> None:
    await stores.inbox.put(
        [message("a"), message("b")], [Address("a", "webhook"), Address("b", "webhook")], 50
    )
    assert await claimed(stores, 49, channel="webhook") == []
    assert await claimed(stores, 50, channel="console") == []
    [first] = await stores.deliveries.claim("webhook", 50, 30, 1)
    [second] = await stores.deliveries.claim("webhook", 50, 30, 9)
    name = second.notification.id
    assert {first.notification.id, name} == {"a", "b"}
    await stores.deliveries.settle(
        [Settled(parcel=first, reason="delivered"), Settled(parcel=second, reason="slow_down", due=80)]
    )
    assert await claimed(stores, 79, channel="webhook") == []
    [again] = await stores.deliveries.claim("webhook", 80, 30, 9)
    assert (again.notification.id, again.tries, again.reason) == (name, 1, "slow_down")
    clock.advance(31)
    assert await claimed(stores, 80, channel="webhook") == [name]
    assert await stores.deliveries.waiting() == {"webhook": 1, "dead": 0}


async def test_what_is_settled_while_others_are_claimed_is_not_claimed_again(
    stores: Stores, clock: ManualClock
) -> None:
    names = [f"m{n}" for n in range(60)]
    await stores.inbox.put(
        [message(name) for name in names], [Address(name, "webhook") for name in names], 50
    )
    seen, parcels = list[str](), await stores.deliveries.claim("webhook", 50, 30, 3)
    while parcels:
        seen += [parcel.notification.id for parcel in parcels]
        clock.advance(1.1)  # for who looks only now and then
        done = [Settled(parcel=parcel, reason="delivered") for parcel in parcels]
        parcels, _ = await asyncio.gather(
            stores.deliveries.claim("webhook", 50, 30, 3), stores.deliveries.settle(done)
        )
    assert sorted(seen) == sorted(names)


async def test_a_push_that_was_not_tried_goes_back_as_it_was(stores: Stores) -> None:
    await stores.inbox.put([message("a")], [Address("a", "webhook")], 50)
    [parcel] = await stores.deliveries.claim("webhook", 50, 30, 9)
    await stores.deliveries.settle([Settled(parcel=parcel, reason="", due=50)])
    [again] = await stores.deliveries.claim("webhook", 50, 30, 9)
    assert again == parcel


async def test_the_oldest_come_first(stores: Stores) -> None:
    for n in (3, 1, 2):
        await stores.inbox.put([message(f"m{n}")], [Address(f"m{n}", "webhook")], n)
    assert [await claimed(stores, 9, 2, "webhook") for _ in range(3)] == [["m1", "m2"], ["m3"], []]


async def test_pushes_of_many_minutes_are_found(stores: Stores) -> None:
    minute = 60_000_000
    names = [f"m{n}" for n in range(30)]
    for n, name in enumerate(names):
        await stores.inbox.put([message(name)], [Address(name, "webhook")], n * 7 * minute)
    assert await claimed(stores, 14 * 7 * minute, channel="webhook") == names[:15]
    parcels = await stores.deliveries.claim("webhook", 30 * 7 * minute, 30, 100)
    assert [parcel.notification.id for parcel in parcels] == names[15:]
    await stores.deliveries.settle([Settled(parcel=parcel, reason="delivered") for parcel in parcels])
    assert await stores.deliveries.waiting() == {"webhook": 15, "dead": 0}


async def test_dead_letters_are_kept_and_sent_again_when_asked_for(stores: Stores) -> None:
    await stores.inbox.put(
        [message(f"m{n}") for n in range(4)], [Address(f"m{n}", "webhook") for n in range(4)], 1
    )
    parcels = await stores.deliveries.claim("webhook", 1, 30, 9)
    await stores.deliveries.settle(
        [Settled(parcel=parcel, reason="our_fault", dead=True) for parcel in parcels]
    )
    dead = await stores.deliveries.dead(0, 3)
    assert [letter.reason for letter in dead] == ["our_fault"] * 3
    assert len(await stores.deliveries.dead(dead[-1].no, 9)) == 1
    assert await claimed(stores, channel="webhook") == []
    assert await stores.deliveries.waiting() == {"dead": 4}
    assert await stores.deliveries.resend([dead[0].no, 999], 7) == 1
    [again] = await stores.deliveries.claim("webhook", 7, 30, 9)
    assert (again.no, again.tries, again.created_at) == (dead[0].no, 0, 7)
    assert await stores.deliveries.resend(None, 8) == 3


async def test_pushes_of_what_is_taken_back_are_never_made(stores: Stores, clock: ManualClock) -> None:
    names = ["later", "dead", "other"]
    await stores.inbox.put(
        [message(name, target="u" if name == "other" else "t") for name in names],
        [Address(name, "webhook") for name in names],
        50,
    )
    for parcel in await stores.deliveries.claim("webhook", 50, 30, 9):
        dead = parcel.notification.id == "dead"
        due = None if dead else 80
        await stores.deliveries.settle([Settled(parcel=parcel, reason="unreachable", due=due, dead=dead)])
    assert await stores.removals.take_back("t", last=True) == 2
    assert await claimed(stores, 80, channel="webhook") == ["other"]
    assert await stores.deliveries.dead(0, 9) == []
    assert await stores.deliveries.resend(None, 90) == 0
    clock.advance(300)  # where a push without its message may be older than that
    assert await claimed(stores, clock.now_us(), channel="webhook") == ["other"]
    assert await stores.deliveries.waiting() == {"webhook": 1, "dead": 0}


async def test_a_gone_device_goes_with_its_pushes_unless_it_came_back_later(stores: Stores) -> None:
    for n, registered_at in enumerate((10, 20)):
        await stores.audience.put_device(device(f"d{n}", at=registered_at))
    await stores.inbox.put([message("m")], [Address("m", "fcm", "d0"), Address("m", "fcm", "d1")], 1)
    parcels = await stores.deliveries.claim("fcm", 1, 30, 9)
    await stores.deliveries.settle(
        [Settled(parcel=parcel, reason="gone", device="gone", gone_at=15) for parcel in parcels]
    )
    assert [d.id for d in (await stores.audience.devices([OWNER]))[OWNER]] == ["d1"]


async def test_suspicion_is_counted_and_forgotten(stores: Stores) -> None:
    await stores.audience.put_device(device("d"))
    number = count()

    async def settle(what: str) -> int:
        name = f"m{next(number)}"
        await stores.inbox.put([message(name)], [Address(name, "fcm", "d")], 1)
        [parcel] = await stores.deliveries.claim("fcm", 1, 30, 9)
        await stores.deliveries.settle([Settled(parcel=parcel, reason=what, device=what)])  # type: ignore[arg-type] # by name
        [found] = (await stores.audience.devices([OWNER]))[OWNER]
        return found.suspect

    assert [await settle(what) for what in ("suspect", "suspect", "fine", "suspect", "keep")] == [
        1,
        2,
        0,
        1,
        1,
    ]
    await stores.audience.put_device(device("d"))
    assert (await stores.audience.devices([OWNER]))[OWNER][0].suspect == 0


async def test_pushes_to_a_device_that_is_gone_are_done_with(stores: Stores, clock: ManualClock) -> None:
    await stores.audience.put_device(device("d"))
    await stores.inbox.put([message("m")], [Address("m", "fcm", "d"), Address("m", "fcm", "never")], 1)
    assert await claimed(stores) == ["m"]
    await stores.audience.remove_device(OWNER, "d")
    clock.advance(31)
    assert await claimed(stores) == []
    assert await stores.deliveries.waiting() == {"dead": 0}


async def test_an_inbox_of_hundreds_is_read_and_counted_in_pages(stores: Stores) -> None:
    await stores.inbox.put([message(f"m{n:03}", at=n * 1_000_000) for n in range(250)], [], 1)
    found, before = list[str](), None
    while page := await stores.inbox.page(OWNER, before, 40):
        found += [m.id for m in page]
        before = (page[-1].at, page[-1].id)
    assert found == [f"m{n:03}" for n in reversed(range(250))]
    assert await stores.inbox.unread(OWNER, 1000) == 250
    assert await stores.inbox.mark_read(OWNER, [], "m239") == 240
    assert await stores.inbox.unread(OWNER, 1000) == 10
    await stores.inbox.put([message("n", at=250_000_000)], [], 1)
    assert await stores.inbox.unread(OWNER, 1000) == 11
