"""Whether everything agrees after a fault: the clients' journal, the ledger, what is derived, and what is answered."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import httpx

from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Row
from plaudit.domain.errors import PlauditError
from plaudit.domain.lanes import lane_of
from plaudit.ports.cells import CellKey
from plaudit.ports.events import SHARDS
from plaudit.services.audit_cells import CellAuditor
from plaudit.services.compare import Derived, Drift
from plaudit.services.lanes import SplitCells
from plaudit.telemetry import Metrics
from tests.faults.load import Crowd
from tests.faults.record import Explained, Place
from tests.faults.running import Running

POLL_S = 0.5
NEVER_S = 1e6  # the flusher has minutes
NAMES = Catalogue().names


class Ledger(NamedTuple):
    """What the ledger says, held against the journal."""

    states: dict[Place, str | None]
    lost: list[str]


async def ledger(running: Running, crowd: Crowd, explained: Explained) -> Ledger:
    """Read every row, and hold it against what its user was told."""
    users, states = list(crowd.tokens), dict[Place, str | None]()
    for target in crowd.targets:
        found = await _rows(running, target, users)
        for user in users:
            row = found.get(user)
            states[user, target] = NAMES[row.reaction] if row is not None else None
    lost = [
        f"{place} is {states[place]}, not one of {allowed}"
        for place, allowed in explained.states.items()
        if states[place] not in allowed
    ]
    return Ledger(states, lost)


async def _rows(running: Running, target: str, users: Sequence[str]) -> Mapping[str, Row]:
    """The rows of these users, each in the cell that it taps in now."""
    root = await running.held.cells.settle(CellKey(target), users)
    lanes = root.header.lanes if root.header is not None else 1
    if lanes == 1:
        return root.rows
    by_lane: dict[int, list[str]] = {}
    for user in users:
        by_lane.setdefault(lane_of(user, lanes), []).append(user)
    cells = SplitCells(running.held.cells)
    reads = (cells.settle(CellKey(target, bucket), some) for bucket, some in by_lane.items())
    return {user: row for lane in await asyncio.gather(*reads) for user, row in lane.rows.items()}


async def audit(
    running: Running, targets: Sequence[str], *, repair: bool = False, flushed: bool = False
) -> list[Drift]:
    """What the product's own auditor finds on these targets, to whom nothing is recent."""
    drift: list[Drift] = []
    held = running.held
    auditor = CellAuditor(
        held.cells,
        running.sweep,
        running.sweep,
        Derived(held.totals, running.counts, running.sweep),
        held.publish,
        SystemClock(),
        Metrics(),
        repair=repair,
        rows_per_s=1e6,
        grace_s=0,
        flush_grace_s=0 if flushed else NEVER_S,
        report=drift.append,
    )
    for target in targets:
        await auditor.target(target)
    return drift


async def answered(running: Running, crowd: Crowd, truth: Ledger) -> list[str]:
    """What each API process answers about counts and own state, where it differs from the ledger."""
    wrong: list[str] = []
    params = {"target_ids": ",".join(crowd.targets)}
    async with httpx.AsyncClient(timeout=60, params=params) as http:
        for url in crowd.urls:
            counts = (await http.get(f"{url}/api/v1/reactions/counts")).json()
            for target in crowd.targets:
                expected = [state for (_, of), state in truth.states.items() if of == target and state]
                shown = {name: n for name, n in counts["counts"][target]["reactions"].items() if n}
                if shown != {name: expected.count(name) for name in set(expected)}:
                    wrong.append(f"{target} is shown as {shown}")
            if counts["degraded"]:
                wrong.append("counts are degraded")
            for user, token in crowd.tokens.items():
                headers = {"Authorization": f"Bearer {token}"}
                mine = (await http.get(f"{url}/api/v1/reactions/mine", headers=headers)).json()
                told = {target: mine["reactions"].get(target, "left out") for target in crowd.targets}
                wrong += [
                    f"{user} is told {is_} of {target}"
                    for target, is_ in told.items()
                    if is_ != truth.states[user, target]
                ]
    return wrong


async def owed(running: Running, targets: Sequence[str] | None = None) -> list[str]:
    """What is owed to the log, of these targets or of any."""
    shards = await asyncio.gather(*(running.held.debts.owed(shard) for shard in range(SHARDS)))
    debts = [debt for shard in shards for debt in shard if targets is None or debt.key.target in targets]
    return [f"{len(debts)} events are owed"] if debts else []


async def unfinished(running: Running, crowd: Crowd) -> list[str]:
    """What is still owed to the log, processes that are not ready, and failures that nobody foresaw."""
    found = await owed(running, crowd.targets)
    for process in running.processes.all:
        if not await asyncio.to_thread(process.ready):
            found.append(f"{process.data.name} is not ready")
        if "Traceback" in process.log or "quarantined" in process.log:
            found.append(f"{process.data.name} stumbled: see its log")
    return found


async def disagreements(running: Running, crowd: Crowd, explained: Explained) -> list[str]:
    """One look at everything. What cannot be asked disagrees."""
    try:
        truth = await ledger(running, crowd, explained)
        drift = [str(one) for one in await audit(running, crowd.targets)]
        return [
            *truth.lost,
            *drift,
            *await answered(running, crowd, truth),
            *await unfinished(running, crowd),
        ]
    except (PlauditError, httpx.HTTPError, KeyError) as error:
        return [repr(error)]


async def healed(
    running: Running, crowd: Crowd, explained: Explained, within_s: float = 60.0, *, repair: bool = False
) -> tuple[float, list[str]]:
    """Look until all agree; how long that took, and what still disagrees at the end. `repair`: audits go on meanwhile,
    as the worker's do, because an event that was late for one still brings what a lost one would have taken away."""
    began_s = time.monotonic()
    while found := await disagreements(running, crowd, explained):
        if time.monotonic() > began_s + within_s:
            break
        if repair:
            with suppress(PlauditError):
                await audit(running, crowd.targets, repair=True)
        await asyncio.sleep(POLL_S)
    return time.monotonic() - began_s, found
