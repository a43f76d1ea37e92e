"""The faults: what is done to a cluster under load, and what may be expected of it meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from functools import partial
from typing import NamedTuple

from plaudit.domain.errors import Unavailable
from tests.engines.node import Node
from tests.faults.distort import Kind, consuming
from tests.faults.in_hand import FANS, OWNED, Debts, InHand, Windows
from tests.faults.owned import Owned
from tests.faults.pushing import mean_no_good, provider_away
from tests.faults.running import Running
from tests.faults.telling import STEPS, Step
from tests.faults.under import Under
from tests.support.cluster import ROLES, START_WITHIN_S
from tests.support.server import ServerProcess
from tests.support.wait import happens

Around = Callable[[Running, str], AbstractAsyncContextManager[object]]


class Fault(NamedTuple):
    """`act` comes back when everything is up again. A quorum of Cassandra is up in all of them.

    `around`: what is different from before the load until after the check. `audited`: events are lost, and only an
    audit heals. `certain`: every request is answered, by what was done or a refusal, save one in each change at most,
    which met the closing of its connection half-way and was not taken in.
    """

    name: str
    act: Callable[[Under], Awaitable[None]]
    around: Around = lambda _running, _seed: nullcontext()
    audited: bool = False
    certain: bool = False


async def _bounce(under: Under, nodes: Sequence[Node], back: Callable[[], None], away_s: float = 0.0) -> None:
    """Kill nodes of an engine, and have them back."""
    await under.running.settled()
    for node in nodes:
        node.kill()
    await asyncio.sleep(away_s)
    await under.load.progress(under.timing.taps)
    for node in nodes:
        node.start()  # from this thread: it would end with another
    under.running.coming_back.append(back)
    if under.timing.patient:
        await under.running.settled()


async def _freeze(under: Under, nodes: Sequence[Node], back: Callable[[], None]) -> None:
    """Have one of these nodes stand still for a while."""
    await under.running.settled()
    node = under.running.chance.choice(nodes)
    node.freeze()
    try:
        await asyncio.sleep(under.timing.freeze_s)
    finally:
        node.thaw()
    under.running.coming_back.append(back)


async def kill_cassandra(under: Under) -> None:
    ring = under.running.processes.cassandra
    await _bounce(under, [under.running.chance.choice(ring.nodes)], ring.wait)


async def freeze_cassandra(under: Under) -> None:
    ring = under.running.processes.cassandra
    await _freeze(under, ring.nodes, ring.wait)


async def kill_broker(under: Under) -> None:
    kafka = under.running.processes.kafka
    await _bounce(under, [under.running.chance.choice(kafka.nodes)], kafka.wait)


async def freeze_broker(under: Under) -> None:
    kafka = under.running.processes.kafka
    await _freeze(under, kafka.nodes, kafka.wait)


async def kafka_away(under: Under) -> None:
    kafka = under.running.processes.kafka
    await _bounce(under, kafka.nodes, kafka.wait, under.timing.away_s)


async def kill_redis_master(under: Under) -> None:
    """It goes while windows are open; it comes back when a replica has its slots, and then follows it."""
    processes = under.running.processes
    await under.running.settled()
    windows = Owned(under.running, f"failover{under.seed}", OWNED)
    await windows.register()
    await windows.react([f"fan{n}-{windows.name}" for n in range(FANS)], windows.targets)
    before = processes.masters()
    master = under.running.chance.choice(before)
    processes.redis.nodes[master].kill()

    async def promoted() -> bool:
        return bool(set(await asyncio.to_thread(processes.masters)) - set(before))

    await happens(promoted, "a replica to be promoted")
    under.running.in_hand.append(windows)
    await under.load.progress(under.timing.taps)
    processes.redis.nodes[master].start()  # from this thread: it would end with another
    under.running.coming_back.append(processes.redis.wait)
    if under.timing.patient:
        await under.running.settled()


async def flush_redis(running: Running) -> None:
    for master in running.processes.masters():
        running.processes.redis.ask(master, "FLUSHALL")


async def _start(*processes: ServerProcess) -> None:
    """All at once."""
    await asyncio.gather(
        *(asyncio.to_thread(process.start, within_s=START_WITHIN_S) for process in processes)
    )


async def kill_api(under: Under) -> None:
    await _without_an_api(under, ServerProcess.kill)


async def stop_api(under: Under) -> None:
    await under.running.settled()
    await _without_an_api(under, _stopped)


def _stopped(process: ServerProcess) -> None:
    assert process.stop() == 0


async def _without_an_api(under: Under, end: Callable[[ServerProcess], None]) -> None:
    apis = under.running.processes.apis
    for _ in range(under.timing.changes // 2):
        n = under.running.chance.randrange(len(apis))
        with under.load.without(n):
            await asyncio.to_thread(end, apis[n])
            await under.load.progress(under.timing.taps // 2)
            await _start(apis[n])
        await under.load.progress(under.timing.taps)


async def kill_workers(under: Under, roles: Sequence[str], step: Step = "sent") -> None:
    """Each in the middle of its work; some have none of the crowd, and are given some. The notifier dies at a step of
    a message."""
    workers = under.running.processes.workers
    in_hand: dict[str, Callable[[], InHand]] = {
        "notify": lambda: Windows(under.running, under.seed, step),
        "repair": lambda: Debts(under.running, under.seed),
    }

    async def kill(role: str) -> None:
        if role not in in_hand:
            workers[role].kill()
            return
        work = in_hand[role]()
        await work.begin()
        workers[role].kill()
        await work.left()
        under.running.in_hand.append(work)

    await asyncio.gather(*map(kill, roles))
    await under.load.progress(under.timing.taps // 2)
    await _start(*(workers[role] for role in roles))


async def join_and_leave(under: Under) -> None:
    await asyncio.gather(_consumers_join(under), _notifiers_join(under))


async def _notifiers_join(under: Under) -> None:
    """While windows are open."""
    windows = Owned(under.running, f"joined{under.seed}", OWNED)
    await windows.register()
    another = under.running.processes.worker("notify", "another")
    try:
        for change in range(under.timing.changes // 2):
            await windows.react([f"fan{change}-before-{windows.name}"], windows.targets)
            await _start(another)
            await windows.react([f"fan{change}-after-{windows.name}"], windows.targets)
            await asyncio.to_thread(another.stop)
    finally:
        another.kill()
    under.running.in_hand.append(windows)


async def _consumers_join(under: Under) -> None:
    for _ in range(under.timing.changes):
        async with consuming(under.running, under.seed):
            await asyncio.sleep(under.timing.change_every_s)
        await asyncio.sleep(under.timing.change_every_s)


async def replay(under: Under) -> None:
    """Everything there was until now, the crowd's first taps among it, comes again beside what is new."""
    partitions = under.running.held.kafka.partitions
    async with consuming(under.running, under.seed, suffix=f".{under.seed}") as followers:
        ends: list[Mapping[int, int]] = []

        async def known() -> bool:
            with suppress(Unavailable):
                ends[:] = [await one.ends(partitions) for one in followers]
            return bool(ends)

        await happens(known, "where the log ends")

        async def replayed() -> bool:
            return all(one.passed(end) for one, end in zip(followers, ends, strict=True))

        await happens(replayed, "everything to come again", within_s=120)
        for one, end in zip(followers, ends, strict=True):
            assert one.handler.handled >= sum(end.values()), "it did not begin at the first event"
        await under.load.progress(under.timing.taps)


async def tap_along(under: Under) -> None:
    await under.load.progress(under.timing.taps * 3)


def distorted(kinds: Sequence[Kind]) -> Around:
    """The workers that follow the log are replaced with ones that are told something else."""

    @asynccontextmanager
    async def around(running: Running, seed: str) -> AsyncIterator[object]:
        workers = running.processes.workers
        replaced = {role: workers.pop(role) for role in ("counters", "index")}
        await asyncio.gather(*(asyncio.to_thread(worker.stop) for worker in replaced.values()))
        try:
            async with consuming(running, seed, kinds) as followers:
                yield followers
                assert all(one.handler.handled for one in followers), (
                    "nothing was distorted: this proves nothing"
                )
        finally:
            workers |= replaced
            await _start(*replaced.values())

    return around


@asynccontextmanager
async def audited_meanwhile(running: Running, _: str) -> AsyncIterator[object]:
    """The auditor as a worker, and only here: it would mend what others should."""
    processes = running.processes
    auditor = processes.workers["audit"] = processes.worker("audit", "audit")
    try:
        await asyncio.to_thread(auditor.start, within_s=START_WITHIN_S)
        yield auditor
        await asyncio.to_thread(auditor.stop)
    finally:
        auditor.kill()
        del processes.workers["audit"]


KILL_API = Fault("an API process killed", kill_api)
STOP_API = Fault("an API process told to stop", stop_api, certain=True)
KILL_REDIS = Fault("a Redis master killed", kill_redis_master)
FLUSH_REDIS = Fault("FLUSHALL on every Redis master", lambda under: flush_redis(under.running))
JOIN_AND_LEAVE = Fault("consumers join and leave", join_and_leave)
REPLAY = Fault("events replayed from the beginning", replay)
KILL_BROKER = Fault("a broker killed", kill_broker)
FREEZE_BROKER = Fault("a broker frozen", freeze_broker)
KAFKA_AWAY = Fault("Kafka away", kafka_away)
FREEZE_CASSANDRA = Fault("a Cassandra node frozen", freeze_cassandra)
KILL_CASSANDRA = Fault("a Cassandra node killed", kill_cassandra)
PROVIDER_AWAY = Fault("a provider of pushes away", provider_away)
MEAN_NO_GOOD = Fault("tokens and receivers mean no good", mean_no_good)

FAULTS = [
    KILL_API,
    STOP_API,
    *(
        Fault(f"the worker {role} killed", partial(kill_workers, roles=[role]))
        for role in ROLES
        if role != "notify"
    ),
    *(
        Fault(f"notify killed, a message {step}", partial(kill_workers, roles=["notify"], step=step))
        for step in STEPS
    ),
    Fault("the worker audit killed", partial(kill_workers, roles=["audit"]), around=audited_meanwhile),
    KILL_REDIS,
    FLUSH_REDIS,
    JOIN_AND_LEAVE,
    Fault("events doubled", tap_along, around=distorted(["doubled"])),
    Fault("events shuffled", tap_along, around=distorted(["shuffled"])),
    Fault("a third of the events dropped", tap_along, around=distorted(["dropped"]), audited=True),
    REPLAY,
    KILL_BROKER,
    FREEZE_BROKER,
    KAFKA_AWAY,
    FREEZE_CASSANDRA,
    KILL_CASSANDRA,
    MEAN_NO_GOOD,
    PROVIDER_AWAY,
]
# The same for every run of the tests, without what goes wrong at providers, which takes its time. What was killed comes
# back while the next faults happen.
SHORTENED = [
    KILL_CASSANDRA,
    FLUSH_REDIS,
    Fault("every worker killed", partial(kill_workers, roles=[*ROLES, "audit"]), around=audited_meanwhile),
    KILL_API,
    STOP_API,
    KILL_BROKER,
    JOIN_AND_LEAVE,
    REPLAY,
    KILL_REDIS,
    KAFKA_AWAY,
    Fault(
        "events dropped, doubled and shuffled",
        tap_along,
        around=distorted(["dropped", "doubled", "shuffled"]),
        audited=True,
    ),
    FREEZE_CASSANDRA,
]
