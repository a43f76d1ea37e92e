"""What is done to a cluster while one of its targets is split under load, and what may be expected of it meanwhile."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, Self

from plaudit.domain.errors import Unavailable
from plaudit.ports.cells import CellKey
from tests.engines.node import Node
from tests.faults.check import audit
from tests.faults.dying import STEPS, Commit, Step, die_at, hold, order, split_now
from tests.faults.load import PER_S, Load
from tests.faults.running import Running
from tests.faults.table import flush_redis
from tests.support.cluster import START_WITHIN_S, environment
from tests.support.server import PLAUDIT, ServerProcess

WITHIN_S = 60.0
AROUND_S = 2.5  # what a split costs is looked for in this time, and compared with as much before it
POLL_S = 0.02
HELD_UP_S = 0.4  # for so long a process stands still while its target is split


class Timing(NamedTuple):
    """How many taps have to get through between two steps, and how long a node stands still."""

    taps: int
    freeze_s: float


LONG = Timing(taps=120, freeze_s=6.0)
SHORT = Timing(taps=40, freeze_s=5.0)


class Seal:
    """Watches the root of a target until it is sealed. Use as an async context manager."""

    def __init__(self, running: Running, target: str) -> None:
        self._read = partial(running.held.cells.read, CellKey(target), ())
        self._watching: asyncio.Task[None] | None = None
        self.seen_s = 0.0
        self.lanes = 1

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _watch(self) -> None:
        while self.lanes == 1:
            with suppress(Unavailable):
                header = (await self._read()).header
                self.seen_s, self.lanes = time.monotonic(), header.lanes if header is not None else 1
            await asyncio.sleep(POLL_S)

    async def wait(self) -> None:
        """Return when it is."""
        assert self._watching is not None
        await asyncio.wait_for(asyncio.shield(self._watching), WITHIN_S)


class Splitting(NamedTuple):
    """A cluster under load, one of whose targets is to be split. `burst`: taps at once, each of a user of its own."""

    running: Running
    load: Load
    target: str
    timing: Timing
    seal: Seal
    burst: Callable[[], Coroutine[None, None, None]]

    async def by(self, *apis: ServerProcess) -> None:
        """Have these processes split it, while some tap; return when it is."""
        for api in apis:
            order(api.data, split_now(self.target))
        try:
            await asyncio.gather(self.burst(), self.seal.wait())
        finally:
            for api in apis:
                order(api.data)

    async def by_command(self) -> None:
        """`plaudit split`, on the journals of the first process."""
        processes = self.running.processes
        env = {**os.environ, **environment(processes.settings), "PLAUDIT_DATA": str(processes.apis[0].data)}
        command = await asyncio.create_subprocess_exec(
            *(PLAUDIT, "split", self.target),
            env=env,
            cwd=processes.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await command.communicate()
        assert command.returncode == 0, said.decode()


class Case(NamedTuple):
    """`act` comes back when the target is split and everything is up again. `pause_s`: for how long no tap on it may be
    acknowledged, at most. `users` tap all the time, `per_s` times together, half of it on the one that is split."""

    name: str
    act: Callable[[Splitting], Awaitable[None]]
    pause_s: float = 5.0
    users: int = 32
    targets: int = 4
    per_s: float = PER_S


async def alone(split: Splitting) -> None:
    await split.by(split.running.processes.apis[0])


async def too_hot(split: Splitting) -> None:
    """Cells take less than they would: enough for each target but one, which is found by those who commit its taps."""
    apis = split.running.processes.apis
    for api in apis:
        order(api.data, *map(hold, split.load.crowd.targets))
    try:
        await split.seal.wait()
        await asyncio.sleep(split.seal.seen_s + AROUND_S - time.monotonic())
        await split.load.progress(split.timing.taps, WITHIN_S)
    finally:
        for api in apis:
            order(api.data)


async def by_command(split: Splitting) -> None:
    await asyncio.gather(split.by_command(), split.burst())


async def racing(split: Splitting) -> None:
    await asyncio.gather(split.by_command(), split.by(*split.running.processes.apis))


async def held_up(split: Splitting) -> None:
    """One process stands still with taps under way on the root, and goes on when there is none any more."""
    first, second = split.running.processes.apis
    os.kill(second.pid, signal.SIGSTOP)
    try:
        await asyncio.gather(_sealed_by(split, first), asyncio.sleep(HELD_UP_S))
    finally:
        os.kill(second.pid, signal.SIGCONT)


async def _sealed_by(split: Splitting, api: ServerProcess) -> None:
    """As `by`, but nobody who taps at once: they would wait for one who stands still."""
    order(api.data, split_now(split.target))
    await split.seal.wait()
    order(api.data)


async def killed_at(split: Splitting, commit: Commit, step: Step) -> None:
    """The first process dies there. It splits the target; or the second does, and it still believes in the root."""
    first, second = split.running.processes.apis
    if commit == "seal":
        order(first.data, die_at(commit, step, split.target), split_now(split.target))
    else:
        order(first.data, die_at(commit, step, split.target))
        order(second.data, split_now(split.target))
    burst = asyncio.create_task(split.burst())
    await _dead(first)
    with split.load.without(0):
        order(first.data)
        if commit == "seal":  # whether it was is for the others to find out
            order(second.data, split_now(split.target))
        await split.load.progress(split.timing.taps // 2, WITHIN_S)
        await asyncio.to_thread(first.start, within_s=START_WITHIN_S)
    await split.seal.wait()
    order(second.data)
    await burst


async def _dead(process: ServerProcess) -> None:
    async with asyncio.timeout(WITHIN_S):
        while process.running:
            await asyncio.sleep(POLL_S)
    process.kill()


async def node_killed(split: Splitting) -> None:
    ring = split.running.processes.cassandra
    node = split.running.chance.choice(ring.nodes)
    node.kill()
    await alone(split)
    await split.load.progress(split.timing.taps, WITHIN_S)
    node.start()
    split.running.coming_back.append(ring.wait)
    await split.running.settled()


async def node_frozen(split: Splitting) -> None:
    node: Node = split.running.chance.choice(split.running.processes.cassandra.nodes)
    ends_s = time.monotonic() + split.timing.freeze_s
    node.freeze()
    try:
        await alone(split)
        await asyncio.sleep(ends_s - time.monotonic())
    finally:
        node.thaw()
    split.running.coming_back.append(split.running.processes.cassandra.wait)


async def redis_emptied(split: Splitting) -> None:
    """Before, between the seal and the first touches, and among these."""
    await flush_redis(split.running)
    await alone(split)
    await flush_redis(split.running)
    await split.load.progress(split.timing.taps // 3, WITHIN_S)
    await flush_redis(split.running)


async def audited_and_flushed(split: Splitting) -> None:
    """Auditors that think everything is old, and mend; and a flusher that stops, which writes all there is."""
    flusher = split.running.processes.workers["flush"]
    ended = asyncio.Event()

    async def look() -> None:
        while not ended.is_set():
            drift = await audit(split.running, [split.target], repair=True)
            assert not any(one.store == "ledger" for one in drift), drift

    looking = [asyncio.create_task(look()) for _ in range(2)]
    await asyncio.gather(asyncio.to_thread(flusher.stop), alone(split))
    await asyncio.to_thread(flusher.start, within_s=START_WITHIN_S)
    ended.set()
    await asyncio.gather(*looking)


_WHERE = {"seal": "the seal", "touch": "a first touch"}
CASES: Sequence[Case] = [
    Case("by a process that taps", alone),
    Case("by the command", by_command),
    Case("by two processes and the command", racing),
    Case("one process held up meanwhile", held_up),
    Case("FLUSHALL before, between, after", redis_emptied),
    Case("audits and a flush meanwhile", audited_and_flushed),
    *(
        Case(f"killed at {_WHERE[commit]}: {step}", partial(killed_at, commit=commit, step=step))
        for commit in ("seal", "touch")
        for step in STEPS
    ),
    Case("a Cassandra node frozen", node_frozen, 10.0),
    Case("a Cassandra node killed", node_killed, 10.0),
    Case("too hot, and found by itself", too_hot, users=64, targets=8, per_s=120.0),
]
# For every run of the tests: the worst place to die at; and what the others are told to do, of itself.
SHORTENED = [
    case for case in CASES if case.name in ("killed at a first touch: stored", "too hot, and found by itself")
]
