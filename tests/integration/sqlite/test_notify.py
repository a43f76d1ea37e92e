"""The notifier over SQLite: from taps in the log to messages in the inbox."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, time

import pytest

from plaudit.domain.errors import Unavailable
from plaudit.domain.quiet import Quiet, Wishes
from plaudit.domain.windows import collapse_id
from plaudit.telemetry import Metrics
from tests.support.clock import ManualClock
from tests.support.installation import job
from tests.support.notifying import OWNER, device, inbox, notifier, own, settle, wish
from tests.support.stores import Stores
from tests.support.taps import LIKE, LOVE, cell, set_to

DAY_S = 24 * 3600


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
