"""What no message told of is not remembered as told, and makes no window longer."""

import pytest

from plaudit.domain.quiet import Wishes
from tests.support.clock import ManualClock
from tests.support.notifying import OWNER, notifier, own, settle, wish
from tests.support.stores import Stores
from tests.support.taps import LIKE, LOVE, set_to


async def told(stores: Stores) -> list[tuple[tuple[str, int], ...]]:
    """Who was named in each message, the newest first."""
    return [message.sample for message in await stores.inbox.page(OWNER, None, 100)]


async def test_who_was_gone_when_the_message_was_made_is_news_when_they_come_again(
    stores: Stores, clock: ManualClock
) -> None:
    await own(stores, "t")
    notify = notifier(stores, clock)
    await stores.tap("t", set_to("ann", LIKE), set_to("bob", LIKE))
    await notify.follow()
    clock.advance(31)
    await notify.follow()
    await stores.tap("t", set_to("ann", 0))
    await notify.close()
    assert await told(stores) == [(("bob", LIKE),)]
    await settle(notify)
    clock.advance(5)
    await stores.tap("t", set_to("ann", LOVE), set_to("bob", LOVE))
    await settle(notify)
    clock.advance(301)
    await settle(notify)
    assert await told(stores) == [(("ann", LOVE),), (("bob", LIKE),)]


async def test_a_window_of_which_nothing_is_left_makes_the_next_one_no_longer(
    stores: Stores, clock: ManualClock
) -> None:
    await own(stores, "t")
    notify = notifier(stores, clock)
    await stores.tap("t", set_to("ann", LIKE))
    await notify.follow()
    clock.advance(31)
    await notify.follow()
    await stores.tap("t", set_to("ann", 0))
    await notify.close()
    await settle(notify)
    assert await told(stores) == []
    await stores.tap("t", set_to("ann", LIKE))
    await settle(notify)
    clock.advance(31)
    await settle(notify)
    assert await told(stores) == [(("ann", LIKE),)]


@pytest.mark.parametrize("silence", [Wishes(muted=("t",)), Wishes(enabled=False)], ids=["muted", "off"])
async def test_what_an_owner_did_not_want_to_hear_makes_no_later_window_longer(
    stores: Stores, clock: ManualClock, silence: Wishes
) -> None:
    await own(stores, "t")
    await wish(stores, silence)
    notify = notifier(stores, clock)
    for user in ("ann", "bob", "cid"):
        await stores.tap("t", set_to(user, LIKE))
        await settle(notify)
        clock.advance(31)
        await settle(notify)
    assert await told(stores) == []
    await wish(stores, Wishes())
    await stores.tap("t", set_to("ann", 0))
    await stores.tap("t", set_to("ann", LOVE), set_to("dan", LIKE))
    await settle(notify)
    clock.advance(31)
    await settle(notify)
    [found] = await told(stores)
    assert dict(found) == {"ann": LOVE, "dan": LIKE}, "ann is told of for the first time"
