"""A feed over the real engines: a fixed number of back-end stages, and ledger reads for old targets alone."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import httpx
import pytest

from plaudit.adapters.cassandra import CassandraIndex
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap import migrate
from plaudit.bootstrap.cluster import cluster
from plaudit.bootstrap.engines import Engines, engines
from plaudit.domain.cell import Header, Row, Transition
from plaudit.domain.events import Committed
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.clock import Clock
from plaudit.settings import Settings
from tests.engines.cassandra import Cassandra
from tests.engines.kafka import Kafka
from tests.engines.redis import Redis
from tests.support.api import FEED, Api, fresh
from tests.support.cluster import PARTITIONS, settings_of

pytestmark = pytest.mark.timeout(300)

REACTORS = REACTIONS = 8_000
SECOND = 1_000_000


class Feeds(NamedTuple):
    """A service of the cluster profile, what its answers cost, and the engines under it."""

    api: Api
    asked: Counter[str]
    held: Engines

    async def target(self, born: int, user: str | None = None) -> str:
        """A target with 8,000 reactors, of whom three are shown; this user may be one of them."""
        target = fresh("feed")
        recent = tuple((fresh("shown"), 1) for _ in range(3))
        header = Header(REACTORS, "post", (REACTORS,), REACTORS, born + SECOND, born, recent)
        rows = {} if user is None else {user: Row(2, born, born, b"")}
        # One commit of many: what a feed reads of the others is in the header.
        assert await self.held.cells.propose(CellKey(target), Proposal(0, header, rows))
        return target

    async def cost(self, user: str, targets: list[str]) -> tuple[dict[str, Any], dict[str, int]]:
        """The feed, and what was asked for it: calls that are each at most one stage, and under `reads` the reads of
        Cassandra in them."""
        self.asked.clear()
        answer = await self.api.get(f"{FEED}?target_ids={','.join(targets)}", user=user)
        return answer, dict(self.asked)


@pytest.fixture
async def feeds(
    cassandra: Cassandra, kafka: Kafka, redis: Redis, tmp_path: Path, anyio_backend: str
) -> AsyncIterator[Feeds]:
    settings = Settings(**{**settings_of(cassandra, kafka, redis), "data": tmp_path})
    await migrate(settings)
    asked: Counter[str] = Counter()
    opened: list[Engines] = []

    def count(store: Any, **methods: str) -> None:
        for method, name in methods.items():
            setattr(store, method, counted(getattr(store, method), name))

    def counted(method: Any, name: str) -> Any:
        async def call(*arguments: Any) -> Any:
            asked[name] += 1
            return await method(*arguments)

        return call

    @asynccontextmanager
    async def watched(settings: Settings, clock: Clock) -> AsyncIterator[Engines]:
        async with engines(settings, clock) as held:
            count(held.totals, get="totals")
            count(held.lists, targets="headers", newest="list", states="ledger", _rows="reads")
            count(held.lists, _cell="reads", _root_cells="reads")
            count(held.mine, recall="own", begin="begin", finish="finish")
            count(held.users, get="names")
            opened.append(held)
            yield held

    with patch("plaudit.bootstrap.cluster.engines", watched):
        async with cluster(settings) as service:
            transport = httpx.ASGITransport(service.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://plaudit.test") as client:
                [held] = opened
                yield Feeds(Api(service, settings, client), asked, held)


async def much_reacted(feeds: Feeds) -> str:
    """A user with 8,000 reactions, one a second until now, all of them in the lists."""
    user = fresh("reader")
    now = SystemClock().now_us()
    moves = [
        Committed(f"{user}:{n}", 0, "post", 1, "tap", 1, (1,), 1, at, (), (Transition(user, 0, 1, at, at),))
        for n, at in enumerate(range(now - REACTIONS * SECOND, now, SECOND))
    ]
    async with CassandraIndex(feeds.held.session) as index:
        await index.apply(moves)
    await feeds.held.indexed.reach(dict.fromkeys(range(PARTITIONS), now))
    return user


COLD = {"totals": 1, "headers": 1, "own": 1, "begin": 1, "list": 1, "finish": 1, "names": 1}


@pytest.mark.parametrize("size", [10, 100])
async def test_the_number_of_stages_does_not_depend_on_the_number_of_targets(feeds: Feeds, size: int) -> None:
    user = await much_reacted(feeds)
    now = SystemClock().now_us()
    young = [await feeds.target(born=now) for _ in range(size)]
    answer, asked = await feeds.cost(user, young)
    assert (answer["degraded"], len(answer["targets"])) == (False, size)
    assert all(item["counts"]["total"] == REACTORS for item in answer["targets"].values())
    assert {item["reaction"] for item in answer["targets"].values()} == {None}
    # Totals are not in Redis yet, the user was never loaded, nobody's name is known: everything is asked for, once.
    # Of the targets, born after what is kept of the user, the ledger is asked nothing but their headers, ten at a time.
    assert asked == {**COLD, "reads": size // 10 + 1}
    answer, asked = await feeds.cost(user, young)
    # Totals are asked for if they are older than the near cache shows them, and own state beside them.
    assert asked in ({"own": 1}, {"own": 1, "totals": 1})


async def test_the_ledger_is_asked_for_own_state_on_old_targets_alone(feeds: Feeds) -> None:
    user = await much_reacted(feeds)
    now = SystemClock().now_us()
    young = [await feeds.target(born=now) for _ in range(20)]
    old = [await feeds.target(born=now - 9_000 * SECOND, user=user if n else None) for n in range(3)]
    await feeds.cost(user, young[:1])  # loads the user
    answer, asked = await feeds.cost(user, young[1:] + old)
    assert [answer["targets"][target]["reaction"] for target in old] == [None, "love", "love"]
    headers = -(-(len(young) - 1 + len(old)) // 10)  # ten in one read
    assert asked == {
        "totals": 1,
        "headers": 1,
        "own": 1,
        "ledger": 1,
        "names": 1,
        "reads": headers + len(old),
    }
