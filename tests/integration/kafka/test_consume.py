"""Consuming a real topic: one test for each row of the policy, and what the group is told meanwhile."""

import asyncio
from collections.abc import Sequence

import pytest

from plaudit.adapters.kafka import KafkaAdmin
from plaudit.domain.errors import Conflict, Corrupt, Invalid, OutcomeUnknown, Overloaded, Unavailable
from plaudit.domain.events import Committed
from plaudit.services import consume as module
from plaudit.services.consume import Limit, decide
from plaudit.telemetry import Metrics
from tests.engines.kafka import Kafka
from tests.support.log import Log, Notes, event, working
from tests.support.wait import until

pytestmark = pytest.mark.timeout(300)

EVENTS = [("a", seq) for seq in range(1, 21)]


@pytest.fixture(params=["classic", "consumer"])
def log(kafka: Kafka, request: pytest.FixtureRequest) -> Log:
    """A topic with four partitions, read with each group protocol."""
    return Log(kafka, 4, request.param)


@pytest.fixture
def small(kafka: Kafka) -> Log:
    return Log(kafka, 1)


async def test_every_event_is_handled_in_the_order_of_its_partition(log: Log, anyio_backend: str) -> None:
    for partition in range(4):
        log.fill(partition, [event(f"p{partition}", seq) for seq in range(1, 51)])
    handler, metrics = Notes(), Metrics()
    async with working(log, handler, metrics) as consume:
        await until(lambda: len(handler.seen) == 200, "all events")
        assert consume.unready() is None
    assert [handler.of(f"p{partition}") for partition in range(4)] == [list(range(1, 51))] * 4
    assert metrics.events_consumed == {"test": 200}
    lag = await KafkaAdmin(log.config).lag(log.config.group("test"))
    assert {at: one.events for at, one in lag.items()} == dict.fromkeys(range(4), 0)


async def test_who_comes_later_goes_on_where_the_first_stopped(log: Log, anyio_backend: str) -> None:
    log.fill(0, [event("a", seq) for seq in range(1, 11)])
    first, second = Notes(), Notes()
    async with working(log, first):
        await until(lambda: len(first.seen) == 10, "the first ten")
    log.fill(0, [event("a", seq) for seq in range(11, 21)])
    async with working(log, second):
        await until(lambda: len(second.seen) == 10, "the next ten")
    assert second.of("a") == list(range(11, 21))


@pytest.mark.parametrize(
    "error",
    [Unavailable("away"), OutcomeUnknown("perhaps"), Overloaded("later"), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
async def test_a_store_that_is_away_costs_no_event_and_no_membership(
    small: Log, error: Exception, anyio_backend: str
) -> None:
    away = True

    def fails(_: Sequence[Committed]) -> None:
        if away:
            raise error

    handler, metrics = Notes(fails), Metrics()
    small.fill(0, [event(*one) for one in EVENTS])
    async with working(small, handler, metrics) as consume:
        await until(lambda: handler.tries > 3, "some tries")
        members = small.members("test")
        small.fill(0, [event("b", 1)])
        assert "away" in str(consume.unready()) or type(error).__name__ in str(consume.unready())
        away = False
        await until(lambda: len(handler.seen) == 21, "all events")
        assert small.members("test") == members
        assert len(members) == 1
        assert consume.unready() is None
    assert handler.seen == [*EVENTS, ("b", 1)]
    assert metrics.consumer_retries["test"] > 2
    assert metrics.events_quarantined == {"test": 0}


async def test_an_outage_longer_than_the_group_lets_us_be_silent(small: Log, anyio_backend: str) -> None:
    away = True

    def fails(_: Sequence[Committed]) -> None:
        if away:
            raise Unavailable("away")

    handler = Notes(fails)
    small.fill(0, [event(*one) for one in EVENTS])
    async with working(small, handler):
        await until(lambda: handler.tries > 0, "a try")
        members = small.members("test")
        await asyncio.sleep(7)  # not for a state: whoever does not poll for 6 s is out
        assert small.members("test") == members
        away = False
        await until(lambda: len(handler.seen) == 20, "all events")
    assert handler.seen == EVENTS


async def test_a_handler_that_does_not_return_is_given_up_and_called_again(
    small: Log, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    monkeypatch.setattr(module, "HANDLE_WITHIN_S", 0.1)

    class Hangs(Notes):
        async def handle(self, events: Sequence[Committed]) -> None:
            if self.tries == 0:
                self.tries = 1
                await asyncio.Event().wait()
            await super().handle(events)

    handler = Hangs()
    small.fill(0, [event(*one) for one in EVENTS])
    async with working(small, handler):
        await until(lambda: len(handler.seen) == 20, "all events")


async def test_what_cannot_be_decoded_is_quarantined_with_its_place(small: Log, anyio_backend: str) -> None:
    small.fill(0, [event("a", 1), b"\xc1 not an event", event("a", 2)])
    handler, metrics = Notes(), Metrics()
    async with working(small, handler, metrics):
        await until(lambda: len(handler.seen) == 2, "both events")
    assert handler.of("a") == [1, 2]
    ((body, headers),) = small.written(small.config.quarantine)
    assert body == b"\xc1 not an event"
    assert headers.pop("reason").startswith("Corrupt: not a committed.v1 event")
    assert headers == {"topic": small.config.topic, "partition": "0", "offset": "1", "role": "test"}
    assert metrics.events_quarantined == {"test": 1}
    lag = await KafkaAdmin(small.config).lag(small.config.group("test"))
    assert lag[0].events == 0, "what was put aside does not come again"


@pytest.mark.parametrize(
    "error",
    [ValueError("a fault of ours"), Corrupt("its rows"), Conflict("odd"), Invalid("odd", "odd")],
    ids=lambda error: type(error).__name__,
)
async def test_the_event_that_a_handler_fails_at_is_found_and_quarantined(
    small: Log, error: Exception, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.01)

    def fails(events: Sequence[Committed]) -> None:
        if any(one.seq == 13 for one in events):
            raise error

    small.fill(0, [event(*one) for one in EVENTS])
    handler, metrics = Notes(fails), Metrics()
    async with working(small, handler, metrics):
        await until(lambda: ("a", 20) in handler.seen, "what comes after it")
    assert handler.of("a") == [seq for seq in range(1, 21) if seq != 13], "in order, and each once"
    ((body, headers),) = small.written(small.config.quarantine)
    assert body == event("a", 13)
    assert headers["offset"] == "12"
    assert headers["reason"].startswith(type(error).__name__)


async def test_a_fault_that_passes_quarantines_nothing(
    small: Log, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.01)
    handler, metrics = Notes(), Metrics()

    def fails(_: Sequence[Committed]) -> None:
        if handler.tries < module.TRIES:
            raise ValueError("not always")

    handler.fails = fails
    small.fill(0, [event(*one) for one in EVENTS])
    async with working(small, handler, metrics):
        await until(lambda: len(handler.seen) == 20, "all events")
    assert metrics.events_quarantined == {"test": 0}


@pytest.mark.parametrize("limit", [Limit(in_a_row=3), Limit(in_a_row=100, a_minute=3)])
async def test_a_worker_stops_rather_than_empty_the_log_into_quarantine(
    small: Log, limit: Limit, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.01)

    def fails(events: Sequence[Committed]) -> None:
        raise KeyError("a bad deployment")

    small.fill(0, [event(*one) for one in EVENTS])
    handler = Notes(fails)
    with pytest.raises(Corrupt, match=r"test: too many events fail.*partition 0, offset 3: KeyError"):
        async with working(small, handler, limit=limit) as consume:
            await until(lambda: consume.ended, "the worker stops")
    assert len(small.written(small.config.quarantine)) == 3
    good = Notes()
    async with working(small, good):
        await until(lambda: ("a", 20) in good.seen, "a good deployment goes on")
    assert set(good.seen) >= set(EVENTS[3:])


async def test_a_worker_with_a_dead_store_stops_at_once_and_loses_nothing(
    small: Log, anyio_backend: str
) -> None:
    def fails(_: Sequence[Committed]) -> None:
        raise Unavailable("away")

    handler = Notes(fails)
    small.fill(0, [event(*one) for one in EVENTS])
    async with working(small, handler):
        await until(lambda: handler.tries > 1, "some tries")
    good = Notes()
    async with working(small, good):
        await until(lambda: len(good.seen) == 20, "all events")


async def test_stopping_finishes_the_batch_in_hand(small: Log, anyio_backend: str) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Notes):
        async def handle(self, events: Sequence[Committed]) -> None:
            begun.set()
            await go_on.wait()
            await super().handle(events)

    handler = Slow()
    small.fill(0, [event(*one) for one in EVENTS])
    async with working(small, handler) as consume:
        await begun.wait()
        consume.stop()
        go_on.set()
    assert handler.seen == EVENTS
    lag = await KafkaAdmin(small.config).lag(small.config.group("test"))
    assert lag[0].events == 0
    assert small.members("test") == set()


@pytest.mark.parametrize("swallows", [False, True], ids=["hangs", "fails late"])
async def test_stopping_gives_up_a_batch_that_hangs_and_marks_nothing(
    small: Log, swallows: bool, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    monkeypatch.setattr(module, "STOP_WITHIN_S", 0.5)
    begun = asyncio.Event()

    class Hangs(Notes):
        async def handle(self, events: Sequence[Committed]) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                if swallows:
                    raise ValueError("its own idea of being cancelled")

    small.fill(0, [event(*one) for one in EVENTS])
    async with working(small, Hangs()) as consume:
        await begun.wait()
        at_s = asyncio.get_running_loop().time()
        consume.stop()
        await until(lambda: consume.ended, "given up")
        assert 0.4 < asyncio.get_running_loop().time() - at_s < 5
    good = Notes()
    async with working(small, good):
        await until(lambda: len(good.seen) == 20, "all of them come again")
    assert small.written(small.config.quarantine) == []


async def test_a_changed_epoch_has_the_last_work_done_again(log: Log, anyio_backend: str) -> None:
    epoch, asked = 1, 0

    async def ask() -> object:
        nonlocal asked
        asked += 1
        return epoch

    handler, metrics = Notes(), Metrics()
    log.fill(0, [event("a", seq) for seq in range(1, 11)])
    async with working(log, handler, metrics, behind_s=60, epoch=ask):
        await until(lambda: len(handler.seen) == 10, "all events")
        before = asked
        await until(lambda: asked > before + 1, "it is asked for again, as every second")
        assert metrics.consumer_replays == {"test": 0}
        epoch = 2
        await until(lambda: len(handler.seen) == 20, "all events once more")
        log.fill(0, [event("a", 11)])
        await until(lambda: ("a", 11) in handler.seen, "and what comes then")
    assert handler.of("a") == [*range(1, 11), *range(1, 12)]
    assert metrics.consumer_replays == {"test": 1}


async def test_after_an_outage_of_its_store_the_last_work_is_done_again(
    small: Log, anyio_backend: str
) -> None:
    away = False

    def fails(_: Sequence[Committed]) -> None:
        if away:
            raise Unavailable("away")

    handler = Notes(fails)
    small.fill(0, [event("a", seq) for seq in range(1, 11)])
    async with working(small, handler, behind_s=60):
        await until(lambda: len(handler.seen) == 10, "the first ten")
        away = True
        tries = handler.tries
        small.fill(0, [event("a", 11)])
        await until(lambda: handler.tries > tries + 1, "some tries")
        away = False
        await until(lambda: len(handler.seen) == 22, "the new one, and all of them again")
    assert handler.of("a") == [*range(1, 12), *range(1, 12)]


async def test_the_next_owner_begins_behind_and_the_lag_is_that_of_the_work(
    small: Log, anyio_backend: str
) -> None:
    small.fill(0, [event("a", seq) for seq in range(1, 11)])
    first, second = Notes(), Notes()
    async with working(small, first, behind_s=60):
        await until(lambda: len(first.seen) == 10, "all events")
    lag = await KafkaAdmin(small.config).lag(small.config.group("test"))
    assert lag[0].events == 0, "the work is done"
    async with working(small, second, behind_s=60):
        await until(lambda: len(second.seen) == 10, "all of them again: they are not 60 s old")


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (Unavailable("x"), "wait"),
        (OutcomeUnknown("x"), "wait"),
        (Overloaded("x"), "wait"),
        (TimeoutError(), "wait"),
        (Corrupt("x"), "search"),
        (Conflict("x"), "search"),
        (Invalid("x", "x"), "search"),
        (KeyError("x"), "search"),
    ],
)
def test_what_becomes_of_events_whose_handler_fails(error: Exception, action: str) -> None:
    assert decide(error) == action
