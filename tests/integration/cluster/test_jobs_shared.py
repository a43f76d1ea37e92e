"""Who carries out jobs: of two in one process, as in `serve --all`, one; and whoever is there goes on with them."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import engines
from plaudit.bootstrap.letters import letters
from plaudit.bootstrap.removing import Removing, removing
from plaudit.domain.catalogue import Catalogue, Registration
from plaudit.ports.ledger import Target
from plaudit.services.near import NearCache
from plaudit.settings import Settings
from plaudit.telemetry import Metrics
from tests.engines.cassandra import Cassandra
from tests.engines.kafka import Kafka
from tests.engines.redis import Redis
from tests.support.cassandra import fresh_target, open_session
from tests.support.cluster import settings_of
from tests.support.notifying import message
from tests.support.wait import happens, until

pytestmark = pytest.mark.timeout(300)

Step = Callable[[str, int], Awaitable[dict[str, Target]]]


async def test_a_job_is_carried_out_by_one_of_two_in_one_process(
    cassandra: Cassandra, kafka: Kafka, redis: Redis, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    settings = Settings(**settings_of(cassandra, kafka, redis))
    async with open_session(cassandra, keyspace=settings.cassandra_keyspace):
        pass  # the schema
    at_work: list[str] = []
    asked: list[bool] = []  # whether the other one may
    go_on = asyncio.Event()

    def working(one: Removing, name: str) -> None:
        async def erase_some(user: str, limit: int, job_id: str = "") -> dict[str, Target]:
            at_work.append(name)
            await go_on.wait()
            return {}

        monkeypatch.setattr(one.removals, "erase_some", erase_some)

    async with engines(settings, SystemClock()) as held, letters(held) as post:
        near = NearCache(held.lists, Catalogue(), entries=10, public=True)
        async with removing(held, post, near, SystemClock(), Metrics()) as api:
            working(api, "api")
            await api.remove.erase_user(fresh_target())
            await until(lambda: bool(at_work), "the one it was told to is at it")
            async with removing(held, post, near, SystemClock(), Metrics(), look_every_s=0.05) as repair:
                working(repair, "repair")
                ask = repair.remove._ours

                async def ours(job_id: str) -> bool:
                    asked.append(await ask(job_id))
                    return asked[-1]

                monkeypatch.setattr(repair.remove, "_ours", ours)
                await until(lambda: bool(asked), "the other one sees it too")
                assert (asked[0], at_work) == (False, ["api"])
                go_on.set()


class Ahead(SystemClock):
    """A clock that a test moves."""

    by_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.by_us


async def test_a_deletion_goes_on_until_nobody_can_tell_of_its_target(
    cassandra: Cassandra, kafka: Kafka, redis: Redis, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plaudit.services.remove.LEASE_S", 5)
    settings = Settings(**settings_of(cassandra, kafka, redis))
    async with open_session(cassandra, keyspace=settings.cassandra_keyspace):
        pass  # the schema
    clock, target, owner, at = Ahead(), fresh_target(), fresh_target(), Ahead().now_us()
    async with engines(settings, SystemClock()) as held, letters(held) as post:
        near = NearCache(held.lists, Catalogue(), entries=10, public=True)

        async def told() -> bool:
            return len(await post.inbox.page(owner, None, 10)) == 1

        async def nothing_told() -> bool:
            return not await told()

        async def ended() -> bool:
            found = await held.jobs.get(job.id)
            return found is not None and found.state == "done"

        async with removing(held, post, near, clock, Metrics()) as begun:
            await begun.directory.register(target, Registration(type="post", owner=owner))
            await post.inbox.put([message("early", owner, at, target=target)], [], at)
            job = await begun.remove.delete_target(target)
            await happens(nothing_told, "what was told is taken back")
        await post.inbox.put([message("late", owner, at, target=target)], [], at)
        assert await told()
        assert not await ended()
        clock.by_us = 101_000_000
        async with removing(held, post, near, clock, Metrics(), look_every_s=0.05):
            await happens(ended, "another process ends it")  # the lease of the first, too
        assert await nothing_told()
        assert await post.owners.of(target) == []
