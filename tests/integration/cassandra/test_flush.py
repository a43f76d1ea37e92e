"""Flushed totals in Cassandra: written a window late, by version, and never lost while the store is away."""

from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec
import pytest

from plaudit.adapters.cassandra import CassandraCells, CassandraCounts, CassandraLists, Session
from plaudit.adapters.system import SystemClock
from plaudit.domain.cell import Header, Transition
from plaudit.domain.errors import Unavailable
from plaudit.domain.events import Committed
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.flushed import Flushed, Touched
from plaudit.ports.ledger import Target
from plaudit.ports.sweep import FIRST_TOKEN, LAST_TOKEN
from plaudit.services.flush import Flush
from tests.engines.cassandra import Cassandra
from tests.support.cassandra import fresh_target, open_session
from tests.support.clock import ManualClock
from tests.support.wait import until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def session(cassandra: Cassandra, anyio_backend: str) -> AsyncIterator[Session]:
    async with open_session(cassandra) as opened:
        yield opened


@pytest.fixture
async def counts(session: Session) -> AsyncIterator[CassandraCounts]:
    async with CassandraCounts(session) as opened:
        yield opened


@pytest.fixture
async def lists(session: Session) -> AsyncIterator[CassandraLists]:
    async with CassandraLists(session) as opened:
        yield opened


def event(target: str, seq: int, *counts: int, lanes: int = 1) -> Committed:
    return Committed(target, 0, "post", lanes, "tap", seq, counts, sum(counts), 0, (), ())


def written(seq: int, *counts: int) -> Target:
    return Target(Header(seq, "post", counts, sum(counts)))


async def test_totals_are_written_once_the_window_has_ended(
    counts: CassandraCounts, lists: CassandraLists
) -> None:
    clock, (one, two) = ManualClock(), (fresh_target(), fresh_target())
    flush = Flush(counts, lists, clock, every_s=300)
    for seq in range(1, 50):
        await flush.handle([event(one, seq, seq), event(two, seq, 0, seq)])
    assert len(flush) == 2
    clock.advance(299)
    await flush.handle([event(one, 50, 50)])
    assert await counts.get([one, two]) == {}
    clock.advance(1)
    await flush.handle([event(two, 50, 0, 50)])
    assert await counts.get([one, two]) == {one: written(50, 50), two: written(49, 0, 49)}
    assert len(flush) == 1, "what came last waits for its own window"
    assert flush.behind_s > 300


async def test_it_is_written_when_a_target_was_touched(
    session: Session, counts: CassandraCounts, lists: CassandraLists
) -> None:
    clock, (tapped, told, stale) = ManualClock(), (fresh_target(), fresh_target(), fresh_target())
    flush = Flush(counts, lists, clock)
    moved = (Transition("ann", 0, 1, 3, 5), Transition("bob", 0, 1, 4, 7))
    await flush.handle([msgspec.structs.replace(event(tapped, 1, 2), transitions=moved), event(told, 1)])
    await flush.flush()
    await counts.put({stale: written(3, 1)})
    await counts.put({tapped: written(1, 2)})
    found = [line async for line in _lines(counts)]
    assert {line for line in found if line.target in (tapped, told, stale)} == {
        Touched(tapped, 1, 7),
        Touched(told, 1, clock.now_us()),
        Touched(stale, 3, 0),
    }


async def _lines(counts: CassandraCounts) -> AsyncIterator[Touched]:
    """Every line there is, in pages of two."""
    above = FIRST_TOKEN
    while page := await counts.touched(above, LAST_TOKEN, 2):
        for _, line in page:
            yield line
        above = page[-1][0]


async def test_with_too_many_notes_they_are_written_before_the_window_ends(
    counts: CassandraCounts, lists: CassandraLists
) -> None:
    targets = [fresh_target() for _ in range(7)]
    flush = Flush(counts, lists, ManualClock(), most=3)
    for target in targets:
        await flush.handle([event(target, 1, 1)])
        assert len(flush) <= 3
    assert set(await counts.get(targets)) == set(targets[:6])


async def test_a_note_outlives_a_store_that_is_away(counts: CassandraCounts, lists: CassandraLists) -> None:
    clock, targets = ManualClock(), [fresh_target() for _ in range(4)]
    store = _Away(counts)
    flush = Flush(store, lists, clock, every_s=300)
    await flush.handle([event(target, 1, 1) for target in targets[:3]])
    clock.advance(300)
    store.away = True
    with pytest.raises(Unavailable):
        await flush.handle([event(targets[3], 1, 1)])
    with pytest.raises(Unavailable):
        await flush.handle([event(targets[3], 1, 1)])
    await flush.epoch()
    clock.advance(80)
    with pytest.raises(Unavailable):
        await flush.epoch()
    store.away = False
    await flush.handle([event(targets[0], 2, 2), event(targets[3], 1, 1)])
    assert await counts.get(targets) == dict.fromkeys(targets[:3], written(1, 1))
    await flush.flush()
    assert (await counts.get(targets[:1]))[targets[0]] == written(2, 2)


async def test_what_is_noted_is_written_where_no_event_follows_and_at_the_end(
    counts: CassandraCounts, lists: CassandraLists
) -> None:
    one, two = fresh_target(), fresh_target()
    async with Flush(counts, lists, SystemClock(), every_s=0.05) as flush:
        await flush.handle([event(one, 1, 1)])
        await until(lambda: not len(flush), "the window's end")
    async with Flush(counts, lists, SystemClock()) as flush:
        await flush.handle([event(two, 1, 1)])
    assert set(await counts.get([one, two])) == {one, two}


async def test_the_total_of_a_split_target_is_read(
    session: Session, counts: CassandraCounts, lists: CassandraLists
) -> None:
    target = fresh_target()
    async with CassandraCells(session) as cells:
        header = Header(seq=7, type="post", counts=(4,), rows=4, last_at=5, born=4)
        assert await cells.propose(CellKey(target), Proposal(0, header, {}))
    flush = Flush(counts, lists, ManualClock())
    await flush.handle([event(target, 3, 3), event(target, 5, 1, lanes=64), event(target, 4, 4)])
    await flush.flush()
    assert await counts.get([target]) == {target: written(7, 4)}


class _Away:
    """A store that can be away."""

    def __init__(self, store: Flushed) -> None:
        self._store = store
        self.away = False

    async def get(self, ids: Sequence[str]) -> dict[str, Target]:
        return await self._store.get(ids)

    async def put(self, states: Mapping[str, Target]) -> None:
        if self.away:
            raise Unavailable("away")
        await self._store.put(states)
