"""Notifiers as the cluster has them: watches in Redis, what owners were told in Cassandra. Taps, registrations and
events are those of the embedded profile, whose log is handed over by the test."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plaudit.adapters.redis import RedisBatches, Session
from plaudit.domain.events import Committed, decode
from plaudit.domain.windows import Pace
from plaudit.ports.notifications import Notification
from plaudit.services.notifier import Notifier
from plaudit.services.tell import Sources, Tell
from plaudit.telemetry import Metrics
from tests.engines.cassandra import Cassandra
from tests.engines.redis import Redis
from tests.support import redis as redis_support
from tests.support.cassandra import open_session
from tests.support.cassandra_notices import Notices, emptied, notices
from tests.support.clock import ManualClock
from tests.support.stores import Stores, sqlite_stores

LATER_S = 31  # windows of 30 s have ended by then, and so have claims


class Died(BaseException):
    """A process ends here."""


class Dying:
    """A port that is there until so many calls were made, of all that share `left`; then the process is no more."""

    def __init__(self, port: Any, left: list[int], *, after: bool) -> None:
        self._port = port
        self._left = left
        self._after = after

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._port, name)

        async def made(*values: Any) -> Any:
            self._left[0] -= 1
            if self._left[0] == 0 and not self._after:
                raise Died
            answer = await call(*values)
            if self._left[0] == 0:
                raise Died
            return answer

        return made


@dataclass
class Shared:
    """What all notifiers share, and the events so far."""

    stores: Stores
    notices: Notices
    redis: Redis
    session: Session
    clock: ManualClock
    events: list[Committed] = field(default_factory=list)

    def notifier(self, *, dies_at: int = 0, after: bool = False, metrics: Metrics | None = None) -> Notifier:
        """A process of its own. With `dies_at` it dies before (or `after`) its so manieth call of a store that it
        writes to."""
        left = [dies_at]
        ports = (RedisBatches(self.session, self.clock), self.notices.inbox, self.notices.told)
        writers: list[Any] = [Dying(port, left, after=after) if dies_at else port for port in ports]
        batches, inbox, told = writers
        sources = Sources(
            self.stores.counters, self.stores.reactions, self.stores.directory, self.notices.audience, told
        )
        channels = ("webhook",)
        tell = Tell(
            batches,
            sources,
            inbox,
            self.clock,
            metrics or Metrics(),
            pace=Pace(),
            channels=channels,  # type: ignore[arg-type] # channels by name
        )
        return Notifier(tell, self.clock, grace_s=0)

    async def new_events(self) -> list[Committed]:
        """What was committed since the last call."""
        found: list[Committed] = []
        while lines := await self.stores.log.read("test", 1000):
            found += [decode(body) for _, body in lines]
            await self.stores.log.acknowledge("test", lines[-1][0])
        self.events += found
        return found

    async def inbox(self, owner: str) -> list[Notification]:
        """All of an owner's messages."""
        return await self.notices.inbox.page(owner, None, 500)

    def forget(self) -> None:
        """Redis has lost everything."""
        redis_support.emptied(self.redis)


async def drain(notifier: Notifier) -> None:
    """Close everything that has ended."""
    while await notifier.close():
        pass


def told(messages: Sequence[Notification]) -> int:
    """How many people these messages are about; nobody is in two of them."""
    people = [user for message in messages for user, _ in message.sample]
    assert len(people) == len(set(people)), "somebody is told twice"
    assert len({message.id for message in messages}) == len(messages)
    return sum(message.total for message in messages)


@asynccontextmanager
async def shared(
    cassandra: Cassandra, redis: Redis, folder: Path, clock: ManualClock
) -> AsyncIterator[Shared]:
    """Empty stores."""
    redis_support.emptied(redis)
    async with (
        sqlite_stores(folder, clock) as stores,
        open_session(cassandra) as session,
        redis_support.open_session(redis) as redis_session,
    ):
        await emptied(session)
        async with notices(session, clock) as opened:
            yield Shared(stores, opened, redis, redis_session, clock)
