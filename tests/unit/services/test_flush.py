"""Flushing while the store fails: what was noted meanwhile, and for how long the first has waited."""

import asyncio

import pytest

from plaudit.domain.cell import Header
from plaudit.domain.errors import Unavailable
from plaudit.domain.events import Committed
from plaudit.ports.ledger import Target
from plaudit.services.flush import EVERY_S, Flush
from tests.support.clock import ManualClock
from tests.support.totals import MemoryFlushed, NoCounters


def event(seq: int) -> Committed:
    return Committed("t", 0, "post", 1, "tap", seq, (seq,), seq, 0, (), ())


async def test_what_could_not_be_written_gives_way_to_nothing_older_and_waits_since_then() -> None:
    store, clock = MemoryFlushed(), ManualClock()
    flush = Flush(store, NoCounters(), clock)
    await flush.handle([event(5)])
    clock.advance(EVERY_S)
    store.away = True
    store.go.clear()
    writing = asyncio.create_task(flush.flush())
    await asyncio.sleep(0)
    await flush.handle([event(4)])  # once more, or late
    store.go.set()
    with pytest.raises(Unavailable):
        await writing
    clock.advance(EVERY_S / 2)
    with pytest.raises(Unavailable):
        await flush.epoch()
    store.away = False
    await flush.flush()
    assert store.kept == {"t": Target(Header(5, "post", (5,), 5))}
