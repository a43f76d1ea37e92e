"""Appending to topics: idempotent, and waiting for every replica in sync.

The producer lives on a thread of the driver; answers come back to the event loop. One that the broker shuts out, as the
order of what it sent cannot be vouched for any more, is replaced: whoever publishes does without that order, for events
are absolute, and repeats or owes what was not confirmed.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from plaudit.adapters.kafka.config import KafkaConfig
from plaudit.adapters.kafka.errors import of, words, write_failed
from plaudit.domain.errors import Unavailable

log = logging.getLogger("plaudit.kafka")

DELIVERY_TIMEOUT_MS = 10_000
FLUSH_S = 5.0
RENEW_EVERY_S = 1.0  # a producer; its successor may be shut out too


class Appender:
    """Use as an async context manager."""

    def __init__(self, config: KafkaConfig) -> None:
        self._options = {
            **config.options(),
            "acks": "all",
            "enable.idempotence": True,
            # Natural batching, as with commits: an event that finds nothing under way goes at once, and whatever
            # comes meanwhile rides in the next request. A request costs the broker far more than an event.
            "linger.ms": 0,
            "max.in.flight.requests.per.connection": 1,
            "compression.type": "lz4",
            "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
        }
        self._shut_out: KafkaError | None = None
        self._producer, self._made_at_s = Producer(self._options), time.monotonic()
        self._loop: asyncio.AbstractEventLoop
        self._delivered: deque[tuple[asyncio.Future[None], KafkaError | None]] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="kafka-events", daemon=True)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Send what is under way, for a few seconds, and stop."""
        with contextlib.suppress(KafkaException):  # shut out at the last moment
            await asyncio.to_thread(self._producer.flush, FLUSH_S)
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    async def append(
        self, topic: str, key: bytes | None, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Returns when every replica in sync has it. Raises `Unavailable` and `OutcomeUnknown`."""
        done: asyncio.Future[None] = self._loop.create_future()

        def delivered(error: KafkaError | None, _: Message) -> None:
            self._delivered.append((done, error))

        try:
            self._producer.produce(
                topic, body, key, on_delivery=delivered, headers=None if headers is None else dict(headers)
            )
        except BufferError as error:
            raise Unavailable("too many events wait for Kafka") from error
        except KafkaException as error:
            raise write_failed(of(error)) from error
        await done

    def _serve(self) -> None:
        """The driver calls back from here, for everything that one answer of a broker is about; the event loop is woken
        once for all of it.
        """
        while not self._stopping.is_set():
            self._poll(0.1)
            self._tell()
            if self._shut_out is not None and time.monotonic() >= self._made_at_s + RENEW_EVERY_S:
                self._renew(self._shut_out)
        self._tell()

    def _poll(self, wait_s: float) -> None:
        """Have the driver call back. It raises from here what shuts the producer out, and nothing else."""
        try:
            self._producer.poll(wait_s)
        except KafkaException as error:
            self._shut_out = of(error)

    def _renew(self, error: KafkaError) -> None:
        """The producer takes and sends nothing any more: have another one."""
        log.error("Kafka has shut this producer out, and another one goes on: %s", words(error))
        ended, self._shut_out = self._producer, None
        self._made_at_s = time.monotonic()
        try:
            self._producer = Producer(self._options)
            ended.purge()
            ended.flush(FLUSH_S)  # whoever waits for what was purged is told
        except KafkaException as failure:
            log.error("the producer could not be replaced: %s", words(of(failure)))
            self._shut_out = error if self._producer is ended else None
        self._tell()

    def _tell(self) -> None:
        if self._delivered:
            told = [self._delivered.popleft() for _ in range(len(self._delivered))]
            self._loop.call_soon_threadsafe(_resolve, told)


def _resolve(told: "list[tuple[asyncio.Future[None], KafkaError | None]]") -> None:
    for done, error in told:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(write_failed(error))
