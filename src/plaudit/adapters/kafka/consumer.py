"""Reading the topic of events as one of a group.

The driver's consumer lives on a thread of its own, so that the event loop never waits for it, and is called by it for
rebalances. The driver calls back only while it is polled, so between two polls nothing is taken away; and what was
marked by then is committed before a partition goes to somebody else.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Self, TypeVar

import confluent_kafka
from confluent_kafka import OFFSET_END, KafkaError, KafkaException, Message, TopicPartition

from plaudit.adapters.kafka.config import KafkaConfig, Options
from plaudit.adapters.kafka.errors import PASSING, of, read_failed, words
from plaudit.ports.consumer import Claim, Mark, Record

log = logging.getLogger("plaudit.kafka")

T = TypeVar("T")

COMMIT_EVERY_S = 1.0
ASK_S = 5.0  # a question that is not answered by then has failed
SAY_EVERY_S = 60.0  # the driver tells the same of each broker that is away, every second
PREFETCH_KIB = 16 * 1024  # of all partitions together; one may exceed it by its last fetch
FETCH_BYTES = 1024 * 1024  # of one partition at a time
# The broker answers when there is so much to fetch, or after so long: an answer for every event would cost broker and
# consumer far more than the events themselves, and what is derived from them may be a moment old.
FETCH_MIN_BYTES = 128 * 1024
FETCH_WAIT_MS = 100


def options(config: KafkaConfig, group: str, session_s: float, silent_s: float) -> Options:
    """What the driver is told, and why where it is not its default."""
    found: Options = {
        **config.options(),
        "group.id": group,
        "group.protocol": config.group_protocol,
        "auto.offset.reset": "earliest",  # a new group sees everything
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "max.poll.interval.ms": round(silent_s * 1000),
        "queued.max.messages.kbytes": PREFETCH_KIB,
        "queued.min.messages": 1000,  # by default 100,000 of each partition
        "fetch.message.max.bytes": FETCH_BYTES,
        "fetch.max.bytes": 8 * FETCH_BYTES,
        "fetch.min.bytes": FETCH_MIN_BYTES,
        "fetch.wait.max.ms": FETCH_WAIT_MS,
        "fetch.queue.backoff.ms": 50,  # by default a full queue rests for a second
        "topic.metadata.refresh.interval.ms": 60_000,  # new partitions are noticed within a minute
    }
    if config.group_protocol == "classic":  # with the other one these are the brokers' to say
        found |= {
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": round(session_s * 1000),
            "heartbeat.interval.ms": round(min(3.0, session_s / 3) * 1000),
        }
    return found


class KafkaConsumer:
    """See `plaudit.ports.consumer.Consumer`; use as an async context manager.

    `session_s`: how long the group waits for a process that says nothing before its partitions go to others (with the
    protocol `consumer` the brokers say it); `silent_s`: how long for one that lives and does not poll.
    """

    def __init__(
        self, config: KafkaConfig, group: str, *, session_s: float = 10.0, silent_s: float = 300.0
    ) -> None:
        self._topic = config.topic
        self._options = options(config, group, session_s, silent_s)
        self._driver: confluent_kafka.Consumer
        # One thread: calls of the driver never overlap, and its callbacks run there too.
        self._thread = ThreadPoolExecutor(1, f"kafka-{group}")
        self._turns = count(1)
        self._claims: dict[int, Claim] = {}  # replaced, never changed: the event loop reads it at any time
        self._joined = False
        self._marks: dict[int, Mark] = {}
        self._committed: dict[int, Mark] = {}
        self._commit_at_s = 0.0
        self._paused: set[int] = set()
        self._kept: list[Record] = []
        self._error: KafkaError | None = None
        self._say_again_s: dict[int, float] = {}  # by the error's code

    async def __aenter__(self) -> Self:
        """Ask the group to take us in, and do not wait for it. Raises `Unavailable`."""
        await self._call(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Store the marks and leave the group; others take over at once."""
        try:
            await self._call(self._close)
        finally:
            self._thread.shutdown()

    @property
    def assignment(self) -> Mapping[int, Claim] | None:
        return self._claims if self._joined else None

    async def poll(self, limit: int, wait_s: float) -> Sequence[Record]:
        return await self._call(lambda: self._poll(limit, wait_s))

    def mark(self, marks: Mapping[int, Mark]) -> None:
        self._marks = {**self._marks, **marks}

    async def seek(self, positions: Mapping[int, int]) -> None:
        await self._call(lambda: self._seek(positions))

    async def ends(self) -> Mapping[int, int]:
        return await self._call(self._ends)

    async def _call(self, what: Callable[[], T]) -> T:
        """Have the thread do it. Raises `Unavailable` and `Conflict` for what the driver raises."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, what)
        except KafkaException as error:
            raise read_failed(of(error)) from error

    # What follows runs on the thread.

    def _open(self) -> None:
        self._driver = confluent_kafka.Consumer(
            {**self._options, "error_cb": self._on_error, "on_commit": self._on_commit}
        )
        self._driver.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _close(self) -> None:
        self._commit(self._claims, wait=True)
        self._driver.close()  # calls _on_revoke once more, which finds nothing left to store

    def _poll(self, limit: int, wait_s: float) -> list[Record]:
        self._error = None
        if limit:
            self._resume()
        else:
            self._pause()
        found, self._kept = self._kept, []
        first = self._driver.poll(0 if found else wait_s)
        if first is not None:
            found += self._records([first])
            if len(found) < limit:
                found += self._records(self._driver.consume(limit - len(found), 0))
        # One that came before its partition went.
        found = [record for record in found if self._is_ours(record)]
        self._joined = self._joined or bool(self._driver.memberid())
        if time.monotonic() >= self._commit_at_s:
            self._commit(self._claims, wait=False)
        self._kept = found[limit:]
        if self._error is not None and not found:
            raise read_failed(self._error)
        return found[:limit]

    def _records(self, messages: Sequence[Message]) -> list[Record]:
        found = []
        for message in messages:
            partition, offset = message.partition(), message.offset()
            if (error := message.error()) is not None:
                self._on_error(error)
            elif partition in self._claims and offset is not None and partition is not None:
                turn, at_us = self._claims[partition].turn, message.timestamp()[1] * 1000
                found.append(Record(partition, turn, offset, at_us, message.key(), message.value() or b""))
        return found

    def _is_ours(self, record: Record) -> bool:
        claim = self._claims.get(record.partition)
        return claim is not None and claim.turn == record.turn

    def _pause(self) -> None:
        if fresh := self._claims.keys() - self._paused:
            self._driver.pause(self._places(fresh))
            self._paused |= fresh

    def _resume(self) -> None:
        if self._paused:
            self._driver.resume(self._places(self._paused))
            self._paused = set()

    def _seek(self, positions: Mapping[int, int]) -> None:
        self._kept = [record for record in self._kept if record.partition not in positions]
        for partition, position in positions.items():
            if partition in self._claims:
                self._driver.seek(TopicPartition(self._topic, partition, position))

    def _ends(self) -> dict[int, int]:
        if not self._claims:
            return {}
        asked = [TopicPartition(self._topic, partition, OFFSET_END) for partition in self._claims]
        answered = self._driver.offsets_for_times(asked, timeout=ASK_S)
        return {place.partition: place.offset for place in answered if place.error is None}

    def _commit(self, partitions: Mapping[int, object], *, wait: bool) -> None:
        """Store what these partitions' marks say and the group does not know yet. What fails is tried again later: a
        mark that was not stored costs a repetition and no more."""
        fresh = {
            partition: mark
            for partition, mark in self._marks.items()
            if partition in partitions and self._committed.get(partition) != mark
        }
        if not fresh:
            return
        self._commit_at_s = time.monotonic() + COMMIT_EVERY_S
        # Beside the position that the next owner begins at: how far the work is, for whoever asks for the lag.
        places = [
            TopicPartition(self._topic, partition, mark.keep, metadata=str(mark.done))
            for partition, mark in fresh.items()
        ]
        self._committed |= fresh
        try:
            if wait:
                self._driver.commit(offsets=places, asynchronous=False)
            else:
                self._driver.commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            self._on_commit(of(error), places)

    def _on_commit(self, error: KafkaError | None, places: Sequence[TopicPartition]) -> None:
        for place in places:
            if error is not None or place.error is not None:
                self._committed.pop(place.partition, None)
        if error is not None:
            log.info("positions are stored later: %s", words(error))

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() not in PASSING:
            self._error = error
        now_s = time.monotonic()
        if now_s >= self._say_again_s.get(error.code(), 0.0):
            self._say_again_s[error.code()] = now_s + SAY_EVERY_S
            log.info("Kafka: %s", words(error))

    def _on_assign(self, driver: confluent_kafka.Consumer, places: list[TopicPartition]) -> None:
        self._joined = True
        try:
            starts = {place.partition: place for place in driver.committed(places, timeout=ASK_S)}
        except KafkaException:
            starts = {}  # the driver asks itself, for as long as it takes
        claims = dict(self._claims)
        for place in places:
            known = starts.get(place.partition)
            start = known.offset if known is not None and known.error is None and known.offset >= 0 else None
            if start is not None:
                place.offset = start
            claims[place.partition] = Claim(next(self._turns), start)
        driver.incremental_assign(places)
        self._claims = claims
        log.info("took over %s partitions, %s in all", len(places), len(claims))

    def _on_revoke(self, _: confluent_kafka.Consumer, places: list[TopicPartition]) -> None:
        self._commit({place.partition: None for place in places}, wait=True)
        self._let_go(places)

    def _on_lost(self, _: confluent_kafka.Consumer, places: list[TopicPartition]) -> None:
        log.warning("lost %s partitions: the group did not hear from us", len(places))
        self._let_go(places)

    def _let_go(self, places: list[TopicPartition]) -> None:
        gone = {place.partition for place in places}
        if resumed := gone & self._paused:
            self._driver.resume(self._places(resumed))  # or it would still be paused when it comes back
        self._paused -= gone
        self._claims = {
            partition: claim for partition, claim in self._claims.items() if partition not in gone
        }
        self._marks = {partition: mark for partition, mark in self._marks.items() if partition not in gone}
        self._committed = {at: mark for at, mark in self._committed.items() if at not in gone}

    def _places(self, partitions: "set[int]") -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions]
