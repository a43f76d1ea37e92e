"""A session on the tests' Redis Cluster. Tests share it and use targets of their own."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

from plaudit.adapters.redis import RedisConfig, Session
from plaudit.adapters.redis.direct import Values
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header
from plaudit.domain.errors import Unavailable
from plaudit.domain.events import Committed
from plaudit.ports.ledger import Target
from tests.engines.redis import Redis

_targets = count(1)


def config(redis: Redis) -> RedisConfig:
    """How to reach it: one node, which knows the others."""
    return RedisConfig([f"127.0.0.1:{redis.ports[0]}"])


class Watched:
    """A session, and the keys that were asked of the driver."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.direct: Any = session._direct
        self._driver = self.direct._driver
        self.direct._driver = self.ask
        self.asked: list[str] = []

    async def ask(self, keys: list[str]) -> Values:
        self.asked += keys
        return await self._driver(keys)

    async def connected(self, within_s: float = 60.0) -> None:
        """Once every slot has a connection."""
        deadline = time.monotonic() + within_s
        while any(wire is None or wire.lost for wire in self.direct._of_slot):
            assert time.monotonic() < deadline
            with suppress(Unavailable):
                await self.session.mget([f"{{{n}}}" for n in range(50)])
            await asyncio.sleep(0.02)
        self.asked.clear()


@asynccontextmanager
async def open_session(redis: Redis) -> AsyncIterator[Session]:
    """A session of its own."""
    async with Session(config(redis)) as session:
        yield session


def emptied(redis: Redis) -> Redis:
    """Without any key, for tests that look at all there is."""
    for node in range(len(redis.ports)):
        if "role:master" in redis.ask(node, "INFO", "replication"):
            redis.ask(node, "FLUSHALL")
    return redis


def fresh_target() -> str:
    """An id that no other test of this run has."""
    return f"c{next(_targets)}"


def state(seq: int, likes: int = 0, registration: Registration | None = None) -> Target:
    """A target after `seq` commits, as a reader sees it."""
    header = Header(seq, "post", (likes, 0, 2), likes + 2, 0, 1_760_000_000_000_000, (("ada", 1), ("bob", 3)))
    return Target(header, registration)


def event(target: str, state: Target, *, bucket: int = 0) -> Committed:
    """The event of the commit that left this state behind."""
    header, r = state.header, state.registration
    assert header is not None
    return Committed(
        target,
        bucket,
        header.type,
        header.lanes,
        "tap",
        header.seq,
        header.counts,
        header.rows,
        header.born,
        header.recent,
        (),
        header.deleted,
        None if r is None else (r.type, r.owner, r.title, r.closed, r.allowed),
    )


def master_of(redis: Redis, key: str, through: int = 0) -> int:
    """Which node, by its place, is the master of a key, as far as this one knows."""
    slot = int(redis.ask(through, "CLUSTER", "KEYSLOT", key))
    for line in redis.ask(through, "CLUSTER", "NODES").splitlines():
        fields = line.split()
        for first, _, last in (span.partition("-") for span in fields[8:]):
            if first.isdigit() and int(first) <= slot <= int(last or first):
                return redis.ports.index(int(fields[1].partition("@")[0].rpartition(":")[2]))
    raise AssertionError(f"nobody serves slot {slot}")
