"""Consumers of the log that are not told the truth: what stands between the loop and the real handler distorts it."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal
from zlib import crc32

from plaudit.adapters.cassandra import CassandraIndex
from plaudit.adapters.kafka import KafkaConfig, KafkaConsumer, KafkaQuarantine
from plaudit.adapters.system import SystemClock
from plaudit.domain.events import Committed
from plaudit.ports.consumer import Handler, Mark
from plaudit.services.consume import Consume
from plaudit.services.index import IndexReactions
from plaudit.services.update_counters import UpdateCounters
from plaudit.telemetry import Metrics
from tests.faults.running import Running
from tests.support.wait import until

Kind = Literal["doubled", "dropped", "shuffled"]
KEPT = 200
HOLD_S = 1.0


class Distorted:
    """A handler in front of another: it may pass events on twice and later again, hold some back while others overtake
    them, and keep a third of them for itself."""

    def __init__(self, handler: Handler, kinds: Sequence[Kind], seed: str) -> None:
        self._handler = handler
        self._kinds = kinds
        self._seed = seed
        self._chance = random.Random(seed)
        self._seen: list[Committed] = []
        self._held: list[Committed] = []
        self.handled = 0

    async def handle(self, events: Sequence[Committed]) -> None:
        self.handled += len(events)
        if "dropped" in self._kinds:
            events = [event for event in events if not self._is_dropped(event)]
        if "doubled" in self._kinds:
            self._seen = [*self._seen, *events][-KEPT:]
            again = self._chance.sample(self._seen, len(self._seen) // 2)
            events = [*events, *events, *again]
        if "shuffled" not in self._kinds:
            await self._handler.handle(events)
            return
        self._held += events
        self._chance.shuffle(self._held)
        half = len(self._held) // 2
        now, self._held = self._held[:half], self._held[half:]
        for event in now:
            await self._handler.handle([event])

    async def hold(self) -> None:
        """Now and then pass on all that is held back, for ever."""
        while True:
            await asyncio.sleep(HOLD_S)
            late, self._held = self._held, []
            if late:
                await self._handler.handle(late)

    def _is_dropped(self, event: Committed) -> bool:
        """The same ones whenever they come; never one that repairs."""
        return event.cause == "tap" and crc32(f"{self._seed}/{event.target}/{event.seq}".encode()) % 3 == 0


class Follower(KafkaConsumer):
    """A consumer that remembers how far it came, and what handles its events."""

    def __init__(self, config: KafkaConfig, group: str, handler: Distorted) -> None:
        super().__init__(config, group)
        self.handler = handler
        self._done: dict[int, int] = {}

    def mark(self, marks: Mapping[int, Mark]) -> None:
        super().mark(marks)
        self._done |= {partition: mark.done for partition, mark in marks.items()}

    async def ends(self, partitions: int = 0) -> Mapping[int, int]:
        """Where the log ends, once so many partitions are ours."""
        await until(lambda: len(self.assignment or ()) >= partitions, "its partitions")
        return await super().ends()

    def passed(self, ends: Mapping[int, int]) -> bool:
        """Whether everything before these positions was handled."""
        return all(self._done.get(partition, 0) >= end for partition, end in ends.items())


@asynccontextmanager
async def consuming(
    running: Running, seed: str, kinds: Sequence[Kind] = (), suffix: str = ""
) -> AsyncIterator[list[Follower]]:
    """Counters and index consumed in this process, until the block ends; with a suffix, as groups of their own, which
    begin at the first event there is."""
    held, clock = running.held, SystemClock()
    followers: list[Follower] = []
    async with AsyncExitStack() as stack:
        lists = await stack.enter_async_context(CassandraIndex(held.session))
        index = IndexReactions(lists, held.mine, held.indexed, clock)
        roles: list[tuple[str, Handler, Callable[..., Awaitable[None]] | None]] = [
            ("counters", UpdateCounters(held.totals), None),
            ("index", index, index.reached),
        ]
        quarantine = await stack.enter_async_context(KafkaQuarantine(held.kafka))
        for role, handler, reached in roles:
            distorted = Distorted(handler, kinds, f"{seed}/{role}")
            follower = Follower(held.kafka, held.kafka.group(role) + suffix, distorted)
            followers.append(await stack.enter_async_context(follower))
            consume = Consume(
                follower,
                distorted,
                clock,
                Metrics(),
                role=role,
                quarantine=quarantine,
                reached=None if suffix else reached,
            )
            task = asyncio.create_task(consume.run())
            stack.push_async_callback(asyncio.wait, [task])
            await stack.enter_async_context(consume)
            holding = asyncio.create_task(distorted.hold())
            stack.callback(holding.cancel)
        yield followers
