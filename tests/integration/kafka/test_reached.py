"""What a worker says of how far it is: never that something is handled that is not, by the times of the broker."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence

import pytest

from plaudit.domain.events import Committed
from plaudit.services import consume as module
from plaudit.telemetry import Metrics
from tests.engines.kafka import Kafka
from tests.support.log import Log, event, working
from tests.support.wait import until

pytestmark = pytest.mark.timeout(300)

AHEAD = 30  # events that are not handled yet: the load is never faster than the worker


class Watched:
    """A handler with a store, and who is told how far it is: keeps each claim beside what was in the store then."""

    def __init__(self) -> None:
        self.store: set[tuple[str, int]] = set()
        self.claims: list[tuple[int, int, frozenset[tuple[str, int]]]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.tries = 0

    async def handle(self, events: Sequence[Committed]) -> None:
        self.tries += 1
        await self.go_on.wait()
        await asyncio.sleep(0.01)
        self.store.update((one.target, one.seq) for one in events)

    async def reached(self, found: Mapping[int, int]) -> None:
        now = frozenset(self.store)
        self.claims += [(partition, us, now) for partition, us in found.items()]

    def newest(self) -> dict[int, int]:
        """The last claim of each partition."""
        return {partition: us for partition, us, _ in self.claims}

    def wrong(self, log: Log, partitions: int) -> list[str]:
        """Which claims were not true."""
        appended = [log.times(partition) for partition in range(partitions)]
        return [
            f"partition {partition}, {us}: {one} of {at_us} was not handled"
            for partition, us, handled in self.claims
            for at_us, one in appended[partition]
            if at_us <= us and one not in handled
        ]

    async def more(self, partitions: Sequence[int]) -> None:
        """Wait until each of these partitions is claimed up to later than now."""
        before = defaultdict(int, self.newest())
        await until(
            lambda: all(self.newest().get(at, 0) > before[at] for at in partitions),
            "later claims",
        )


@pytest.fixture(params=["classic", "consumer"])
def log(kafka: Kafka, request: pytest.FixtureRequest) -> Log:
    return Log(kafka, 3, request.param, stamped=True)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many claims, so that a false one is among them."""
    monkeypatch.setattr(module, "WATCH_EVERY_S", 0.02)
    monkeypatch.setattr(module, "ENDS_EVERY_S", 0.1)


async def test_idle_and_empty_partitions_are_reached_too(log: Log, anyio_backend: str) -> None:
    log.fill(0, [event("a", seq) for seq in range(1, 11)])
    watched = Watched()
    async with working(log, watched, reached=watched.reached, at_once=3):
        await watched.more([0, 1, 2])
        for seq in range(11, 200):
            await asyncio.to_thread(log.fill, seq % 2, [event("ab"[seq % 2], seq)])
        await until(lambda: len(watched.store) == 199, "all events")
        await watched.more([0, 1, 2])
        await watched.more([0, 1, 2])
    assert watched.wrong(log, 3) == []


async def test_what_is_in_hand_or_waits_is_not_reached(log: Log, anyio_backend: str) -> None:
    watched = Watched()
    async with working(log, watched, reached=watched.reached):
        await watched.more([0, 1, 2])
        watched.go_on.clear()
        log.fill(0, [event("a", 1)])
        await until(lambda: watched.tries > 0, "one in hand")
        log.fill(1, [event("b", 1)])
        await watched.more([2])
        await watched.more([2])
        watched.go_on.set()
        await watched.more([0, 1, 2])
    assert watched.wrong(log, 3) == []


async def test_nothing_false_is_said_while_partitions_move(log: Log, anyio_backend: str) -> None:
    watched, seq, done = Watched(), 0, False

    async def load() -> None:
        nonlocal seq
        while not done:
            while len(watched.store) < 2 * seq - AHEAD and not done:
                await asyncio.sleep(0.005)
            seq += 1
            for partition in range(2):  # the third one stays empty
                await asyncio.to_thread(log.fill, partition, [event(f"p{partition}", seq)])

    async with working(log, watched, reached=watched.reached, at_once=5) as one:
        await until(lambda: one.partitions == 3, "all partitions")
        loading = asyncio.create_task(load())
        try:
            await watched.more([0, 1, 2])
            for _ in range(2):
                async with working(log, watched, reached=watched.reached) as two:
                    await until(lambda two=two: two.partitions > 0, "shared")  # type: ignore[misc] # bound now
                    await watched.more([0, 1, 2])
                await until(lambda: one.partitions == 3, "all back")
                await watched.more([0, 1, 2])
        finally:
            done = True
            await loading
        await until(lambda: len(watched.store) == 2 * seq, "all events")
    assert watched.wrong(log, 3) == []


async def test_what_a_store_forgot_is_not_reached_until_it_is_done_again(
    log: Log, anyio_backend: str
) -> None:
    watched, metrics, epoch, forget = Watched(), Metrics(), 1, False

    async def ask() -> object:
        nonlocal epoch, forget
        if forget:
            watched.store.clear()
            watched.go_on.clear()
            epoch, forget = epoch + 1, False
        return epoch

    for partition in range(2):
        log.fill(partition, [event(f"p{partition}", seq) for seq in range(1, 31)])
    async with working(log, watched, metrics, behind_s=60, epoch=ask, reached=watched.reached, at_once=10):
        await until(lambda: len(watched.store) == 60, "all events")
        await watched.more([0, 1, 2])
        tries, forget = watched.tries, True
        await until(lambda: metrics.consumer_replays == {"test": 1}, "gone back")
        await until(lambda: watched.tries > tries, "the first ones again, in hand")
        await watched.more([2])
        watched.go_on.set()
        await until(lambda: len(watched.store) == 60, "all events again")
        await watched.more([0, 1, 2])
    assert watched.wrong(log, 3) == []
