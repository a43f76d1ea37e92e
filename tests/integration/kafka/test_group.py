"""Several workers of one role: partitions move between them under load, and every event is handled."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from plaudit.adapters.kafka import KafkaAdmin, KafkaConfig, KafkaEvents
from plaudit.domain.events import Committed
from plaudit.ports.cells import CellKey
from tests.engines.kafka import Kafka
from tests.support.log import Log, Notes, event, working
from tests.support.wait import happens, until

pytestmark = pytest.mark.timeout(300)

TARGETS = 40


class Load:
    """Publishes events of many targets, each target's in order, until told to stop."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self.acknowledged: list[tuple[str, int]] = []
        self._stopping = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with KafkaEvents(self._config) as events:
            task = asyncio.create_task(self._publish(events))
            try:
                yield
            finally:
                self._stopping = True
                await task

    async def _publish(self, events: KafkaEvents) -> None:
        seq = 0
        while not self._stopping:
            seq += 1
            names = [f"t{number}" for number in range(TARGETS)]
            await asyncio.gather(*(events.publish(CellKey(name), event(name, seq)) for name in names))
            self.acknowledged += [(name, seq) for name in names]
            await asyncio.sleep(0.05)


@pytest.fixture(params=["classic", "consumer"])
def log(kafka: Kafka, request: pytest.FixtureRequest) -> Log:
    return Log(kafka, 8, request.param)


def in_order(handler: Notes) -> bool:
    """Whether no target's events overtook each other; what another worker handled is missing between them."""
    return all(
        later > earlier
        for target in {name for name, _ in handler.seen}
        for earlier, later in zip(handler.of(target), handler.of(target)[1:], strict=False)
    )


async def test_a_second_worker_takes_partitions_over_and_gives_them_back(
    log: Log, anyio_backend: str
) -> None:
    first, second, load = Notes(), Notes(), Load(log.config)
    async with working(log, first) as one:
        async with load.running():
            await until(lambda: len(first.seen) > 200, "load on the first worker")
            async with working(log, second) as two:
                await until(lambda: two.partitions == 4 == one.partitions, "half of the partitions each")
                mark = len(second.seen)
                await until(lambda: len(second.seen) > mark + 200, "load on the second worker")
            await until(lambda: one.partitions == 8, "all partitions back")
            mark = len(first.seen)
            await until(lambda: len(first.seen) > mark + 200, "load on the first worker alone")
        await until(lambda: set(load.acknowledged) <= {*first.seen, *second.seen}, "every event handled")
    again = len(first.seen) + len(second.seen) - len(load.acknowledged)
    assert again == 0, "positions are stored before a partition is given away"
    assert second.seen
    assert in_order(first)
    assert in_order(second)


async def test_joining_and_leaving_every_second_loses_nothing(log: Log, anyio_backend: str) -> None:
    first, load = Notes(), Load(log.config)
    others = [Notes() for _ in range(5)]
    async with working(log, first):
        await until(lambda: len(log.members("test")) == 1, "the first member")
        (steady,) = log.members("test")
        async with load.running():
            for other in others:
                async with working(log, other):
                    await asyncio.sleep(1)  # not for a state: whatever state it is in, it leaves
        seen = [first, *others]
        await until(lambda: set(load.acknowledged) <= {one for notes in seen for one in notes.seen}, "all")
        assert steady in log.members("test"), "nobody threw the first one out"


async def test_a_killed_worker_costs_no_event(log: Log, tmp_path: Path, anyio_backend: str) -> None:
    path = tmp_path / "handled"
    path.touch()
    for partition in range(8):
        log.fill(partition, [event(f"p{partition}", seq) for seq in range(1, 101)])
    config = log.config
    arguments = [*config.brokers, config.topic, config.group_protocol, str(path)]
    victim = Popen([sys.executable, str(Path(__file__).with_name("worker.py")), *arguments])
    try:
        await until(lambda: path.read_text().count("\n") > 200, "it works")

        async def marked() -> bool:
            lag = await KafkaAdmin(config).lag(config.group("test"))
            return sum(each.events for each in lag.values()) < 800

        await happens(marked, "the group hears how far it is")
    finally:
        victim.kill()
        victim.wait(60)
    handled = {(name, int(seq)) for name, seq in (line.split() for line in path.read_text().splitlines())}
    assert len(handled) < 800, "it was killed in the middle"
    heir = Notes()
    async with working(log, heir):
        wanted = {(f"p{partition}", seq) for partition in range(8) for seq in range(1, 101)}
        await until(lambda: wanted <= handled | set(heir.seen), "the heir does the rest", within_s=60)
    assert len(heir.seen) < 800, "and not everything again"


async def test_a_failing_handler_does_not_touch_what_went_to_another(
    kafka: Kafka, anyio_backend: str
) -> None:
    log = Log(kafka, 2)
    away = True

    def fails(_: Sequence[Committed]) -> None:
        if away:
            raise TimeoutError

    for partition in range(2):
        log.fill(partition, [event(f"p{partition}", seq) for seq in range(1, 11)])
    first, second = Notes(fails), Notes()
    async with working(log, first) as one:
        await until(lambda: first.tries > 0 and one.partitions == 2, "it has both")
        async with working(log, second) as two:
            await until(lambda: two.partitions == 1 == one.partitions, "one each")
            await until(lambda: len(second.seen) == 10, "the second one handles its partition")
            away = False
            await until(lambda: len(first.seen) == 10, "and the first one its own")
    assert len({name for name, _ in first.seen}) == 1
    assert {name for name, _ in first.seen}.isdisjoint({name for name, _ in second.seen})
