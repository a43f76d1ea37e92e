"""Events in a Kafka topic, keyed by cell: `target`, or `target/bucket` for a lane, so that a cell keeps to a partition.

The producer is idempotent and waits for every replica in sync. It lives on a thread of the driver; answers come back to
the event loop.
"""

import asyncio
import threading
from collections.abc import Sequence
from typing import NamedTuple, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from plaudit.domain.errors import OutcomeUnknown, PlauditError, Unavailable
from plaudit.ports.cells import CellKey

DELIVERY_TIMEOUT_MS = 10_000
FLUSH_S = 5.0

# Errors after which the event is not in the log and will not be; whatever is not here may be.
NOTHING_HAPPENED = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.INVALID_REQUIRED_ACKS,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError._QUEUE_FULL,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
    }
)


class KafkaConfig(NamedTuple):
    """Where Kafka is, and which topic is ours."""

    brokers: Sequence[str]
    topic: str = "plaudit.reactions"


def failed(error: KafkaError) -> PlauditError:
    """What an error of the driver means for the event it is about."""
    words = f"{error.name()}: {error.str()}"
    if error.code() in NOTHING_HAPPENED:
        return Unavailable(f"Kafka does not have the event: {words}")
    return OutcomeUnknown(f"Kafka did not confirm the event: {words}")


class KafkaEvents:
    """See `plaudit.ports.events.Events`; use as an async context manager."""

    def __init__(self, config: KafkaConfig) -> None:
        self._topic = config.topic
        self._producer = Producer(
            {
                "bootstrap.servers": ",".join(config.brokers),
                "client.id": "plaudit",
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 1,
                "compression.type": "lz4",
                "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
                "reconnect.backoff.max.ms": 1000,
                "log_level": 0,  # every failure reaches its caller
            }
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="kafka-events", daemon=True)

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Send what is under way, for a few seconds, and stop."""
        await asyncio.to_thread(self._producer.flush, FLUSH_S)
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    async def publish(self, key: CellKey, event: bytes) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def delivered(error: KafkaError | None, _: Message) -> None:
            loop.call_soon_threadsafe(_resolve, done, error)

        name = f"{key.target}/{key.bucket}" if key.bucket else key.target
        try:
            self._producer.produce(self._topic, event, name.encode(), on_delivery=delivered)
        except BufferError as error:
            raise Unavailable("too many events wait for Kafka") from error
        except KafkaException as error:
            raise failed(error.args[0]) from error
        await done

    def _serve(self) -> None:
        """The driver calls back from here."""
        while not self._stopping.is_set():
            self._producer.poll(0.1)


def _resolve(done: "asyncio.Future[None]", error: KafkaError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(failed(error))
