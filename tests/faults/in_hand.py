"""What the workers notify and repair have in hand when they are killed, and whether it was done all the same, and once.

Nothing of the crowd's load is for them: it has no owners, and Kafka is there. So there is work of their own here.
"""

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from plaudit.adapters.cassandra.deliveries import ORPHAN_US
from plaudit.adapters.cassandra.pushes import SECOND
from plaudit.adapters.system import SystemClock
from plaudit.domain.cell import Deleted, Header, Row
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.events import SHARDS
from plaudit.ports.removals import new_job
from tests.faults.check import audit
from tests.faults.dying import order
from tests.faults.owned import Owned
from tests.faults.running import Running
from tests.faults.telling import Step, die_at
from tests.support.wait import happens, until

OWNED = 12  # targets with an owner, a reaction of each fan on every one
FANS = 5
APART_S = 0.15  # so that their windows end one after the other
OWED = 64  # targets of which an event was never published
ROWS = 100  # of the target that is to be deleted
LIKE = 1
DONE_WITHIN_S = ORPHAN_US / SECOND + 30


class Undone(Protocol):
    """Something that is to be done at last, whatever happens meanwhile."""

    async def undone(self) -> list[str]:
        """What is not as it should be."""


class InHand(Undone, Protocol):
    """Work of one worker."""

    async def begin(self) -> None:
        """Give it work; return when it has done a part."""

    async def left(self) -> None:
        """To be called when it is dead. Raises `AssertionError` if it had done nothing, or everything."""


class Windows(Owned):
    """For the notifier: owned targets whose windows are open when it dies, at a step of the message about one of them.
    Each fan is to be told of once."""

    def __init__(self, running: Running, seed: str, step: Step) -> None:
        super().__init__(running, f"{step}{seed}", OWNED)
        self._worker, self._step = running.processes.workers["notify"], step

    async def begin(self) -> None:
        await self.register()
        order(self._worker.data, die_at(self._step, list(self.targets)[OWNED // 3]))
        for target in self.targets:
            await self.react([f"fan{n}-{self.name}" for n in range(FANS)], [target])
            await asyncio.sleep(APART_S)
        await until(lambda: not self._worker.running, f"a message to be {self._step}", within_s=60)
        order(self._worker.data)

    async def left(self) -> None:
        assert await self.undone(), "everything was told and shown: this proves nothing"


class Debts:
    """For repair: commits whose events were never published, and a deletion that nobody has begun. It stands still,
    with some of them paid and most of them not, until it is killed; if it was too quick for that, more are owed."""

    def __init__(self, running: Running, seed: str) -> None:
        self._running, self._seed = running, seed
        self._worker = running.processes.workers["repair"]
        self._targets: list[str] = []
        self._deleted = CellKey(f"deleted{seed}")
        self._users = [f"{seed}-row{n}" for n in range(ROWS)]

    async def begin(self) -> None:
        held = self._running.held
        await self._commit(self._deleted, self._users)
        await held.publish.again(self._deleted, self._users)
        job = new_job("delete_target", self._deleted.target, SystemClock().now_us())
        await held.jobs.save(msgspec.structs.replace(job, begun=False))
        await happens(self._some_are_paid_of_more, "repair to be in the middle of debts")

    async def left(self) -> None:
        owed, of = await self._owed(self._targets), len(self._targets)
        assert 0 < owed < of, f"{owed} events of {of} are owed: this proves nothing"

    async def undone(self) -> list[str]:
        wrong = [str(drift) for drift in await audit(self._running, [*self._targets, self._deleted.target])]
        if owed := await self._owed(self._targets):
            wrong.append(f"{owed} events are still owed")
        state = await self._running.held.cells.settle(self._deleted, self._users)
        if state.rows or state.header is None or state.header.deleted != Deleted.PURGED:
            wrong.append(f"{self._deleted.target} has {len(state.rows)} rows, and is {state.header}")
        return wrong

    async def _commit(self, key: CellKey, users: list[str]) -> None:
        """Rows that nobody hears of."""
        at = SystemClock().now_us()
        header = Header(1, "post", (len(users),), len(users), at, at, ((users[0], LIKE),))
        assert await self._running.held.cells.propose(
            key, Proposal(0, header, dict.fromkeys(users, Row(LIKE, at, at)))
        )

    async def _some_are_paid_of_more(self) -> bool:
        """Owe some more, and stop repair once a few of those are paid. Whether enough are left then that not all of
        them can be on their way."""
        targets = [f"owed{self._seed}-{len(self._targets) + n}" for n in range(OWED)]
        keys, debtors = [CellKey(target) for target in targets], [f"{self._seed}-debtor"]
        await asyncio.gather(*(self._commit(key, debtors) for key in keys))
        self._targets += targets
        await asyncio.gather(*(self._running.held.debts.owe(key, debtors) for key in keys))

        async def begun() -> bool:
            return await self._owed(targets) < OWED

        await happens(begun, "the first debt to be paid")
        os.kill(self._worker.pid, signal.SIGSTOP)
        half_way = False
        try:
            half_way = await self._owed(targets) > OWED // 2
        finally:
            if not half_way:  # or nobody could tell it to stop any more
                os.kill(self._worker.pid, signal.SIGCONT)
        return half_way

    async def _owed(self, targets: Sequence[str]) -> int:
        debts = self._running.held.debts
        found = await asyncio.gather(*map(debts.owed, range(SHARDS)))
        return sum(debt.key.target in set(targets) for shard in found for debt in shard)


async def undone(running: Running) -> list[str]:
    """What of this is not done, as late as that: a lease of who is dead holds for a while, and pushes of a message that
    never came into the inbox, because its notifier died, are there for two minutes."""
    deadline = time.monotonic() + DONE_WITHIN_S
    while True:
        found = [line for work in running.in_hand for line in await work.undone()]
        if not found or time.monotonic() > deadline:
            running.in_hand.clear()
            return found
        await asyncio.sleep(0.5)
