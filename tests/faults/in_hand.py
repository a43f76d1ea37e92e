"""What the workers notify and repair have in hand when they are killed, and whether it was done all the same, and once.

Nothing of the crowd's load is for them: it has no owners, and Kafka is there. So there is work of their own here.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Protocol

import httpx
import msgspec

from plaudit.adapters.system import SystemClock
from plaudit.domain.cell import Deleted, Header, Row
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.events import SHARDS
from plaudit.ports.removals import new_job
from tests.faults.check import audit
from tests.faults.running import Running
from tests.support.wait import happens

OWNED = 12  # targets with an owner, a reaction of each fan on every one
FANS = 5
APART_S = 0.15  # so that their windows end one after the other
OWED = 64  # targets of which an event was never published
ROWS = 100  # of the target that is to be deleted
LIKE = 1


class InHand(Protocol):
    """Work of one worker."""

    async def begin(self) -> None:
        """Give it work; return when it has done a part."""

    async def left(self) -> None:
        """To be called when it is dead. Raises `AssertionError` if it had done nothing, or everything."""

    async def undone(self) -> list[str]:
        """What is not as it should be, a while after it was started again."""


class Windows:
    """For the notifier: owned targets whose windows are open. Each fan is to be told of once."""

    def __init__(self, running: Running, seed: str) -> None:
        self._api = running.processes.apis[0]
        self._owner, self._seed = f"owner{seed}", seed
        self._targets = [f"owned{seed}-{n}" for n in range(OWNED)]
        self._fans = [f"fan{seed}-{n}" for n in range(FANS)]

    async def begin(self) -> None:
        host = self._api.token(None, service=True)
        await asyncio.gather(
            *(
                self._call("PUT", f"targets/{target}", host, {"owner_id": self._owner})
                for target in self._targets
            )
        )
        tokens = [self._api.token(fan) for fan in self._fans]
        for target in self._targets:
            tap = {"target_id": target, "reaction_type": "love"}
            await asyncio.gather(*(self._call("PUT", "reactions", token, tap) for token in tokens))
            await asyncio.sleep(APART_S)
        await happens(self._somebody_was_told, "the first message")

    async def left(self) -> None:
        told = len({message["target_id"] for message in await self._inbox()})
        assert 0 < told < OWNED, f"{told} windows were told of, of {OWNED}: this proves nothing"

    async def undone(self) -> list[str]:
        inbox = await self._inbox()
        wrong = []
        for target in self._targets:
            messages = [message for message in inbox if message["target_id"] == target]
            named = sorted(user["id"] for message in messages for user in message["sample"])
            total = sum(message["total"] for message in messages)
            if total != FANS or len(set(named)) != len(named) or not set(named) <= set(self._fans):
                wrong.append(f"the owner of {target} was told of {total} reactions, of {named}")
        return wrong

    async def _somebody_was_told(self) -> bool:
        return bool(await self._inbox())

    async def _inbox(self) -> list[Mapping[str, Any]]:
        found = await self._call("GET", "me/notifications?limit=100", self._api.token(self._owner))
        messages: list[Mapping[str, Any]] = found["notifications"]
        return messages

    async def _call(self, method: str, path: str, token: str, body: Mapping[str, str] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(timeout=15, headers=headers) as http:
            answer = await http.request(method, f"{self._api.url}/api/v1/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


class Debts:
    """For repair: commits whose events were never published, and a deletion that nobody has begun."""

    def __init__(self, running: Running, seed: str) -> None:
        self._running, self._seed = running, seed
        self._worker = running.processes.workers["repair"]
        self._targets = [f"owed{seed}-{n}" for n in range(OWED)]
        self._deleted = CellKey(f"deleted{seed}")
        self._users = [f"{seed}-row{n}" for n in range(ROWS)]

    async def begin(self) -> None:
        held = self._running.held
        await self._commit(self._deleted, self._users)
        await held.publish.again(self._deleted, self._users)
        job = new_job("delete_target", self._deleted.target, SystemClock().now_us())
        await held.jobs.save(msgspec.structs.replace(job, begun=False))
        keys = [CellKey(target) for target in self._targets]
        await asyncio.gather(*(self._commit(key, [f"{self._seed}-debtor"]) for key in keys))
        await asyncio.gather(*(held.debts.owe(key, [f"{self._seed}-debtor"]) for key in keys))
        await happens(self._some_are_paid, "the first debt to be paid")

    async def left(self) -> None:
        owed = await self._owed()
        assert 0 < owed < OWED, f"{owed} events of {OWED} are owed: this proves nothing"

    async def undone(self) -> list[str]:
        wrong = [str(drift) for drift in await audit(self._running, [*self._targets, self._deleted.target])]
        if owed := await self._owed():
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

    async def _some_are_paid(self) -> bool:
        return await self._owed() < OWED

    async def _owed(self) -> int:
        debts = self._running.held.debts
        found = await asyncio.gather(*map(debts.owed, range(SHARDS)))
        return sum(debt.key.target in set(self._targets) for shard in found for debt in shard)


async def undone(running: Running, within_s: float = 90.0) -> list[str]:
    """What of this is not done, as late as that: a lease of who is dead holds for a while."""
    deadline = time.monotonic() + within_s
    while True:
        found = [line for work in running.in_hand for line in await work.undone()]
        if not found or time.monotonic() > deadline:
            running.in_hand.clear()
            return found
        await asyncio.sleep(0.5)
