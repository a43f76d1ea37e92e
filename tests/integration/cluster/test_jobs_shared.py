"""Two who carry out jobs in one process, as in `serve --all`, do not carry out the same one."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import engines
from plaudit.bootstrap.letters import letters
from plaudit.bootstrap.removing import Removing, removing
from plaudit.domain.catalogue import Catalogue
from plaudit.ports.ledger import Target
from plaudit.services.near import NearCache
from plaudit.settings import Settings
from tests.engines.cassandra import Cassandra
from tests.engines.kafka import Kafka
from tests.engines.redis import Redis
from tests.support.cassandra import fresh_target, open_session
from tests.support.cluster import settings_of
from tests.support.wait import until

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
        async def erase_some(user: str, limit: int) -> dict[str, Target]:
            at_work.append(name)
            await go_on.wait()
            return {}

        monkeypatch.setattr(one.removals, "erase_some", erase_some)

    async with engines(settings, SystemClock()) as held, letters(held) as post:
        near = NearCache(held.lists, Catalogue(), entries=10, public=True)
        async with removing(held, post, near, SystemClock()) as api:
            working(api, "api")
            await api.remove.erase_user(fresh_target())
            await until(lambda: bool(at_work), "the one it was told to is at it")
            async with removing(held, post, near, SystemClock(), look_every_s=0.05) as repair:
                working(repair, "repair")
                ask = repair.remove._ours

                async def ours(job_id: str) -> bool:
                    asked.append(await ask(job_id))
                    return asked[-1]

                monkeypatch.setattr(repair.remove, "_ours", ours)
                await until(lambda: bool(asked), "the other one sees it too")
                assert (asked[0], at_work) == (False, ["api"])
                go_on.set()
