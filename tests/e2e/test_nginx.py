"""Three API processes behind nginx, one of them killed and brought back while people toggle.

Each client knows what it was told last, so it sees by the next answer whether a tap was lost or counted twice; at the
end every row and every total is held against that. nginx writes down which process each request went to.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import engines
from plaudit.client import AsyncClient
from plaudit.domain.catalogue import NONE
from plaudit.domain.lanes import lane_of, merge, seal
from plaudit.ports.cells import CellKey, Cells, Proposal
from plaudit.services.lanes import SplitCells, headers
from plaudit.settings import Settings
from tests.engines.cassandra import Cassandra
from tests.engines.kafka import Kafka
from tests.engines.node import Node
from tests.engines.redis import Redis
from tests.support.api import fresh
from tests.support.cluster import START_WITHIN_S, environment, migrate, settings_of
from tests.support.nginx import Nginx
from tests.support.server import ServerProcess
from tests.support.wait import until

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("nginx")]

APIS = 3
LANES = 4
USERS = 24
PAUSE_S = 0.01
SILENT_LOOKS = 30  # of a hundredth of a second each: looks, because time also passes where the machine stalls
WITHIN_S = 60.0

Owners = dict[str, set[int]]


class Site(NamedTuple):
    """nginx, what is behind it, the broker, and the settings that all have in common."""

    nginx: Nginx
    log: Node
    apis: list[ServerProcess]
    settings: dict[str, Any]

    def owners(self, since: int) -> Owners:
        """Which processes the taps went to, by what nginx chose them by, from that line of its log on."""
        found: Owners = defaultdict(set)
        for _, owner, ports in self.nginx.log[since:]:
            if owner:
                found[owner].update(ports)
        return dict(found)


@pytest.fixture
def site(cassandra: Cassandra, kafka: Kafka, redis: Redis, tmp_path: Path) -> Iterator[Site]:
    settings = settings_of(cassandra, kafka, redis)
    env = environment(settings)
    migrate(tmp_path, env)
    apis = [ServerProcess(tmp_path / f"api{n}", env=env) for n in range(APIS)]
    with ThreadPoolExecutor(APIS) as threads:
        try:
            list(threads.map(partial(ServerProcess.start, within_s=START_WITHIN_S), apis))
            with Nginx(tmp_path / "nginx", [api.port for api in apis], owners=True, workers=2) as nginx:
                yield Site(nginx, kafka.nodes[0], apis, settings)
        finally:
            list(threads.map(ServerProcess.kill, apis))


class People:
    """Users who toggle one target after the other, and what each was told last."""

    def __init__(self, client: AsyncClient, targets: list[str]) -> None:
        self._client = client
        self.targets = targets
        self.users = [fresh("u") for _ in range(USERS)]
        self.given: dict[tuple[str, str], str | None] = {}
        self.answered = 0
        self.replayed = 0  # answers to a tap that was stored before
        self._stop = False

    async def toggle(self, user: str, target: str) -> None:
        """Once. Raises what the client raises, and `AssertionError` where the answer does not go on from the last."""
        before = self.given.get((user, target))
        told = await self._client.toggle(target, "like" if before is None else before, user=user)
        after = "like" if before is None else None
        assert (told.previous, told.reaction) == (before, after), f"{user} on {target}: {told}"
        self.given[user, target] = after
        self.answered += 1
        self.replayed += told.replayed

    async def silence(self) -> None:
        """Wait until nobody was answered from look to look."""
        looks, answered = 0, self.answered
        while looks < SILENT_LOOKS:
            await asyncio.sleep(0.01)
            looks, answered = (looks + 1 if answered == self.answered else 0), self.answered

    async def each_once(self) -> None:
        """Everybody on every target: from then on the routes are known."""
        await asyncio.gather(*(self._round(user) for user in self.users))

    async def _round(self, user: str) -> None:
        for target in self.targets:
            await self.toggle(user, target)

    async def _live(self, user: str) -> None:
        while not self._stop:
            await self._round(user)
            await asyncio.sleep(PAUSE_S)

    @asynccontextmanager
    async def toggling(self) -> AsyncIterator[None]:
        """All the time, until the block ends and everybody has their last answer."""
        async with asyncio.TaskGroup() as tasks:
            for user in self.users:
                tasks.create_task(self._live(user))
            try:
                yield
            finally:
                self._stop = True

    async def progress(self, taps: int) -> None:
        """Wait until so many more were answered."""
        goal = self.answered + taps
        await until(lambda: self.answered >= goal, f"{taps} more taps", within_s=WITHIN_S)

    def count(self, target: str) -> int:
        """How many have given a reaction to it, as they were told."""
        return sum(self.given[user, target] is not None for user in self.users)


async def split(cells: Cells, target: str) -> None:
    """Seal its root."""
    state = await cells.settle(CellKey(target), ())
    assert state.header is not None
    assert await cells.propose(CellKey(target), Proposal(state.seq, seal(state.header, LANES), {}))


async def stored(cells: Cells, target: str, user: str, *, lanes: int) -> int:
    """The reaction in a user's row."""
    key = CellKey(target, lane_of(user, lanes)) if lanes > 1 else CellKey(target)
    row = (await SplitCells(cells).settle(key, (user,))).rows.get(user)
    return row.reaction if row is not None else NONE


async def total(cells: Cells, target: str, *, lanes: int) -> int:
    """What the headers say."""
    if lanes > 1:
        return merge(*await headers(cells, target)).total
    header = (await cells.settle(CellKey(target), ())).header
    return header.total if header is not None else 0


async def test_a_cell_has_one_process_and_no_tap_is_lost_with_it(site: Site) -> None:
    big, *plain = targets = [fresh("big:"), *(fresh("post:") for _ in range(5))]
    service = site.apis[0].token(None, service=True)
    async with (
        engines(Settings(**site.settings), SystemClock()) as held,
        AsyncClient(site.nginx.url, service) as client,
    ):
        await client.register_target(big)
        await split(held.cells, big)
        people = People(client, targets)
        await people.each_once()
        async with people.toggling():
            first = await owned(site, people, 300)
            lanes = {f"{big}/{lane}" for lane in range(1, LANES + 1)}
            assert first.keys() == lanes | set(plain)
            assert {len(ports) for ports in first.values()} == {1}, f"one process for each cell: {first}"

            # Who has most of what people tap on: a lane has only its own users.
            weights = Counter[int]()
            for owner, (port,) in first.items():
                weights[port] += 1 if owner in lanes else LANES
            victim = next(api for api in site.apis if api.port == weights.most_common(1)[0][0])
            since = len(site.nginx.log)
            # Taps are answered when their event is in the log: what is stored by now is never answered by the process
            # that stored it, and has to be found again by its key.
            site.log.freeze()
            try:
                await people.silence()  # everybody waits for the log
                victim.kill()
            finally:
                site.log.thaw()
            await people.progress(300)
            assert people.replayed, "nothing was under way that could have counted twice"
            others = {owner: ports for owner, ports in first.items() if ports != {victim.port}}
            seen = site.owners(since)
            assert {owner: seen[owner] for owner in others} == others, "whose process is there keeps it"
            await asyncio.to_thread(victim.start)

            async with asyncio.timeout(WITHIN_S):
                while await owned(site, people, 300) != first:
                    pass
        for target in targets:
            of = LANES if target == big else 1
            rows = [await stored(held.cells, target, user, lanes=of) != NONE for user in people.users]
            assert rows == [people.given[user, target] is not None for user in people.users]
            assert await total(held.cells, target, lanes=of) == people.count(target)


async def owned(site: Site, people: People, taps: int) -> Owners:
    """Which processes the next taps go to."""
    since = len(site.nginx.log)
    await people.progress(taps)
    return site.owners(since)
