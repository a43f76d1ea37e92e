"""The notifier over SQLite: from taps in the log to messages in the inbox."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, time

import pytest

from plaudit.adapters.sqlite import Database
from plaudit.domain.errors import Unavailable
from plaudit.domain.quiet import Quiet, Wishes
from plaudit.domain.windows import Watch, collapse_id
from plaudit.ports.audit import Compared, Drift
from plaudit.ports.batches import Change
from plaudit.ports.directory import Profile
from plaudit.ports.notifications import Notification
from plaudit.services import tell
from plaudit.services.audit import Auditor
from plaudit.telemetry import Metrics
from tests.support.clock import ManualClock
from tests.support.installation import job
from tests.support.notifying import OWNER, device, notifier, own, settle, wish
from tests.support.stores import Stores, stores_on
from tests.support.taps import LIKE, LOVE, cell, set_to

DAY_S = 24 * 3600


class Killed(BaseException):
    """Nobody can catch that."""


async def inbox(stores: Stores, owner: str = OWNER) -> list[Notification]:
    return await stores.inbox.page(owner, None, 100)


async def test_a_window_becomes_one_message(stores: Stores, clock: ManualClock) -> None:
    await own(stores, "t")
    notify = notifier(stores, clock)
    opened = clock.now_us()
    await stores.tap("t", set_to("ann", LIKE), set_to("bob", LIKE))
    await settle(notify)
    clock.advance(10)
    await stores.tap("t", set_to("cid", LOVE), set_to(OWNER, LOVE))
    await stores.tap("t", set_to("ann", 0))
    clock.advance(19.9)
    await settle(notify)
    assert await inbox(stores) == []
    clock.advance(0.2)
    await settle(notify)
    [found] = await inbox(stores)
    assert (found.id, found.total, found.split) == (collapse_id("t", OWNER, opened), 2, {LIKE: 1, LOVE: 1})
    assert (found.sample, found.title) == ((("cid", LOVE), ("bob", LIKE)), "Title of t")
    clock.advance(DAY_S / 2)
    await settle(notify)
    assert len(await inbox(stores)) == 1


async def test_a_target_without_an_owner_is_counted_and_skipped(stores: Stores, clock: ManualClock) -> None:
    metrics = Metrics()
    notify = notifier(stores, clock, metrics=metrics)
    await stores.tap("t", set_to("ann", LIKE), set_to("bob", LIKE))
    await settle(notify)
    assert await stores.batches.load(["t"]) == {}
    assert metrics.notifications == {"unowned": 2}


async def test_who_is_registered_as_owner_late_is_told_of_what_comes_then(
    stores: Stores, clock: ManualClock
) -> None:
    notify = notifier(stores, clock)
    await stores.tap("t", set_to("ann", LIKE))
    await settle(notify)
    await own(stores, "t")
    clock.advance(1)
    await stores.tap("t", set_to("bob", LIKE))
    await settle(notify)
    clock.advance(60)
    await settle(notify)
    [found] = await inbox(stores)
    assert (found.total, found.sample) == (1, (("bob", LIKE),))


async def test_a_notifier_that_was_away_tells_of_nothing_that_was_taken_back(
    stores: Stores, clock: ManualClock
) -> None:
    """Windows end by the log, not by the clock."""
    await own(stores, "t")
    notify = notifier(stores, clock)
    await stores.tap("t", set_to("ann", LIKE))
    await notify.follow()
    await stores.tap("t", set_to("ann", 0))
    clock.advance(3600)
    assert not await notify.close()
    await settle(notify)
    assert await inbox(stores) == []


async def test_what_the_owner_wishes(stores: Stores, clock: ManualClock) -> None:
    await own(stores, "a", "b")
    await wish(stores, Wishes(muted=("a",)))
    notify = notifier(stores, clock)
    for target in "ab":
        await stores.tap(target, set_to("ann", LIKE))
    await settle(notify)
    clock.advance(31)
    await settle(notify)
    assert [found.target for found in await inbox(stores)] == ["b"]
    await wish(stores, Wishes(enabled=False))
    await stores.tap("b", set_to("bob", LIKE))
    await settle(notify)
    clock.advance(3600)
    await settle(notify)
    assert len(await inbox(stores)) == 1


async def test_quiet_hours_make_one_message_in_the_morning(stores: Stores, clock: ManualClock) -> None:
    night = datetime(2026, 7, 1, 21, 30, tzinfo=UTC)  # half past five in New York
    clock.step_to(round(night.timestamp() * 1_000_000))
    await own(stores, "t")
    await wish(stores, Wishes(quiet=Quiet(time(17), time(18))), time_zone="America/New_York")
    notify = notifier(stores, clock)
    for user in ("ann", "bob", "cid"):
        await stores.tap("t", set_to(user, LIKE))
        await settle(notify)
        clock.advance(500)
        await settle(notify)
    assert await inbox(stores) == []
    clock.step_to(round(night.timestamp() * 1_000_000) + 1800 * 1_000_000)
    await settle(notify)
    assert [found.total for found in await inbox(stores)] == [3]


async def test_names_are_those_of_the_ledger_now(stores: Stores, clock: ManualClock) -> None:
    """Taken back after the log was read: the message says who is there."""
    await own(stores, "t")
    notify = notifier(stores, clock)
    await stores.tap("t", set_to("ann", LIKE), set_to("bob", LIKE))
    await notify.follow()
    clock.advance(31)
    await notify.follow()
    await stores.tap("t", set_to("ann", 0))
    await notify.close()
    [found] = await inbox(stores)
    assert (found.total, found.sample) == (1, (("bob", LIKE),))


async def test_the_owner_at_the_end_is_told_and_not_of_themselves(stores: Stores, clock: ManualClock) -> None:
    await own(stores, "t")
    notify = notifier(stores, clock)
    await stores.tap("t", set_to("ann", LIKE), set_to("bob", LIKE))
    await settle(notify)
    await own(stores, "t", owner="ann")
    clock.advance(31)
    await settle(notify)
    assert await inbox(stores) == []
    assert [found.sample for found in await inbox(stores, "ann")] == [(("bob", LIKE),)]


@pytest.mark.parametrize("what", ["delete", "erase owner", "erase reactor"])
async def test_what_is_removed_is_not_told(stores: Stores, clock: ManualClock, what: str) -> None:
    await own(stores, "t")
    notify = notifier(stores, clock)
    await stores.tap("t", set_to("ann", LIKE))
    await settle(notify)
    if what == "delete":
        await stores.removals.begin_purge("t", job("delete_target", "t"))
    else:
        user = OWNER if what == "erase owner" else "ann"
        await stores.removals.mark_erased(user, job("erase_user", user))
        while await stores.removals.erase_some(user, 10):
            pass
    await settle(notify)
    clock.advance(31)
    await settle(notify)
    assert await inbox(stores) == []


async def test_who_reacts_again_to_a_target_that_was_deleted_is_news(
    stores: Stores, clock: ManualClock
) -> None:
    notify = notifier(stores, clock)
    for _ in range(2):
        await own(stores, "t")
        await stores.tap("t", set_to("ann", LIKE))
        await settle(notify)
        clock.advance(31)
        await settle(notify)
        assert [found.sample for found in await inbox(stores)] == [(("ann", LIKE),)]
        await stores.removals.begin_purge("t", job("delete_target", "t"))
        assert await stores.removals.take_back("t", last=True) == 1
        while await stores.removals.purge_some("t", 10):
            pass
        await settle(notify)


async def test_messages_that_took_too_long_to_make_are_made_again(
    stores: Stores, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target may be deleted by then, and what was told of it taken back."""
    await own(stores, "t")
    notify = notifier(stores, clock)
    await stores.tap("t", set_to("ann", LIKE))
    clock.advance(31)
    while await notify.follow():
        pass
    reactions = stores.reactions.reactions

    async def slow(pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        clock.advance(61)
        return dict(await reactions(pairs))

    with monkeypatch.context() as patch:
        patch.setattr(stores.reactions, "reactions", slow)
        with pytest.raises(Unavailable):
            await notify.close()
    assert await inbox(stores) == []
    await settle(notify)
    assert [found.sample for found in await inbox(stores)] == [(("ann", LIKE),)]


async def test_pushes_go_to_the_channels_that_have_senders(stores: Stores, clock: ManualClock) -> None:
    await own(stores, "t")
    await stores.audience.put_device(device("phone", kind="fcm"))
    await stores.audience.put_device(device("tablet", kind="apns"))
    made = asyncio.Event()
    notify = notifier(stores, clock, channels=("fcm", "webhook"), made=made)
    await stores.tap("t", set_to("ann", LIKE))
    await settle(notify)
    assert not made.is_set()
    clock.advance(31)
    await settle(notify)
    assert made.is_set()
    assert await stores.deliveries.waiting() == {"fcm": 1, "webhook": 1, "dead": 0}


async def test_a_viral_hour_is_a_handful_of_exact_messages(stores: Stores, clock: ManualClock) -> None:
    await own(stores, "t")
    notify = notifier(stores, clock)
    for n in range(0, 3592, 8):
        await stores.ledger.commit([cell("t", *(set_to(f"u{m}", LIKE) for m in range(n, n + 8)))])
        clock.advance(8)
        await settle(notify)
    clock.advance(3600)
    await settle(notify)
    found = await inbox(stores)
    assert sum(message.total for message in found) == 3592
    assert len(found) <= 6


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
