"""A broker that is killed and started again. The last of this folder: for half a minute afterwards it may be slow to
create topics, which every other test does first."""

import asyncio

import pytest

from plaudit.adapters.kafka import KafkaAdmin
from plaudit.domain.errors import Unavailable
from tests.engines.kafka import Kafka
from tests.support.log import Log, Notes, event, working
from tests.support.wait import until

pytestmark = pytest.mark.timeout(300)


async def test_a_broker_that_is_started_again_is_read_on(kafka: Kafka, anyio_backend: str) -> None:
    log, handler = Log(kafka, 2), Notes()
    log.fill(0, [event("a", seq) for seq in range(1, 11)])
    async with working(log, handler):
        await until(lambda: len(handler.seen) == 10, "the first ten")
        kafka.nodes[0].kill()
        kafka.start()
        log.fill(0, [event("a", seq) for seq in range(11, 21)])
        await until(lambda: ("a", 20) in handler.seen, "the next ten", within_s=60)
    assert [seq for seq in handler.of("a") if seq > 10] == list(range(11, 21))


async def test_the_lag_may_be_asked_for_while_the_coordinator_is_away_and_comes_back(
    kafka: Kafka, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plaudit.adapters.kafka.admin.ASK_S", 2.0)
    log, back, answers = Log(kafka, 4), asyncio.Event(), 0
    log.fill(0, [event("a", 1)])
    group = log.config.group("test")

    async def ask() -> None:
        nonlocal answers
        while not back.is_set():
            try:
                assert (await KafkaAdmin(log.config).lag(group))[0].events == 1
                answers += 1
            except Unavailable:
                await asyncio.sleep(0.003)

    asking = [asyncio.create_task(ask()) for _ in range(2)]
    try:
        await until(lambda: answers > 0, "an answer before")
        kafka.nodes[0].kill()
        await asyncio.to_thread(kafka.start)
        before = answers
        await until(lambda: answers > before + 2, "answers afterwards")
    finally:
        back.set()
        await asyncio.gather(*asking)
