"""What `plaudit.ports.events.Events` promises: the log of the simulations, and Kafka."""

import asyncio
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import NamedTuple

import pytest

from plaudit.adapters.kafka import KafkaEvents
from plaudit.domain.cell import Header
from plaudit.domain.errors import Unavailable
from plaudit.domain.events import committed, decode
from plaudit.ports.cells import CellKey
from plaudit.ports.events import Events
from tests.simulation.log import Away, SimulatedLog
from tests.support.log import Log

pytestmark = pytest.mark.timeout(300)

KEYS = [CellKey("a"), CellKey("b"), CellKey("a", 7), CellKey("auth0|x/7")]
PARTITIONS = 3
TOO_BIG = b"x" * 5_000_000


class Written(NamedTuple):
    """A log, and the `seq` of each event of a cell in it, in their order."""

    events: Events
    seqs: Callable[[CellKey], list[int]]


@pytest.fixture(params=["simulated", "kafka"])
async def log(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Written]:
    if request.param == "simulated":
        simulated = SimulatedLog(Random(0), Away())
        yield Written(
            simulated, lambda key: [e.seq for e in simulated.events if (e.target, e.bucket) == tuple(key)]
        )
        return
    real = Log(request.getfixturevalue("kafka"), PARTITIONS)

    def seqs(key: CellKey) -> list[int]:
        bodies = (body for n in range(PARTITIONS) for body, _ in real.written(real.config.topic, n))
        return [event.seq for event in map(decode, bodies) if (event.target, event.bucket) == tuple(key)]

    async with KafkaEvents(real.config) as events:
        yield Written(events, seqs)


def event(key: CellKey, seq: int) -> bytes:
    return committed(key.target, Header(seq, "post", (seq,), seq, 9, 1), "tap", [], key.bucket)


async def test_what_was_published_is_there_in_the_order_of_its_cell(log: Written) -> None:
    for seq in range(1, 6):
        await asyncio.gather(*(log.events.publish(key, event(key, seq)) for key in KEYS))
    for key in KEYS:
        assert log.seqs(key) == [1, 2, 3, 4, 5]


async def test_what_is_published_again_is_there_again(log: Written) -> None:
    for seq in (1, 2, 1, 1):
        await log.events.publish(KEYS[0], event(KEYS[0], seq))
    assert log.seqs(KEYS[0]) == [1, 2, 1, 1]


async def test_what_is_unavailable_is_not_there_and_keeps_nobody_up(log: Written) -> None:
    await log.events.publish(KEYS[0], event(KEYS[0], 1))
    with pytest.raises(Unavailable):
        await log.events.publish(KEYS[0], TOO_BIG)
    await log.events.publish(KEYS[0], event(KEYS[0], 2))
    assert log.seqs(KEYS[0]) == [1, 2]
