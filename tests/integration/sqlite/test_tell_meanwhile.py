"""Two notifiers, as in the cluster, of which one takes taps while the other one tells: everybody is told of once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from plaudit.domain.events import Committed, decode
from plaudit.domain.watch import Watch
from plaudit.domain.windows import SECOND, Pace
from plaudit.ports.notifications import Address, Inbox, Notification
from plaudit.services.tell import Sources, Tell
from plaudit.telemetry import Metrics
from tests.support.clock import ManualClock
from tests.support.notifying import OWNER, own
from tests.support.stores import Stores
from tests.support.taps import LIKE, set_to

WINDOWS_S = (30, 300, 1800)


class Kept:
    """What the last messages left, see `plaudit.ports.batches.Told`."""

    def __init__(self) -> None:
        self._watches: dict[str, Watch] = {}

    async def told(self, owners: Mapping[str, str]) -> dict[str, Watch]:
        return {name: self._watches[name] for name in owners if name in self._watches}

    def remember(self, watches: Mapping[str, Watch]) -> None:
        self._watches |= watches


class Met:
    """The inbox of somebody to whom something happens whenever they are about to put messages."""

    def __init__(self, inbox: Inbox, kept: Kept, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._inbox = inbox
        self._kept = kept
        self._meanwhile = meanwhile
        self.puts: list[str] = []

    async def put(
        self,
        messages: Sequence[Notification],
        addresses: Sequence[Address],
        now: int,
        after: Mapping[str, Watch],
    ) -> None:
        self.puts += [message.id for message in messages]
        if messages:
            await self._meanwhile()
        await self._inbox.put(messages, addresses, now)
        self._kept.remember({message.target: after[message.target] for message in messages})


def telling(stores: Stores, clock: ManualClock, kept: Kept, inbox: object) -> Tell:
    sources = Sources(stores.counters, stores.reactions, stores.directory, stores.audience, kept)
    pace = Pace(windows_s=WINDOWS_S)
    return Tell(stores.batches, sources, inbox, clock, Metrics(), pace=pace)  # type: ignore[arg-type] # part of it


async def events(stores: Stores) -> list[Committed]:
    found = await stores.log.read("test", 1000)
    await stores.log.acknowledge("test", found[-1][0])
    return [decode(body) for _, body in found]


async def test_a_tap_while_a_window_is_told_makes_one_more_message_after_a_whole_window(
    stores: Stores, clock: ManualClock
) -> None:
    await own(stores, "t")
    kept, came = Kept(), list[str]()
    other = telling(stores, clock, kept, stores.inbox)

    async def tap() -> None:
        came.append(f"u{len(came)}")
        await stores.tap("t", set_to(came[-1], LIKE))
        assert not await other.take(await events(stores))

    async def a_tap_and_another_look() -> None:
        await tap()
        assert not await other.close(clock.now_us()), "the window is being told"

    inbox = Met(stores.inbox, kept, a_tap_and_another_look)
    one = telling(stores, clock, kept, inbox)
    await tap()
    opened, told_at = clock.now_us(), list[int]()
    while (passed_s := (clock.now_us() - opened) // 1_000_000) < 420:
        clock.advance(10)
        before = len(inbox.puts)
        for closer in (one, one, one):
            await closer.close(clock.now_us())
        told_at += [passed_s + 10] * (len(inbox.puts) - before)
    assert told_at == [30, 330]
    assert len(set(inbox.puts)) == 2
    found = await stores.inbox.page(OWNER, None, 100)
    assert [message.sample for message in found] == [(("u1", LIKE),), (("u0", LIKE),)]
    window = (await stores.batches.load(["t"]))["t"].watch.window
    assert window is not None
    assert "u2" in window.seen, "the next one"


async def test_who_is_named_in_place_of_others_who_were_told_is_looked_up_too(
    stores: Stores, clock: ManualClock
) -> None:
    """The newest are looked up with their target, before it is known whom its owner was told of."""
    await own(stores, "t")
    kept = Kept()
    tell = telling(stores, clock, kept, stores.inbox)
    users = [f"u{n:02}" for n in range(30)]
    for user in users:
        clock.advance(0.1)
        await stores.tap("t", set_to(user, LIKE))
    await tell.take(await events(stores))
    kept.remember(
        {"t": Watch(message_at=clock.now_us(), told=dict.fromkeys(users[5:], clock.now_us() // SECOND))}
    )
    clock.advance(400)
    assert await tell.close(clock.now_us())
    clock.advance(400)
    await tell.close(clock.now_us())
    [found] = await stores.inbox.page(OWNER, None, 100)
    assert (found.total, [user for user, _ in found.sample]) == (5, users[4::-1])
