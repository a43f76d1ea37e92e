"""A feed over the real engines: a fixed number of back-end stages, and ledger reads for old targets alone."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
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

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("patient_redis")]

REACTORS = REACTIONS = 8_000
SECOND = 1_000_000
QUIET_S = 0.05
QUIET_TURNS = 200  # of the loop, after that: a machine that stalls lets time pass and nobody go on

_asking = ContextVar("asking", default=False)  # on behalf of the request that is looked at


class Stages:
    """Holds what is asked of Redis and Cassandra until nobody asks for more without an answer: then it is one stage,
    and all of it goes on. So what waits for another, for whatever reason, is in a later one."""

    def __init__(self) -> None:
        self.found: list[Counter[str]] = []
        self._held: list[tuple[str, asyncio.Future[None]]] = []
        self._under_way = 0

    async def turn(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make this call when its stage has come."""
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held.append((name, gate))
        await gate
        try:
            return await call()
        finally:
            self._under_way -= 1

    async def conduct(self) -> None:
        """Let stage after stage go on, for ever."""
        while True:
            held = len(self._held)
            await asyncio.sleep(QUIET_S)
            for _ in range(QUIET_TURNS):
                await asyncio.sleep(0)
            if held and held == len(self._held) and not self._under_way:
                self.found.append(Counter(name for name, _ in self._held))
                going, self._held = self._held, []
                self._under_way = len(going)
                for _, gate in going:
                    gate.set_result(None)


class Feeds(NamedTuple):
    """A service of the cluster profile, what its answers cost, and the engines under it."""

    api: Api
    asked: Counter[str]
    stages: Stages
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
        """The feed, and what was asked for it: calls of ports, and under `reads` the reads of Cassandra in them."""
        self.asked.clear()
        self.stages.found.clear()
        conducting = asyncio.create_task(self.stages.conduct())
        token = _asking.set(True)
        try:
            answer = await self.api.get(f"{FEED}?target_ids={','.join(targets)}", user=user)
        finally:
            _asking.reset(token)
            conducting.cancel()
        return answer, dict(self.asked)


@pytest.fixture
async def feeds(
    cassandra: Cassandra, kafka: Kafka, redis: Redis, tmp_path: Path, anyio_backend: str
) -> AsyncIterator[Feeds]:
    settings = Settings(**{**settings_of(cassandra, kafka, redis), "data": tmp_path})
    await migrate(settings)
    asked: Counter[str] = Counter()
    stages = Stages()
    opened: list[Engines] = []

    def count(store: Any, *, waits: bool = False, **methods: str) -> None:
        for method, name in methods.items():
            setattr(store, method, counted(getattr(store, method), name, waits=waits))

    def counted(method: Any, name: str, *, waits: bool) -> Any:
        async def call(*arguments: Any) -> Any:
            if not _asking.get():
                return await method(*arguments)
            asked[name] += 1
            if not waits:
                return await method(*arguments)
            return await stages.turn(name, lambda: method(*arguments))

        return call

    @asynccontextmanager
    async def watched(settings: Settings, clock: Clock) -> AsyncIterator[Engines]:
        async with engines(settings, clock) as held:
            count(held.lists, targets="headers", newest="list", states="ledger")
            count(held.users, get="names")
            count(held.totals, waits=True, get="totals")
            count(held.mine, waits=True, recall="own", begin="begin", finish="finish")
            count(held.indexed, waits=True, reached="reached")
            count(held.session, waits=True, read="reads")
            opened.append(held)
            yield held

    with (
        patch("plaudit.bootstrap.cluster.engines", watched),
        # Stages are held for longer than this would be.
        patch("plaudit.bootstrap.cluster.NEAR_MAX_AGE_S", 600.0),
    ):
        async with cluster(settings) as service:
            transport = httpx.ASGITransport(service.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://plaudit.test") as client:
                [held] = opened
                yield Feeds(Api(service, settings, client), asked, stages, held)


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
    # Of the targets, born after what is kept of the user, the ledger is asked nothing but their headers, ten at a time;
    # and so are names, of three users for each target.
    headers, names = {"reads": size // 10}, {"reads": 3 * size // 10}
    assert feeds.stages.found == [
        {"totals": 1, "own": 1},
        {"reached": 1, **headers},
        {"begin": 1},
        {"reads": 1},
        {"finish": 1},
        names,
    ]
    assert (asked["headers"], asked["list"], asked["names"]) == (1, 1, 1)
    answer, asked = await feeds.cost(user, young)
    assert feeds.stages.found == [{"own": 1}], "the near cache still has the totals"
    unseen = [await feeds.target(born=now) for _ in range(size)]
    await feeds.cost(user, unseen)
    assert feeds.stages.found == [{"totals": 1, "own": 1}, headers, names]


async def test_the_ledger_is_asked_for_own_state_on_old_targets_alone(feeds: Feeds) -> None:
    user = await much_reacted(feeds)
    now = SystemClock().now_us()
    young = [await feeds.target(born=now) for _ in range(20)]
    old = [await feeds.target(born=now - 9_000 * SECOND, user=user if n else None) for n in range(3)]
    await feeds.cost(user, young[:1])  # loads the user
    answer, asked = await feeds.cost(user, young[1:] + old)
    assert [answer["targets"][target]["reaction"] for target in old] == [None, "love", "love"]
    assert (asked["headers"], asked["ledger"], asked["names"]) == (1, 1, 1)
    headers, names = {"reads": 3}, {"reads": 7}  # of 22 targets and of 66 users, ten in one read
    assert feeds.stages.found == [{"totals": 1, "own": 1}, headers, {"reads": len(old)}, names]
