"""The notifier over SQLite goes on: after a death, beside what cannot be read, a wrong clock and another notifier; and
forgets what is needed no more."""

import asyncio

import pytest

from plaudit.adapters.sqlite import Database
from plaudit.domain.watch import Watch
from plaudit.ports.audit import Compared, Drift
from plaudit.ports.batches import Change
from plaudit.ports.directory import Profile
from plaudit.services import tell
from plaudit.services.audit import Auditor
from plaudit.telemetry import Metrics
from tests.support.clock import ManualClock
from tests.support.notifying import OWNER, inbox, notifier, own, settle
from tests.support.stores import Stores, stores_on
from tests.support.taps import LIKE, LOVE, set_to

DAY_S = 24 * 3600


class Killed(BaseException):
    """Nobody can catch that."""


async def test_a_process_that_dies_between_any_two_steps_repeats_and_tells_once(
    opened: Database, clock: ManualClock
) -> None:
    """Every write of the notifier fails once, at every place, and a new process goes on from the file."""
    failing_at = 0
    while True:
        stores = stores_on(opened, clock)
        target = f"t{failing_at}"
        await own(stores, target, owner=f"owner{failing_at}")
        await stores.tap(target, set_to("ann", LIKE), set_to("bob", LOVE))
        died = False
        write, left = opened.write, failing_at

        async def dying(work: object, write: object = write) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return await write(work)  # type: ignore[operator] # a method, kept as a value

        opened.write = dying  # type: ignore[method-assign, assignment] # the process that dies
        try:
            await settle(notifier(stores, clock))
            clock.advance(31)
            await settle(notifier(stores, clock))
        except Killed:
            died = True
        finally:
            opened.write = write  # type: ignore[method-assign] # the next process
        fresh = stores_on(opened, clock)
        await settle(notifier(fresh, clock))
        clock.advance(31)
        await settle(notifier(fresh, clock))
        [found] = await inbox(fresh, f"owner{failing_at}")
        assert (found.total, found.split) == (2, {LIKE: 1, LOVE: 1})
        clock.advance(3600)
        await settle(notifier(fresh, clock))
        assert len(await inbox(fresh, f"owner{failing_at}")) == 1
        if not died:
            break
        failing_at += 1
    assert failing_at >= 4


async def test_a_watch_that_cannot_be_read_does_not_hold_up_the_others(
    opened: Database, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    stores = stores_on(opened, clock)
    await own(stores, "bad", "good")
    notify = notifier(stores, clock)
    for target in ("bad", "good"):
        await stores.tap(target, set_to("ann", LIKE))
    await settle(notify)
    await opened.write(
        lambda c: c.execute(
            "UPDATE watch SET state = x'c1' WHERE target = (SELECT no FROM target WHERE id = 'bad')"
        ).fetchall()
    )
    clock.advance(31)
    await settle(notify)
    assert [found.target for found in await inbox(stores)] == ["good"]
    assert "the watch of bad begins anew" in caplog.text
    await stores.tap("bad", set_to("bob", LIKE))
    await settle(notify)
    clock.advance(31)
    await settle(notify)
    assert [found.target for found in await inbox(stores)] == ["bad", "good"]


async def test_a_tap_while_the_clock_is_wrong_does_not_silence_the_owner(
    stores: Stores, clock: ManualClock
) -> None:
    """Every tap of that target is later than the one before it, until the time has come."""
    await own(stores, "t", "alone")
    notify, right = notifier(stores, clock), clock.now_us()
    clock.advance(10 * DAY_S)
    for target in ("t", "alone"):
        await stores.tap(target, set_to("ann", LIKE))
    await settle(notify)
    clock.step_to(right)
    clock.advance(5)
    await stores.tap("t", set_to("bob", LIKE))
    await settle(notify)
    assert [found.total for found in await inbox(stores)] == [2], "at once: its time is over, or not known"
    assert await notify._tell.tidy()
    await settle(notify)
    assert [found.target for found in await inbox(stores)] == ["alone", "t"], "without another tap"
    assert not await notify._tell.tidy()
    for user, length_s in (("cid", 300), ("dan", 1800)):
        clock.advance(1)
        await stores.tap("t", set_to(user, LIKE))
        await settle(notify)
        clock.advance(length_s - 1)
        await settle(notify)
        before = len(await inbox(stores))
        clock.advance(2)
        await settle(notify)
        assert len(await inbox(stores)) == before + 1


async def test_two_notifiers_never_tell_twice(opened: Database, clock: ManualClock) -> None:
    """Leases of two processes do not know each other here; versions do."""
    first, second = stores_on(opened, clock), stores_on(opened, clock)
    names = [f"t{n}" for n in range(50)]
    await own(first, *names)
    for name in names:
        await first.tap(name, set_to("ann", LIKE))
    one, other = notifier(first, clock), notifier(second, clock)
    for _ in range(2):
        await asyncio.gather(settle(one), settle(other))
        clock.advance(31)
    found = await inbox(first)
    assert sorted(message.target for message in found) == sorted(names)
    assert len({message.id for message in found}) == 50


async def test_a_watch_of_a_target_that_does_not_exist_is_not_kept(stores: Stores) -> None:
    assert await stores.batches.save([Change("nowhere", 0, Watch(), None, 1)]) == ["nowhere"]
    assert await stores.batches.load(["nowhere"]) == {}


async def test_the_log_waits_for_the_notifier(stores: Stores, clock: ManualClock) -> None:
    class Fine:
        async def drift(self, targets: object, max_rows: int) -> Compared:
            return Compared(0, [], [])

        async def drift_of_large(self, target: str, within_s: float) -> Drift | None:
            return None

    await own(stores, "t")
    await stores.log.acknowledge("notify", 0)
    await stores.tap("t", set_to("ann", LIKE))
    auditor = Auditor(Fine(), stores.log, Metrics())
    await auditor.look()
    assert await stores.log.behind("notify", await stores.log.end()) == 2
    await settle(notifier(stores, clock))
    await stores.tap("t", set_to("bob", LIKE))
    await auditor.look()
    assert await stores.log.behind("notify", await stores.log.end()) == 1


async def test_it_forgets_a_bounded_number_at_once(
    stores: Stores, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tell, "TIDIED_AT_ONCE", 2)
    names = [f"t{n}" for n in range(5)]
    await own(stores, *names)
    await stores.batches.save([Change(name, 0, Watch(), None, clock.now_us()) for name in names])
    left = list[int]()
    async with asyncio.timeout(10):
        while await notifier(stores, clock)._tell.tidy():
            left.append(len(await stores.batches.load(names)))
    assert left == [3, 1, 0]


async def test_it_runs_by_itself_and_forgets(stores: Stores, clock: ManualClock) -> None:
    await own(stores, "t")
    await stores.directory.put_profile(OWNER, Profile(time_zone="Europe/Paris"))
    async with notifier(stores, clock):
        await stores.tap("t", set_to("ann", LIKE))
        async with asyncio.timeout(20):
            while not await stores.batches.load(["t"]):
                await asyncio.sleep(0.005)
            clock.advance(31)
            while not await inbox(stores):
                await asyncio.sleep(0.005)
            clock.advance(2 * DAY_S)
            while await stores.batches.load(["t"]):
                await asyncio.sleep(0.005)
