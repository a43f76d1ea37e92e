"""An erasure waits for what the lists are owed, but for what nobody can ever pay."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from random import Random
from typing import Any

import pytest

from plaudit.domain.cell import Header, Row
from plaudit.domain.errors import Corrupt, Unavailable
from plaudit.ports.cells import CellKey, CellState, Proposal
from plaudit.ports.events import SHARDS
from plaudit.ports.removals import Stays
from plaudit.services import caught_up
from plaudit.services.alter import Alter
from plaudit.services.caught_up import CaughtUp
from plaudit.services.publish import Publish, Swept
from plaudit.services.removals import CellRemovals
from plaudit.services.sweep import Sweep
from plaudit.telemetry import Metrics
from tests.simulation.log import Away, SimulatedLog
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.support.clock import ManualClock

GOOD, BAD = CellKey("good"), CellKey("bad")


class Cells(SimulatedCells):
    """One cell of them cannot be read."""

    async def settle(self, key: CellKey, users: Iterable[str]) -> CellState:
        if key == BAD:
            raise Corrupt("its header")
        return await super().settle(key, users)


class Indexed:
    """The lists have everything there is, at any time."""

    async def reach(self, partitions: Mapping[int, int]) -> None: ...

    async def reached(self) -> int | None:
        return 2**60

    async def forget(self) -> None: ...


class Leases:
    """Nobody else is there."""

    async def claim(self, name: str, ttl_s: int) -> bool:
        return True

    async def release(self, name: str) -> None: ...


class Bench:
    """Debts of two cells: `ann` and `bob` in one that cannot be read, `cid` in one that can."""

    def __init__(self, within_s: float = 20.0) -> None:
        self.log = SimulatedLog(Random(0), Away())
        store = SimulatedStore()
        header = Header(seq=1, type="post", counts=(1,), rows=1, last_at=9, born=5)
        store.decide(GOOD, Proposal(0, header, {"cid": Row(1, 5, 9, b"")}), 0)
        cells = Cells(store, Random(0), Faults(delay_s=0))
        self.publish = Publish(self.log, self.log, cells, ManualClock())
        readable = self.publish.readable
        self.caught_up = CaughtUp(self.log, readable, Indexed(), ManualClock(), within_s)

    async def owe(self) -> None:
        await self.log.owe(BAD, ["ann", "bob"])
        await self.log.owe(BAD, ["bob"])
        await self.log.owe(GOOD, ["cid"])


async def test_what_can_be_paid_is_waited_for(anyio_backend: str) -> None:
    bench = Bench(within_s=0.05)
    await bench.owe()
    for user in ("ann", "cid", "dan"):
        with pytest.raises(Unavailable):
            await bench.caught_up(user)


async def test_what_can_never_be_paid_holds_up_nobody_and_is_told_to_whom_it_is_about(
    anyio_backend: str,
) -> None:
    bench = Bench()
    await bench.owe()
    async with asyncio.TaskGroup() as group:
        waiting = {user: group.create_task(bench.caught_up(user)) for user in ("ann", "bob", "cid", "dan")}
        swept = [await bench.publish.sweep(shard) for shard in range(SHARDS)]
    assert [sum(each) for each in zip(*swept, strict=True)] == [1, 2]
    assert Swept(0, 2) in swept, "debts of one cell are in one shard"
    assert {user: set(task.result()) for user, task in waiting.items()} == {
        "ann": {BAD}, "bob": {BAD}, "cid": set(), "dan": set(),
    }  # fmt: skip


async def test_the_sweep_tells_of_it(anyio_backend: str) -> None:
    bench, metrics = Bench(), Metrics()
    await bench.owe()
    async with Sweep(bench.publish, bench.log, Leases(), metrics, Random(0), idle_pause_s=3600) as sweep:
        await sweep.look()
        assert (sweep.open, sweep.unreadable) == (2, 2)
        assert b"plaudit_debts_unreadable 2.0" in metrics.render()
        for debt in list(bench.log.debts.values()):
            await bench.log.settle(debt)
        await sweep.look()
        assert (sweep.open, sweep.unreadable) == (0, 0)


class Own:
    """Nobody has reacted to anything that could be read."""

    async def reacted(self, user: str, before: object, limit: int) -> list[Any]:
        return []


class Marks:
    """Everybody was erased long ago."""

    async def marked_at(self, user: str) -> int:
        return 0


async def test_an_erasure_ends_but_for_whom_something_unreadable_is_about(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def caught_up(user: str) -> Collection[CellKey]:
        return [BAD] if user == "ann" else []

    nothing: Any = None  # that these steps do not touch
    alter = Alter(nothing, nothing, ManualClock(), Random(0))
    own: Any = Own()
    marks: Any = Marks()
    removals = CellRemovals(
        *(alter, nothing, nothing, nothing, nothing, marks, own, ManualClock()), caught_up=caught_up
    )
    assert await removals.erase_some("bob", 10) == {}
    with pytest.raises(Stays, match="reactions to 1 target"):
        await removals.erase_some("ann", 10)
    assert "a reaction to bad may not be erased" in caplog.text


async def test_behind_a_full_page_there_may_be_more(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debts that nobody can pay fill what is told of a shard: those behind them may be anybody's."""
    monkeypatch.setattr(caught_up, "OWED_AT_ONCE", 1)
    bench = Bench(within_s=0.05)
    await bench.log.owe(BAD, ["ann"])
    with pytest.raises(Unavailable):
        await bench.caught_up("zoe")
