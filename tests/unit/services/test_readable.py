"""What goes over many targets goes on behind one that cannot be read."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from plaudit.domain.cell import Header
from plaudit.domain.errors import Corrupt
from plaudit.domain.events import Committed
from plaudit.ports.flushed import Touched
from plaudit.ports.ledger import Target
from plaudit.services import flush as service
from plaudit.services.flush import Flush
from plaudit.services.warm import Warm
from tests.support.clock import ManualClock
from tests.support.wait import until

NAMES = [f"t{n}" for n in range(30)]
BAD = {"t3", "t4", "t17"}


class Ledger:
    """Some of it cannot be read."""

    def __init__(self) -> None:
        self.fails: type[Exception] = Corrupt

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        if BAD & {*ids}:
            raise self.fails("its header")
        return {id_: Target(Header(1, "post", (1,), 1, lanes=2)) for id_ in ids}


class Kept:
    """Totals, flushed or in memory."""

    def __init__(self) -> None:
        self.kept: set[str] = set()

    async def put(self, states: Mapping[str, Target]) -> None:
        self.kept |= {*states}

    async def get(self, ids: Collection[str]) -> dict[str, Target]:
        return {}

    async def touched(self, above: int, last: int, limit: int) -> list[tuple[int, Touched]]:
        return [(above + 1, Touched(name, 1, 1)) for name in NAMES] if not self.kept else []


class Places:
    """Nothing was begun before."""

    async def reached(self, task: str) -> dict[int, int]:
        return {}

    async def reach(self, task: str, arc: int, token: int) -> None: ...

    async def restart(self, task: str) -> None: ...


def events() -> list[Committed]:
    """Commits of split targets, whose totals have to be read."""
    return [Committed(name, 1, "post", 2, "tap", 1, (), 0, 0, (), ()) for name in NAMES]


async def test_totals_of_the_others_are_flushed(anyio_backend: str, caplog: pytest.LogCaptureFixture) -> None:
    flushed: Any = Kept()
    flush = Flush(flushed, Ledger(), ManualClock())
    await flush.handle(events())
    await flush.flush()
    assert flushed.kept == {*NAMES} - BAD
    assert len(flush) == 0
    for name in BAD:
        assert f"target {name} cannot be read" in caplog.text


async def test_flushing_goes_on_after_what_nobody_foresaw(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "RETRY_S", 0.001)
    flushed, ledger, clock = Kept(), Ledger(), ManualClock()
    ledger.fails = RuntimeError
    some: Any = flushed
    async with Flush(some, ledger, clock) as flush:
        await flush.handle(events())
        clock.advance(10_000)
        await until(lambda: "in a way nobody foresaw" in caplog.text, "the first try")
        ledger.fails = Corrupt
        await until(lambda: flushed.kept == {*NAMES} - BAD, "another one")


async def test_the_others_are_brought_into_memory(anyio_backend: str) -> None:
    totals: Any = Kept()
    flushed: Any = Kept()
    places: Any = Places()
    await asyncio.wait_for(
        Warm(flushed, totals, Ledger(), places, ManualClock(), since=None, per_s=1e9).run(), 30
    )
    assert totals.kept == {*NAMES} - BAD
