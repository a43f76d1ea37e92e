"""The notifier shares its event loop with taps: no crowd and no end of many windows may hold it for long."""

import asyncio
import threading
from collections.abc import Sequence

import msgspec
import pytest

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Transition
from plaudit.domain.events import Committed, committed
from plaudit.domain.watch import Watch, unpack
from plaudit.domain.windows import Draft, close, follow
from plaudit.ports.batches import Change
from plaudit.services import tell as service
from tests.support.clock import ManualClock
from tests.support.notifying import OWNER, notifier, own
from tests.support.stores import Stores
from tests.support.taps import LIKE, set_to


class Turns:
    """Counts the turns of the event loop, and notes in which one something is done."""

    def __init__(self) -> None:
        self.now = 0
        self.noted: list[int] = []

    async def __aenter__(self) -> "Turns":
        self._task = asyncio.create_task(self._count())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _count(self) -> None:
        while True:
            self.now += 1
            await asyncio.sleep(0)


async def test_a_crowd_at_one_target_leaves_the_loop_to_others(
    stores: Stores, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn of no length is over after every step: so each event has its own turn, and none takes two."""
    await own(stores, "t")
    now = clock.now_us()
    users = [[Transition(f"u{(n + m) % 1500}", 0, LIKE, now, now) for m in range(16)] for n in range(2000)]
    header = Header(type="post", lanes=1, seq=0, counts=(16,), rows=16, born=now, recent=())
    target = Registration(type="post", owner=OWNER)
    found = [
        (n, committed("t", msgspec.structs.replace(header, seq=n + 10), "tap", those, registration=target))
        for n, those in enumerate(users)
    ]

    async def read(*_: object) -> list[tuple[int, bytes]]:
        return found

    notify = notifier(stores, clock)
    async with Turns() as turns:

        def noted(watch: Watch, events: Sequence[Committed], *more: object) -> Watch:
            turns.noted.append(turns.now)
            assert len(events) == 1
            return follow(watch, events, *more)  # type: ignore[arg-type] # handed on

        monkeypatch.setattr(stores.log, "read", read)
        monkeypatch.setattr(service, "follow", noted)
        monkeypatch.setattr(service, "TURN_S", 0.0)
        await notify.follow()
    assert len(set(turns.noted)) == len(turns.noted) == 2000
    watch = (await stores.batches.load(["t"]))["t"].watch
    assert watch.window is not None
    assert (len(watch.window.seen), watch.window.more) == (1000, True)


async def test_many_windows_that_end_leave_the_loop_to_others(
    stores: Stores, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"t{n}" for n in range(100)]
    await own(stores, *names)
    notify = notifier(stores, clock)
    for name in names:
        await stores.tap(name, set_to("ann", LIKE))
    await notify.follow()
    clock.advance(31)
    await notify.follow()
    async with Turns() as turns:

        def noted(watch: Watch, owner: str, now: int) -> tuple[Draft | None, Watch]:
            turns.noted.append(turns.now)
            return close(watch, owner, now)

        monkeypatch.setattr(service, "close", noted)
        monkeypatch.setattr(service, "TURN_S", 0.0)
        await notify.close()
    assert len(set(turns.noted)) == len(turns.noted) == 100


@pytest.mark.parametrize("told", [1000, 10])
async def test_large_watches_are_saved_a_few_at_a_time(
    stores: Stores, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, told: int
) -> None:
    names = [f"t{n}" for n in range(60)]
    await own(stores, *names)
    watch = Watch(told={f"u{n}": clock.now_us() // 1_000_000 for n in range(told)})
    await stores.batches.save([Change(name, 0, watch, None, clock.now_us()) for name in names])
    for name in names:
        await stores.tap(name, set_to("ann", LIKE))
    save, saved = stores.batches.save, list[int]()

    async def noted(changes: Sequence[Change]) -> list[str]:
        saved.append(len(changes))
        return await save(changes)

    monkeypatch.setattr(stores.batches, "save", noted)
    await notifier(stores, clock).follow()
    assert saved == ([5] * 12 if told == 1000 else [50, 10])


async def test_watches_are_unpacked_beside_the_loop(
    stores: Stores, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await own(stores, "t")
    await stores.tap("t", set_to("ann", LIKE))
    await notifier(stores, clock).follow()
    where: list[int] = []

    def noted(body: bytes) -> Watch:
        where.append(threading.get_ident())
        return unpack(body)

    monkeypatch.setattr("plaudit.adapters.sqlite.batches.unpack", noted)
    clock.advance(31)
    assert len(await stores.batches.claim(clock.now_us(), 30, 10)) == 1
    assert where
    assert threading.get_ident() not in where
