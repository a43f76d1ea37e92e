"""What counters in Redis cost: memory per target, client CPU per read and per applied event, and the near cache's hits.

`python -m benchmarks.counters [--targets 60000]` starts a Redis Cluster of its own and prints one table.
"""

import argparse
import asyncio
import platform
import random
import time
from collections.abc import Awaitable, Callable, Sequence

import uvloop

from plaudit.adapters.redis import RedisTotals, Session
from plaudit.adapters.redis.packed import pack, unpack
from plaudit.adapters.redis.totals import key
from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Header
from plaudit.domain.events import Committed
from plaudit.ports.ledger import Target
from plaudit.services.aging import AgingNearCache
from plaudit.services.near import NearCache
from tests.engines.redis import Redis
from tests.engines.running import Engines
from tests.support.redis import config, event

Get = Callable[[list[str]], Awaitable[list[bytes | None]]]
BORN_US = 1_760_000_000_000_000


def typical(n: int, seq: int = 1) -> Target:
    """A post with reactions of all six kinds and three newest reactors with ids of ten characters."""
    counts = (n % 900, n % 90, n % 40, n % 7, n % 3, n % 2)
    recent = tuple((f"u{n * 7 + i:09d}", 1 + i) for i in range(3))
    return Target(Header(seq, "post", counts, sum(counts), 0, BORN_US + n, recent))


async def memory(session: Session, ids: Sequence[str]) -> float:
    """Bytes that a target takes, with its key and its place in the table of keys."""
    told = await session.run([["MEMORY", "USAGE", key(id_)] for id_ in ids])
    return float(sum(told)) / len(told)


async def cost(what: str, work: Callable[[], Awaitable[object]], times: int, units: int = 1) -> None:
    """Print time and this process's CPU (all threads) per unit."""
    for _ in range(max(1, times // 10)):
        await work()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        await work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    per = 1e6 / times / units
    print(f"| {what} | {wall * per:.1f} | {cpu * per:.1f} |", flush=True)


async def reads(session: Session, ids: Sequence[str]) -> None:
    keys = [key(id_) for id_ in ids]
    for size in (1, 20, 100, 500):
        for name, get in (("the driver", session._mget), ("direct", session.mget)):

            async def read(get: Get = get, size: int = size) -> None:
                assert None not in await get(random.sample(keys, size))

            await cost(f"values, {size} a call by {name}, each", read, 20_000 // size, size)
    body = pack(typical(77).header or Header(), None)

    async def decode() -> None:
        for _ in range(1000):
            unpack(body)

    await cost("decoding alone, each", decode, 50, 1000)


async def writes(totals: RedisTotals, ids: Sequence[str]) -> None:
    seq = 1

    def newer(size: int) -> list[Committed]:
        nonlocal seq
        seq += 1
        return [event(id_, typical(n, seq)) for n, id_ in enumerate(random.sample(ids, size))]

    for size in (1, 20, 100, 500):

        async def apply(size: int = size) -> None:
            await totals.apply(newer(size))

        await cost(f"events applied, {size} a call, each", apply, max(20, 4000 // size), size)

    async def one_by_one() -> None:
        await asyncio.gather(*(totals.apply([one]) for one in newer(100)))

    await cost("events applied, 100 calls side by side, each", one_by_one, 40, 100)


async def near_caches(totals: RedisTotals, ids: Sequence[str]) -> None:
    class Counters:
        async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
            return await totals.get(ids)

    hot = list(ids[:1000])
    embedded = NearCache(Counters(), Catalogue(), entries=50_000, public=True)
    aging = AgingNearCache(
        Counters(), Catalogue(), entries=50_000, public=True, max_age_s=60, clock=SystemClock()
    )
    for name, near in (("embedded", embedded), ("aging", aging)):
        for start in range(0, len(hot), 100):
            await near.load(hot[start : start + 100])

        async def get(near: NearCache = near) -> None:
            look = near.get
            for id_ in hot:
                look(id_)

        await cost(f"near cache, {name}: a hit", get, 500, len(hot))

        async def load(near: NearCache = near) -> None:
            await near.load(hot[:20])

        await cost(f"near cache, {name}: 20 hits by `load`", load, 5000)


async def run(redis: Redis, targets: int) -> None:
    async with Session(config(redis)) as session:
        totals = RedisTotals(session)
        ids = [f"post:{n:09d}" for n in range(targets)]
        for start in range(0, targets, 2000):
            await totals.put({id_: typical(start + n) for n, id_ in enumerate(ids[start : start + 2000])})
        used = await memory(session, ids[::100])
        value = sum(len(pack(typical(n).header or Header(), None)) for n in range(1000)) / 1000
        version = redis.ask(0, "INFO", "server").partition("redis_version:")[2].split()[0]
        print(f"Python {platform.python_version()}, Redis {version}, {targets} targets")
        print(f"value {value:.0f} bytes, key {len(key(ids[0]))} bytes, in memory {used:.0f} bytes a target\n")
        print("| | µs | client CPU µs |\n|---|---|---|")
        await reads(session, ids)
        await writes(totals, ids)
        await near_caches(totals, ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=60_000)
    arguments = parser.parse_args()
    with Engines() as engines:
        uvloop.run(run(engines.redis(), arguments.targets))


if __name__ == "__main__":
    main()
