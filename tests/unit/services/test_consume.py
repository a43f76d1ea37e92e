"""Consuming a log in memory on a clock of the test's own: long outages, and what they must not cost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random

from plaudit.domain.cell import Header
from plaudit.domain.errors import Unavailable
from plaudit.domain.events import Committed, committed
from plaudit.ports.consumer import Claim, Mark, Record
from plaudit.services.consume import Consume, Limit
from plaudit.services.epoch import Epoch
from plaudit.telemetry import Metrics
from tests.simulation import loop
from tests.simulation.world import START_US, ProcessClock

BEHIND_S = 60.0


class Log:
    """See `plaudit.ports.consumer.Consumer` and `Quarantine`: one partition, and who reads it."""

    def __init__(self) -> None:
        self.assignment: Mapping[int, Claim] | None = {0: Claim(1, 0)}
        self.marks: dict[int, Mark] = {}
        self.aside: list[int] = []
        self.away = 0  # so many of the next calls of `seek` and `put` fail
        self._bodies: list[tuple[int, bytes]] = []
        self._position = 0

    def fill(self, *bodies: bytes) -> None:
        """Append these now."""
        at_us = START_US + round(asyncio.get_running_loop().time() * 1_000_000)
        self._bodies += [(at_us, body) for body in bodies]

    def give(self, claim: Claim) -> None:
        """The partition went to somebody else, who handled what was there, and came back."""
        self.assignment, self._position = {0: claim}, claim.start or 0

    async def poll(self, limit: int, wait_s: float) -> Sequence[Record]:
        places = range(self._position, min(len(self._bodies), self._position + limit))
        if not places:
            await asyncio.sleep(wait_s)
            return []
        self._position = places.stop
        turn = self.assignment[0].turn if self.assignment else 0
        return [Record(0, turn, at, self._bodies[at][0], None, self._bodies[at][1]) for at in places]

    def mark(self, marks: Mapping[int, Mark]) -> None:
        self.marks |= marks

    async def seek(self, positions: Mapping[int, int]) -> None:
        self._may_be_away()
        self._position = positions[0]

    async def ends(self) -> Mapping[int, int]:
        return {0: len(self._bodies)}

    async def put(self, record: Record, role: str, reason: str) -> None:
        self._may_be_away()
        self.aside.append(record.offset)

    def _may_be_away(self) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("simulated")


class Store:
    """A handler: what it was told, whether it is away, and how long it takes."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.away = False
        self.takes_s = 0.01

    async def handle(self, events: Sequence[Committed]) -> None:
        await asyncio.sleep(self.takes_s)
        if self.away:
            raise Unavailable("simulated")
        self.told += [event.seq for event in events]


@asynccontextmanager
async def working(
    log: Log,
    store: Store,
    *,
    epoch: Epoch | None = None,
    reached: Callable[[Mapping[int, int]], object] = lambda _: None,
    limit: Limit = Limit(),  # noqa: B008 - a tuple
) -> AsyncIterator[Consume]:
    """A worker until the block ends."""

    async def told(partitions: Mapping[int, int]) -> None:
        reached(partitions)

    consume = Consume(
        log,
        store,
        ProcessClock(Random(0)),
        Metrics(),
        role="test",
        quarantine=log,
        behind_s=BEHIND_S,
        epoch=epoch,
        reached=told,
        limit=limit,
    )
    running = asyncio.create_task(consume.run())
    try:
        async with consume:
            yield consume
    finally:
        await running


def event(seq: int) -> bytes:
    return committed("t", Header(seq, "post"), "tap", [])


def test_after_an_outage_longer_than_it_lags_behind_the_last_work_is_done_again() -> None:
    """What was told in the last moments before the outage counts, however long that was ago."""

    async def main() -> None:
        log, store = Log(), Store()
        async with working(log, store):
            log.fill(*map(event, range(1, 11)))
            await asyncio.sleep(5)
            store.away = True
            log.fill(event(11))
            await asyncio.sleep(5 * BEHIND_S)
            assert log.marks[0] == Mark(0, 10), "the next owner would do it again, too"
            store.away = False
            await asyncio.sleep(10)
        assert store.told == [*range(1, 12), *range(1, 12)]

    loop.run(main())


def test_nothing_is_marked_that_was_not_handled() -> None:
    async def main() -> None:
        log, store = Log(), Store()
        store.away = True
        async with working(log, store):
            log.fill(event(1), b"not an event", event(2))
            await asyncio.sleep(3 * BEHIND_S)
            assert log.marks == {0: Mark(0, 0)}
            assert log.aside == []
        assert log.marks == {0: Mark(0, 0)}

    loop.run(main())


def test_nothing_is_said_to_be_reached_until_it_has_gone_back_and_done_it_again() -> None:
    async def main() -> None:
        log, store, epoch, claims = Log(), Store(), 1, list[tuple[int, bool]]()

        async def ask() -> object:
            return epoch

        def reached(partitions: Mapping[int, int]) -> None:
            claims.extend((us, set(store.told) >= set(range(1, 11))) for us in partitions.values())

        async with working(log, store, epoch=ask, reached=reached):
            log.fill(*map(event, range(1, 11)))
            appended_us = START_US + round(asyncio.get_running_loop().time() * 1_000_000)
            await asyncio.sleep(10)
            assert any(us >= appended_us for us, _ in claims)
            epoch, store.told, store.takes_s, log.away = 2, [], 30.0, 20  # it forgot all, and is slow now
            await asyncio.sleep(60)
            store.takes_s = 0.01
            await asyncio.sleep(60)
        assert store.told == [*range(1, 11)]
        assert [us for us, there in claims if us >= appended_us and not there] == []
        assert claims[-1][0] > appended_us + 60_000_000

    loop.run(main())


def test_what_went_to_somebody_else_while_it_waited_is_dropped() -> None:
    async def main() -> None:
        log, store = Log(), Store()
        store.away = True
        async with working(log, store):
            log.fill(event(1))
            await asyncio.sleep(5)
            log.give(Claim(2, 1))
            await asyncio.sleep(5)
            store.away = False
            log.fill(event(2))
            await asyncio.sleep(10)
        assert set(store.told) == {2}

    loop.run(main())


def test_a_good_event_in_between_says_that_it_is_not_us() -> None:
    async def main() -> None:
        log, store = Log(), Store()
        log.away = 3
        async with working(log, store, limit=Limit(in_a_row=2)):
            for seq in range(1, 6):
                log.fill(b"not an event", event(seq))
            await asyncio.sleep(60)
            assert log.aside == [0, 2, 4, 6, 8], "put aside again until it is there"
        assert store.told == [1, 2, 3, 4, 5]

    loop.run(main())
