"""Somebody empties Redis while a window is open: the notifier goes back in the log by itself, and the owner is told."""

from random import Random

import pytest

from plaudit.adapters.redis.batches import watch_key
from plaudit.adapters.redis.kept import KEYS
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.cluster import migrate_engines
from plaudit.bootstrap.engines import engines
from plaudit.bootstrap.letters import letters
from plaudit.bootstrap.workers import working
from plaudit.domain.catalogue import Catalogue, Registration
from plaudit.domain.cell import Rules
from plaudit.services.alter import Alter
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.directory import CellDirectory
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.propose import Proposer
from plaudit.settings import Settings
from plaudit.telemetry import Metrics
from tests.engines.cassandra import Cassandra
from tests.engines.kafka import Kafka
from tests.engines.redis import Redis
from tests.support.cassandra import fresh_target
from tests.support.cluster import settings_of
from tests.support.redis import emptied
from tests.support.taps import LIKE, set_to
from tests.support.wait import happens

pytestmark = pytest.mark.timeout(300)


async def test_a_window_that_redis_forgot_is_told_all_the_same(
    cassandra: Cassandra, kafka: Kafka, redis: Redis, anyio_backend: str
) -> None:
    settings = Settings(**settings_of(cassandra, kafka, redis), notification_windows_s=[6])
    await migrate_engines(settings)
    clock, metrics = SystemClock(), Metrics()
    target, owner = fresh_target(), fresh_target()
    async with engines(settings, clock) as held, letters(held) as post:
        near = NearCache(held.lists, Catalogue(), entries=10, public=True)
        proposer = Proposer(held.cells, Known(), clock, Rules(Catalogue()))
        committer = CellCommitter(proposer, near, clock, metrics, Random(0), held.publish)
        directory = CellDirectory(
            Alter(held.cells, held.publish, clock, Random(0)), held.users, held.users, clock
        )
        async with working(settings, held, ["notify"], clock, metrics):
            # Its group is joined when the first event has come through, which may take longer than a window is open.
            other = fresh_target()
            await directory.register(other, Registration(type="post", owner=fresh_target()))
            await committer.submit(other, set_to("ann", LIKE))

            async def heard() -> bool:
                return None not in await held.redis.mget([watch_key(other)])

            await happens(heard, "the notifier hears of taps")
            await directory.register(target, Registration(type="post", owner=owner))
            await committer.submit(target, set_to("ann", LIKE))

            async def open_and_watched() -> bool:
                return None not in await held.redis.mget([watch_key(target), *KEYS])

            async def told() -> bool:
                return bool(await post.inbox.page(owner, None, 10))

            await happens(open_and_watched, "a window is open")
            emptied(redis)
            assert not await told()
            await happens(told, "the owner is told")
        await committer.drain()
        [message] = await post.inbox.page(owner, None, 10)
        assert message.sample == (("ann", LIKE),)
        assert metrics.consumer_replays["notify"] >= 1, "one master was emptied after the other"
