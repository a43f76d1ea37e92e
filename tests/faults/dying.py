"""`plaudit`, and a hand on it: a real process that splits a target when it is told to, dies at a step of a commit, and
has stores that take less than they would.

`python -m tests.faults.dying ARGUMENTS` is `plaudit ARGUMENTS`. What it is to do stands in `DATA/orders`, a line each,
read whenever a step is reached:

    split TARGET        the target is too hot, whatever its taps say
    die STEP TARGET     SIGKILL, from within, when a commit of this target is at that step
    hold TARGET         no commit of a cell of it takes more than `HELD_TAPS`, and each takes `HELD_S` longer

The steps of the commit that seals a root, and of the first one of a lane that takes somebody over from the root:
`journalled`: it is in the journal and has not left; `sent`: it is on its way; `stored`: the store has it, and this
process has not heard so; `published`: the log has its event, and nobody was answered.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from plaudit.adapters.cassandra import CassandraCells
from plaudit.adapters.kafka import KafkaEvents
from plaudit.cli import main
from plaudit.domain.cell import Tap
from plaudit.ports.cells import CellKey, Proposal
from plaudit.services.heat import Heat
from plaudit.services.propose import Lost, Open, Proposer, Sealed, Settled

Step = Literal["journalled", "sent", "stored", "published"]
STEPS: Sequence[Step] = ("journalled", "sent", "stored", "published")
Commit = Literal["seal", "touch"]
ORDERS = "orders"
ON_ITS_WAY_S = 0.001
HELD_TAPS, HELD_S = 4, 0.1


def order(data: Path, *lines: str) -> None:
    """Have the process with this data folder do that from now on; nothing any more without a line."""
    part = data / f"{ORDERS}.part"
    part.write_text("\n".join(lines))
    part.rename(data / ORDERS)


def split_now(target: str) -> str:
    """A line of the orders."""
    return f"split {target}"


def die_at(commit: Commit, step: Step, target: str) -> str:
    """A line of the orders."""
    return f"die {commit}.{step} {target}"


def hold(target: str) -> str:
    """A line of the orders."""
    return f"hold {target}"


def ordered(line: str) -> bool:
    """Whether this line is among the orders of this process."""
    try:
        return line in (Path(os.environ["PLAUDIT_DATA"]) / ORDERS).read_text().splitlines()
    except FileNotFoundError:
        return False


def _perhaps_die(commit: Commit | None, step: Step, target: str) -> None:
    if commit is not None and ordered(die_at(commit, step, target)):
        os.kill(os.getpid(), signal.SIGKILL)


def commit_of(key: CellKey, proposal: Proposal) -> Commit | None:
    if not key.bucket:
        return "seal" if proposal.header.lanes > proposal.lanes else None
    touches = not proposal.seq and any(row.base is not None for row in proposal.rows.values())
    return "touch" if touches else None


def take_orders() -> None:
    """Put ourselves between the service and its stores."""
    stored: dict[CellKey, Commit] = {}  # and not published yet
    attempt, propose = Proposer.attempt, CassandraCells.propose
    publish, committed = KafkaEvents.publish, Heat.committed

    async def attempted(self: Proposer, key: CellKey, taps: Sequence[Tap]) -> Settled | Lost | Open | Sealed:
        return await attempt(self, key, taps[:HELD_TAPS] if ordered(hold(key.target)) else taps)

    async def proposed(self: CassandraCells, key: CellKey, proposal: Proposal) -> bool:
        commit = commit_of(key, proposal)
        if ordered(hold(key.target)):
            await asyncio.sleep(HELD_S)
        _perhaps_die(commit, "journalled", key.target)
        sending = asyncio.ensure_future(propose(self, key, proposal))
        await asyncio.wait([sending], timeout=ON_ITS_WAY_S if commit else None)
        _perhaps_die(commit, "sent", key.target)
        applied = await sending
        if applied and commit is not None:
            _perhaps_die(commit, "stored", key.target)
            stored[key] = commit
        return applied

    async def published(self: KafkaEvents, key: CellKey, event: bytes) -> None:
        await publish(self, key, event)
        _perhaps_die(stored.pop(key, None), "published", key.target)

    def hot(self: Heat, key: CellKey, taps: int, full: bool, waiting: int, rows: int, now_s: float) -> bool:
        really = committed(self, key, taps, full, waiting, rows, now_s)
        return really or ordered(split_now(key.target))

    Proposer.attempt = attempted  # type: ignore[method-assign] # that is the point
    CassandraCells.propose = proposed  # type: ignore[method-assign] # that is the point
    KafkaEvents.publish = published  # type: ignore[method-assign] # that is the point
    Heat.committed = hot  # type: ignore[method-assign] # that is the point


if __name__ == "__main__":
    take_orders()
    main()
