"""Topics as we want them and as they are, and how far a group is. For `plaudit migrate` and `plaudit doctor`."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewTopic

from plaudit.adapters.kafka.config import KafkaConfig
from plaudit.adapters.kafka.errors import of, read_failed

T = TypeVar("T")

ASK_S = 10.0
DAY_MS = 24 * 60 * 60 * 1000
RETENTION_MS = 7 * DAY_MS
QUARANTINE_RETENTION_MS = 30 * DAY_MS  # somebody has to find the time to look


class TopicState(NamedTuple):
    """A topic as it is. `replication`: of the partition that has the fewest. `retention_s`: None for ever."""

    partitions: int
    replication: int
    min_insync: int
    retention_s: float | None
    brokers: int


class Lag(NamedTuple):
    """What a group has not handled of a partition: how many events, and the age of the oldest in seconds."""

    events: int
    seconds: float


class KafkaAdmin:
    """Every method raises `Unavailable`; all may be repeated. Nothing is held between calls."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config

    async def create(self) -> list[str]:
        """Create the topic of events and the one of quarantined events where they are missing; returns what was
        created. What is there stays as it is: another number of partitions would tear cells apart."""
        return await _call(self._create)

    async def describe(self) -> TopicState | None:
        """The topic of events; None if there is none."""
        return await _call(self._describe)

    async def lag(self, group: str) -> dict[int, Lag]:
        """By partition. A group that never was anywhere has everything before it."""
        return await _call(lambda: self._lag(group))

    def _create(self) -> list[str]:
        config = self._config
        insync = str(max(1, config.replication - 1))
        events = {
            "min.insync.replicas": insync,
            "retention.ms": str(RETENTION_MS),
            "cleanup.policy": "delete",
        }
        aside = events | {"retention.ms": str(QUARANTINE_RETENTION_MS)}
        wanted = [
            NewTopic(config.topic, config.partitions, config.replication, config=events),
            NewTopic(config.quarantine, 1, config.replication, config=aside),
        ]
        created = []
        with self._client() as client:
            for name, answer in client.create_topics(wanted, request_timeout=ASK_S).items():
                try:
                    answer.result()
                    created.append(name)
                except KafkaException as error:
                    if of(error).code() != KafkaError.TOPIC_ALREADY_EXISTS:
                        raise
        return created

    def _describe(self) -> TopicState | None:
        asked = ConfigResource(ConfigResource.Type.TOPIC, self._config.topic)
        with self._client() as client:
            found = client.list_topics(self._config.topic, timeout=ASK_S)
            topic = found.topics[self._config.topic]
            if topic.error is not None:
                if topic.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    return None
                raise KafkaException(topic.error)
            entries = client.describe_configs([asked], request_timeout=ASK_S)[asked].result()
        retention_ms = int(entries["retention.ms"].value)
        return TopicState(
            partitions=len(topic.partitions),
            replication=min(len(partition.replicas) for partition in topic.partitions.values()),
            min_insync=int(entries["min.insync.replicas"].value),
            retention_s=None if retention_ms < 0 else retention_ms / 1000,
            brokers=len(found.brokers),
        )

    def _lag(self, group: str) -> dict[int, Lag]:
        reader = self._reader(group)
        try:
            partitions = list(
                reader.list_topics(self._config.topic, timeout=ASK_S).topics[self._config.topic].partitions
            )
            asked = self._places(dict.fromkeys(partitions, 0))
            done = {place.partition: _done(place) for place in reader.committed(asked, timeout=ASK_S)}
            first, ends = (
                self._offsets(reader, partitions, OFFSET_BEGINNING),
                self._offsets(reader, partitions, OFFSET_END),
            )
            # What retention has removed is not ahead of anybody.
            done = {at: max(done[at], first[at]) for at in partitions}
            oldest_ms = self._times(reader, {at: done[at] for at in partitions if done[at] < ends[at]})
        finally:
            reader.close()
        now_ms = time.time() * 1000
        return {
            at: Lag(max(0, ends[at] - done[at]), max(0.0, now_ms - oldest_ms.get(at, now_ms)) / 1000)
            for at in partitions
        }

    def _client(self) -> AdminClient:
        """For one call, and to be closed: the driver aborts the process if the collector finds one on its own thread
        (confluentinc/confluent-kafka-python pull request 2131)."""
        return AdminClient(self._config.options())

    def _reader(self, group: str) -> Consumer:
        """Asks for a group's marks and reads single records. Nothing joins and nothing is committed.

        Not the administrator's own question for a group's offsets: where the group's coordinator is new or moves, the
        driver kills the process over it (confluentinc/librdkafka issues 5040: a null pointer, 3663: an assertion).
        """
        return Consumer(
            {
                **self._config.options(),
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "queued.min.messages": 1,
                "fetch.message.max.bytes": 64 * 1024,
            }
        )

    def _places(self, positions: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._config.topic, at, position) for at, position in positions.items()]

    def _offsets(self, reader: Consumer, partitions: list[int], which: int) -> dict[int, int]:
        found = reader.offsets_for_times(self._places(dict.fromkeys(partitions, which)), timeout=ASK_S)
        return {place.partition: _sound(place).offset for place in found}

    def _times(self, reader: Consumer, positions: Mapping[int, int]) -> dict[int, int]:
        """When the records at these positions were appended, in milliseconds: they are read, nothing less is exact."""
        found: dict[int, int] = {}
        if not positions:
            return found
        reader.assign(self._places(positions))
        deadline_s = time.monotonic() + ASK_S
        while len(found) < len(positions) and time.monotonic() < deadline_s:
            message = reader.poll(0.2)
            partition = None if message is None or message.error() is not None else message.partition()
            if message is not None and partition is not None and partition not in found:
                found[partition] = message.timestamp()[1]
                reader.pause([TopicPartition(self._config.topic, partition)])
        if len(found) < len(positions):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "not every partition could be read"))
        return found


def _done(place: TopicPartition) -> int:
    """How far the work is: members say it beside the position that they commit, which may lie behind. Raises
    `KafkaException` if the group's mark could not be had."""
    _sound(place)
    if place.metadata is not None and place.metadata.isdecimal():
        return max(int(place.metadata), place.offset)
    return max(0, place.offset)


def _sound(place: TopicPartition) -> TopicPartition:
    if place.error is not None:
        raise KafkaException(place.error)
    return place


async def _call(what: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(what)
    except KafkaException as error:
        raise read_failed(of(error)) from error
