"""A topic of events on a real broker, what fills it, and handlers that note what they were given."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from plaudit.adapters.kafka import KafkaConfig, KafkaConsumer, KafkaQuarantine
from plaudit.adapters.system import SystemClock
from plaudit.domain.cell import Header
from plaudit.domain.events import Committed, committed, decode
from plaudit.ports.consumer import Handler
from plaudit.services.consume import LIMIT, Consume, Limit, Reached
from plaudit.services.epoch import Epoch
from plaudit.telemetry import Metrics
from tests.engines.kafka import Kafka
from tests.engines.node import wait_for

_topics = count(1)


def event(target: str, seq: int) -> bytes:
    """The encoded event of a commit."""
    return committed(target, Header(seq, "post", (seq,), seq, 0, 1, ()), "tap", [])


def _text(header: str | bytes | None) -> str:
    return header.decode() if isinstance(header, bytes) else str(header)


class Log:
    """A topic of its own. `stamped`: records carry the time at which the broker appended them, not the sender's."""

    def __init__(
        self, kafka: Kafka, partitions: int, protocol: str = "classic", *, stamped: bool = False
    ) -> None:
        self.config = KafkaConfig(
            [kafka.bootstrap],
            f"log-{next(_topics)}",
            partitions,
            1,
            "consumer" if protocol == "consumer" else "classic",
        )
        self._options: dict[str, str | int | float | bool] = {
            "bootstrap.servers": kafka.bootstrap,
            "log_level": 0,
        }
        stamps = {"message.timestamp.type": "LogAppendTime" if stamped else "CreateTime"}
        wanted = [
            NewTopic(name, places, 1, config=stamps)
            for name, places in ((self.config.topic, partitions), (self.config.quarantine, 1))
        ]
        with AdminClient(self._options) as admin:
            for answer in admin.create_topics(wanted).values():
                answer.result(60)
        self._producer = Producer({**self._options, "linger.ms": 1})
        wait_for(lambda: all(self.end(at) == 0 for at in range(partitions)), "its leaders", 60)

    def end(self, partition: int) -> int:
        """How many events a partition has; -1 while it has no leader."""
        reader = Consumer({**self._options, "group.id": "looks"})
        try:
            return int(
                reader.get_watermark_offsets(TopicPartition(self.config.topic, partition), timeout=60)[1]
            )
        except KafkaException:
            return -1
        finally:
            reader.close()

    def fill(self, partition: int, bodies: Sequence[bytes], at_ms: int = 0) -> None:
        """Append these, and return when they are there."""
        for body in bodies:
            self._producer.produce(self.config.topic, body, b"key", partition, timestamp=at_ms)
            self._producer.poll(0)
        assert self._producer.flush(60) == 0

    def written(self, topic: str, partition: int = 0) -> list[tuple[bytes, dict[str, str]]]:
        """(body, headers) of everything in a partition."""
        found = []
        for message in self._messages(topic, partition):
            headers = dict(message.headers() or [])
            found.append((message.value() or b"", {name: _text(is_) for name, is_ in headers.items()}))
        return found

    def times(self, partition: int) -> list[tuple[int, tuple[str, int]]]:
        """(microseconds UTC, (target, seq)) of every event in a partition."""
        found = []
        for message in self._messages(self.config.topic, partition):
            one = decode(message.value() or b"")
            found.append((message.timestamp()[1] * 1000, (one.target, one.seq)))
        return found

    def _messages(self, topic: str, partition: int) -> Iterator[Message]:
        reader = Consumer({**self._options, "group.id": "looks", "enable.auto.commit": False})
        try:
            place = TopicPartition(topic, partition, 0)
            reader.assign([place])
            for _ in range(reader.get_watermark_offsets(place, timeout=60)[1]):
                message = reader.poll(60)
                assert message is not None
                assert message.error() is None
                yield message
        finally:
            reader.close()

    def members(self, role: str) -> set[str]:
        """Who the broker thinks is in the group."""
        group = self.config.group(role)
        with AdminClient(self._options) as admin:
            described = admin.describe_consumer_groups([group], request_timeout=60)[group].result()
        return {str(member.member_id) for member in described.members}


class Notes:
    """A handler that notes what it handled, and fails as it is told: `fails` may raise for the events it is given."""

    def __init__(self, fails: Callable[[Sequence[Committed]], None] | None = None) -> None:
        self.fails = fails
        self.seen: list[tuple[str, int]] = []
        self.tries = 0

    async def handle(self, events: Sequence[Committed]) -> None:
        self.tries += 1
        await asyncio.sleep(0)
        if self.fails is not None:
            self.fails(events)
        self.seen += [(event.target, event.seq) for event in events]

    def of(self, target: str) -> list[int]:
        """What was seen of a target."""
        return [seq for name, seq in self.seen if name == target]


@asynccontextmanager
async def working(
    log: Log,
    handler: Handler,
    metrics: Metrics | None = None,
    *,
    role: str = "test",
    behind_s: float = 0.0,
    epoch: Epoch | None = None,
    reached: Reached | None = None,
    limit: Limit = LIMIT,
    at_once: int = 500,
) -> AsyncIterator[Consume]:
    """A worker that runs until the block ends. What ends it before is raised there."""
    async with AsyncExitStack() as stack:
        quarantine = await stack.enter_async_context(KafkaQuarantine(log.config))
        consumer = await stack.enter_async_context(
            KafkaConsumer(log.config, log.config.group(role), session_s=6, silent_s=6)
        )
        consume = Consume(
            consumer,
            handler,
            SystemClock(),
            metrics or Metrics(),
            role=role,
            quarantine=quarantine,
            behind_s=behind_s,
            epoch=epoch,
            reached=reached,
            limit=limit,
            at_once=at_once,
        )
        running = asyncio.create_task(consume.run())
        try:
            async with consume:
                yield consume
        finally:
            await running
