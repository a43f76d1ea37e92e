"""Topics as we want them and as they are, and how far a group is. For `plaudit migrate` and `plaudit doctor`."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewTopic

from plaudit.adapters.kafka.config import KafkaConfig
from plaudit.adapters.kafka.errors import of, read_failed

T = TypeVar("T")

ASK_S = 10.0
_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call] # the driver does not annotate it
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call] # as above
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
    """Every method raises `Unavailable`; all may be repeated."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._client = AdminClient(config.options())

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
        for name, answer in self._client.create_topics(wanted, request_timeout=ASK_S).items():
            try:
                answer.result()
                created.append(name)
            except KafkaException as error:
                if of(error).code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        return created

    def _describe(self) -> TopicState | None:
        found = self._client.list_topics(self._config.topic, timeout=ASK_S)
        topic = found.topics[self._config.topic]
        if topic.error is not None:
            if topic.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise KafkaException(topic.error)
        asked = ConfigResource(ConfigResource.Type.TOPIC, self._config.topic)
        entries = self._client.describe_configs([asked], request_timeout=ASK_S)[asked].result()
        retention_ms = int(entries["retention.ms"].value)
        return TopicState(
            partitions=len(topic.partitions),
            replication=min(len(partition.replicas) for partition in topic.partitions.values()),
            min_insync=int(entries["min.insync.replicas"].value),
            retention_s=None if retention_ms < 0 else retention_ms / 1000,
            brokers=len(found.brokers),
        )

    def _lag(self, group: str) -> dict[int, Lag]:
        topic = self._config.topic
        partitions = list(self._client.list_topics(topic, timeout=ASK_S).topics[topic].partitions)
        asked = [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, at) for at in partitions])]
        answers = self._client.list_consumer_group_offsets(asked, request_timeout=ASK_S)
        done = {place.partition: _done(place) for place in answers[group].result().topic_partitions}
        first = self._offsets(partitions, _EARLIEST)
        ends = self._offsets(partitions, _LATEST)
        # What retention has removed is not ahead of anybody.
        done = {at: max(done.get(at, 0), first[at]) for at in partitions}
        oldest_ms = self._times({at: done[at] for at in partitions if done[at] < ends[at]})
        now_ms = time.time() * 1000
        return {
            at: Lag(max(0, ends[at] - done[at]), max(0.0, now_ms - oldest_ms.get(at, now_ms)) / 1000)
            for at in partitions
        }

    def _offsets(self, partitions: list[int], which: OffsetSpec) -> dict[int, int]:
        asked = {TopicPartition(self._config.topic, at): which for at in partitions}
        answers = self._client.list_offsets(asked, request_timeout=ASK_S)
        return {place.partition: answer.result().offset for place, answer in answers.items()}

    def _times(self, positions: Mapping[int, int]) -> dict[int, int]:
        """When the records at these positions were appended, in milliseconds: they are read, nothing less is exact."""
        found: dict[int, int] = {}
        if not positions:
            return found
        reader = Consumer(
            {
                **self._config.options(),
                "group.id": "plaudit-doctor",  # obligatory; nothing joins and nothing is committed
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "queued.min.messages": 1,
                "fetch.message.max.bytes": 64 * 1024,
            }
        )
        try:
            reader.assign(
                [TopicPartition(self._config.topic, at, offset) for at, offset in positions.items()]
            )
            deadline_s = time.monotonic() + ASK_S
            while len(found) < len(positions) and time.monotonic() < deadline_s:
                message = reader.poll(0.2)
                partition = None if message is None or message.error() is not None else message.partition()
                if message is not None and partition is not None and partition not in found:
                    found[partition] = message.timestamp()[1]
                    reader.pause([TopicPartition(self._config.topic, partition)])
        finally:
            reader.close()
        if len(found) < len(positions):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "not every partition could be read"))
        return found


def _done(place: TopicPartition) -> int:
    """How far the work is: members say it beside the position that they commit, which may lie behind."""
    if place.metadata is not None and place.metadata.isdecimal():
        return max(int(place.metadata), place.offset)
    return max(0, place.offset)


async def _call(what: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(what)
    except KafkaException as error:
        raise read_failed(of(error)) from error
