"""A whole cluster in real processes, with a hand on every one of them and an eye on every store."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plaudit.adapters.cassandra import CassandraCounts, CassandraSweep
from plaudit.adapters.kafka import KafkaAdmin
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import Engines, engines, kafka_config
from plaudit.settings import Settings
from tests.engines.cassandra import Cassandra
from tests.engines.kafka import Kafka
from tests.engines.redis import Redis
from tests.support.cassandra import open_session
from tests.support.cassandra_notices import Notices, notices
from tests.support.channels import Channels
from tests.support.cluster import ROLES, START_WITHIN_S, environment, settings_of
from tests.support.provider import OUTSIDE
from tests.support.server import PLAUDIT, ServerProcess

if TYPE_CHECKING:
    from tests.faults.in_hand import Undone

APIS = 2
LANES = 32
SETTINGS = {"split": "auto", "lanes": LANES, "notification_windows_s": [2]}
ROOT = Path(__file__).parents[2]
# The service itself, which splits a target and dies when the tests say so.
DYING = (sys.executable, "-m", "tests.faults.dying")
# The notifier itself, which dies at a step of a message when the tests say so.
TELLING = (sys.executable, "-m", "tests.faults.telling")


@dataclass(frozen=True)
class Processes:
    """The engines, and Plaudit's own processes on them."""

    cassandra: Cassandra
    kafka: Kafka
    redis: Redis
    settings: dict[str, Any]
    apis: list[ServerProcess]
    workers: dict[str, ServerProcess]
    channels: Channels
    folder: Path

    @property
    def all(self) -> list[ServerProcess]:
        """Plaudit's own."""
        return [*self.apis, *self.workers.values()]

    def worker(self, role: str, place: str) -> ServerProcess:
        """One more of a role."""
        return _worker(self.settings, self.folder / place, role)

    def masters(self) -> list[int]:
        """Which nodes of Redis are masters now, by their places."""
        return [
            n
            for n, node in enumerate(self.redis.nodes)
            if node.running and "role:master" in self.redis.ask(n, "INFO", "replication")
        ]


@dataclass(frozen=True)
class Running:
    """The same, and connections of our own to every store."""

    processes: Processes
    held: Engines
    notices: Notices
    sweep: CassandraSweep
    counts: CassandraCounts
    chance: random.Random
    coming_back: list[Callable[[], None]] = field(
        default_factory=list
    )  # each waits for nodes that were killed
    in_hand: "list[Undone]" = field(
        default_factory=list
    )  # what workers had when they were killed, to be looked at

    async def settled(self) -> None:
        """Every node of every engine is back."""
        while self.coming_back:
            await asyncio.to_thread(self.coming_back[0])
            del self.coming_back[0]


def _environment(settings: Mapping[str, Any]) -> dict[str, str]:
    return environment(settings) | {"PYTHONPATH": str(ROOT)}


def _worker(settings: Mapping[str, Any], data: Path, role: str) -> ServerProcess:
    program = TELLING if role == "notify" else (str(PLAUDIT),)
    return ServerProcess(data, env=_environment(settings), worker=role, program=program)


@contextmanager
def started(cassandra: Cassandra, kafka: Kafka, redis: Redis, folder: Path) -> Iterator[Processes]:
    """API processes and a worker of each role. To be called by the thread that lives longest: engines end with it."""
    channels = Channels(folder / "channels", OUTSIDE)
    settings = settings_of(cassandra, kafka, redis) | SETTINGS | channels.settings
    asyncio.run(_migrated(cassandra, Settings(**settings)))
    env = _environment(settings)
    apis = [ServerProcess(folder / f"api{n}", env=env, program=DYING) for n in range(APIS)]
    workers = {role: _worker(settings, folder / role, role) for role in ROLES}
    running = Processes(cassandra, kafka, redis, settings, apis, workers, channels, folder)
    with ThreadPoolExecutor(len(running.all)) as threads:
        try:
            list(threads.map(partial(ServerProcess.start, within_s=START_WITHIN_S), running.all))
            yield running
        finally:
            list(threads.map(_end, running.all))


async def _migrated(cassandra: Cassandra, settings: Settings) -> None:
    """What `plaudit migrate` does, through one node: the driver waits for a round of gossip after each statement that
    may come to another node than the one before."""
    async with open_session(cassandra, 0, settings.cassandra_keyspace):
        await KafkaAdmin(kafka_config(settings)).create()


def _end(process: ServerProcess) -> None:
    """Gently, so that everything it should write when it stops is written."""
    if process.running:
        process.stop()


@asynccontextmanager
async def watched(running: Processes, seed: str) -> AsyncIterator[Running]:
    """With an eye on every store, and providers for pushes."""
    settings = Settings(**running.settings)
    async with (
        engines(settings, SystemClock()) as held,
        notices(held.session, SystemClock()) as opened,
        running.channels.served(),
        CassandraSweep(held.session) as sweep,
        CassandraCounts(held.session) as counts,
    ):
        yield Running(running, held, opened, sweep, counts, random.Random(seed))
