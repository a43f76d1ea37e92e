"""Events in a real topic: keyed by cell, acknowledged, and what each failure means."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from random import Random

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from plaudit.adapters.kafka import KafkaConfig, KafkaEvents, producer
from plaudit.adapters.kafka.errors import NOTHING_HAPPENED, write_failed
from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.ports.cells import CellKey
from tests.engines.kafka import Kafka
from tests.engines.node import wait_for

pytestmark = pytest.mark.timeout(300)

_topics = count(1)


@pytest.fixture
def topic(kafka: Kafka) -> str:
    name = f"events-{next(_topics)}"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_topics([NewTopic(name, 4, 1, config={"max.message.bytes": "100000"})])[name].result(60)
    wait_for(lambda: all(end(kafka, name, partition) == 0 for partition in range(4)), "its leaders", 60)
    return name


def end(kafka: Kafka, topic: str, partition: int) -> int:
    """How many events a partition has; -1 while it has no leader."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "looks", "log_level": 0})
    try:
        return int(consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=60)[1])
    except KafkaException:
        return -1
    finally:
        consumer.close()


@pytest.fixture
async def events(kafka: Kafka, topic: str, anyio_backend: str) -> AsyncIterator[KafkaEvents]:
    async with KafkaEvents(KafkaConfig([kafka.bootstrap], topic)) as opened:
        yield opened


def written(kafka: Kafka, topic: str) -> Iterator[tuple[int, bytes, bytes]]:
    """(partition, key, event) of everything in the topic."""
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap, "group.id": "looks", "enable.auto.commit": False}
    )
    try:
        for partition in range(4):
            consumer.assign([TopicPartition(topic, partition, 0)])
            for _ in range(end(kafka, topic, partition)):
                message = consumer.poll(60)
                assert message is not None
                assert message.error() is None
                yield partition, message.key() or b"", message.value() or b""
    finally:
        consumer.close()


async def test_events_of_a_cell_keep_to_a_partition_and_to_their_order(
    kafka: Kafka, topic: str, events: KafkaEvents
) -> None:
    keys = [CellKey("a"), CellKey("b"), CellKey("a", 7), CellKey("grüße")]
    for n in range(50):
        await asyncio.gather(*(events.publish(key, b"%d" % n) for key in keys))
    found: dict[bytes, list[tuple[int, bytes]]] = {}
    for partition, key, event in written(kafka, topic):
        found.setdefault(key, []).append((partition, event))
    assert sorted(found) == sorted([b"a", b"b", b"a/7", "grüße".encode()])
    for each in found.values():
        assert len({partition for partition, _ in each}) == 1
        assert [event for _, event in each] == [b"%d" % n for n in range(50)]


async def test_what_is_too_big_is_refused_and_is_not_there(
    kafka: Kafka, topic: str, events: KafkaEvents
) -> None:
    with pytest.raises(Unavailable):
        await events.publish(CellKey("a"), b"x" * 5_000_000)
    assert list(written(kafka, topic)) == []


async def test_a_broker_that_is_away_leaves_the_outcome_unknown_until_it_is_back(
    kafka: Kafka, topic: str, events: KafkaEvents
) -> None:
    await events.publish(CellKey("a"), b"before")
    kafka.nodes[0].freeze()
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(events.publish(CellKey("a"), b"meanwhile"), 0.5)
    finally:
        kafka.nodes[0].thaw()
    await events.publish(CellKey("a"), b"after")
    found = [event for _, _, event in written(kafka, topic)]
    assert found == [b"before", b"meanwhile", b"after"], "nobody waited for it any more, and it came"


async def test_a_producer_that_is_shut_out_has_a_successor(
    kafka: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    """With this option the driver ends a producer for good as soon as one event is refused."""
    options = KafkaConfig.options
    strict = {"enable.gapless.guarantee": True}
    monkeypatch.setattr(KafkaConfig, "options", lambda config: options(config) | strict)
    monkeypatch.setattr(producer, "RENEW_EVERY_S", 0.5)
    async with KafkaEvents(KafkaConfig([kafka.bootstrap], topic)) as events:
        await events.publish(CellKey("a"), b"before")
        first = events._producer
        async with asyncio.timeout(60):
            with pytest.raises((Unavailable, OutcomeUnknown)):
                await events.publish(CellKey("a"), Random(0).randbytes(500_000))
            with pytest.raises(KafkaException):
                first.produce(topic, b"never")
            while True:
                try:
                    await events.publish(CellKey("a"), b"after")
                    break
                except (Unavailable, OutcomeUnknown):
                    await asyncio.sleep(0.05)
    assert events._producer is not first
    assert [event for _, _, event in written(kafka, topic)] == [b"before", b"after"]


@pytest.mark.parametrize("code", sorted(NOTHING_HAPPENED))
def test_errors_after_which_nothing_is_there(code: int) -> None:
    assert isinstance(write_failed(KafkaError(code)), Unavailable)


@pytest.mark.parametrize(
    "code",
    [KafkaError._MSG_TIMED_OUT, KafkaError.REQUEST_TIMED_OUT, KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND],
)
def test_errors_after_which_it_may_be_there(code: int) -> None:
    assert isinstance(write_failed(KafkaError(code)), OutcomeUnknown)
