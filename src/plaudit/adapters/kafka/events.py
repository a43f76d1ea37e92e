"""Events in a Kafka topic, keyed by cell: `target`, or `target/bucket` for a lane, so that a cell keeps to a partition.

Beside it lies the topic of quarantined events: each with its key and bytes as they were, and where it was in headers.
"""

from plaudit.adapters.kafka.config import KafkaConfig
from plaudit.adapters.kafka.producer import Appender
from plaudit.ports.cells import CellKey
from plaudit.ports.consumer import Record

MAX_REASON = 1_000  # characters


class KafkaEvents(Appender):
    """See `plaudit.ports.events.Events`; use as an async context manager."""

    def __init__(self, config: KafkaConfig) -> None:
        super().__init__(config)
        self._topic = config.topic

    async def publish(self, key: CellKey, event: bytes) -> None:
        name = f"{key.target}/{key.bucket}" if key.bucket else key.target
        await self.append(self._topic, name.encode(), event)


class KafkaQuarantine(Appender):
    """See `plaudit.ports.consumer.Quarantine`; use as an async context manager."""

    def __init__(self, config: KafkaConfig) -> None:
        super().__init__(config)
        self._topic = config.quarantine
        self._source = config.topic

    async def put(self, record: Record, role: str, reason: str) -> None:
        headers = {
            "topic": self._source,
            "partition": str(record.partition),
            "offset": str(record.offset),
            "role": role,
            "reason": reason[:MAX_REASON],
        }
        await self.append(self._topic, record.key, record.body, headers)
