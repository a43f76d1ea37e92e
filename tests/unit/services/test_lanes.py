"""Lanes over a store: what is read and in which order, taps that move, answers that show the whole target."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from random import Random

import msgspec
import pytest

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Answer, Header, Outcome, Tap, Verb
from plaudit.domain.errors import Corrupt, Invalid, OutcomeUnknown
from plaudit.domain.events import Cause
from plaudit.domain.lanes import close, first, lane_of
from plaudit.ports.cells import CellKey, CellState, Proposal
from plaudit.ports.journal import Entry
from plaudit.services.alter import Alter, Altered, Decide, Look
from plaudit.services.heat import Bounds, Heat
from plaudit.services.lanes import SplitCells, Views, version
from plaudit.services.publish import Publish
from plaudit.services.split import Split, SplitHot
from tests.simulation import loop
from tests.simulation.journal import SimulatedJournal, SimulatedJournals
from tests.simulation.log import Away, SimulatedLog
from tests.simulation.store import Faults, SimulatedCells
from tests.unit.services.test_commit_cells import Bench

KEY = CellKey("a")


class Told(SimulatedCells):
    """A store without faults that notes what is asked of it."""

    def __init__(self, inner: SimulatedCells) -> None:
        self.__dict__ = inner.__dict__
        self.asked: list[int] = []

    async def read(self, key: CellKey, users: Iterable[str]) -> CellState:
        self.asked.append(key.bucket)
        return await super().read(key, users)


def splitter(bench: Bench, lanes: int = 4) -> Split:
    """Splits targets of the bench's store."""
    random = Random(0)
    log = SimulatedLog(random, Away())
    cells = SimulatedCells(bench.cells.store, random, Faults(delay_s=0))
    alter = Alter(cells, Publish(log, log, cells, bench.clock), bench.clock, random)
    return Split(alter, lanes)


async def totals(bench: Bench) -> Counter[int]:
    """What all cells of the target add up to."""
    found: Counter[int] = Counter()
    for key in bench.cells.store.cells:
        found.update(dict(enumerate(bench.cells.store.states(key)[-1].header.counts, 1)))
    return Counter({code: n for code, n in found.items() if n})


async def test_taps_go_on_in_lanes_and_answers_show_the_whole_target() -> None:
    bench = Bench()
    users = [f"u{n}" for n in range(40)]
    await asyncio.gather(*(bench.tap("a", user, 1) for user in users[:20]))
    await splitter(bench).split("a")
    answers = await asyncio.gather(*(bench.tap("a", user, 2) for user in users))
    assert [answer.answer for answer in answers] == [Answer(Outcome.SWITCHED, 1, 2)] * 20 + [
        Answer(Outcome.CREATED, 0, 2)
    ] * 20
    assert [answer.bucket for answer in answers] == [lane_of(user, 4) for user in users]
    shown = (await bench.tap("a", "u0", 2)).shown.target.header
    assert shown is not None
    assert (shown.counts[:2], shown.rows, shown.lanes) == ((0, 40), 40, 4)
    assert await totals(bench) == {2: 40}
    root = bench.cells.store.states(KEY)
    assert root[-1].header.counts == (20,), "sealed"
    assert set(root[-1].rows) == set(users[:20])


async def test_a_target_that_gets_too_big_is_split_by_itself_once() -> None:
    bench = Bench()
    split = splitter(bench)
    bench.committer._hot = SplitHot(split, Heat(Bounds(rows=20)), bench.clock, bench.metrics)
    shown = [(await bench.tap("a", f"u{n}")).shown.target.header for n in range(200)]
    await bench.committer.drain()
    await split.drain()
    assert shown[-1] is not None
    assert (shown[-1].lanes, shown[-1].rows) == (4, 200)
    assert bench.metrics.splits == 1, "and its lanes stay as they are, however big they get"
    assert await totals(bench) == {1: 200}


async def test_every_answer_has_its_own_tap_in_it_whatever_others_commit() -> None:
    bench = Bench()
    await bench.tap("a", "u0")
    await splitter(bench).split("a")
    others = [bench.another() for _ in range(2)]
    for n in range(1, 30):
        process = [bench.committer, *others][n % 3]
        tap = Tap(f"u{n}", Verb.SET, 2, b"%08d" % n)
        header = (await process.submit("a", tap)).shown.target.header
        assert header is not None
        assert header.counts[1] >= 1
    bench.clock.advance(2)
    header = (await bench.tap("a", "last", 3)).shown.target.header
    assert header is not None
    assert (header.total, header.counts) == (31, (1, 29, 1)), "the others are at most a second behind"


async def test_a_user_who_is_known_costs_no_read_of_the_root() -> None:
    bench = Bench()
    await bench.tap("a", "ann")
    await splitter(bench).split("a")
    await bench.tap("a", "ann", 2)
    reads = bench.cells.reads
    await bench.tap("a", "ann", 0)
    assert bench.cells.reads == reads


async def test_taps_that_wait_for_the_root_move_in_their_order() -> None:
    bench = Bench()
    await bench.tap("a", "ann", 1)
    bench.cells.shut()
    taps = [bench.tap("a", "ann", 2)]
    await bench.proposals(2)
    taps += [bench.tap("a", "ann", n % 3) for n in range(10)] + [bench.tap("a", "bob", 3)]
    split = asyncio.create_task(splitter(bench).split("a"))
    await split  # its way to the store is its own
    bench.cells.open()
    answers = [(await tap).answer for tap in taps]
    told = [answer.previous for answer in answers if isinstance(answer, Answer)]
    assert told == [1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert bench.metrics.commits_refused == 1


async def test_a_lane_is_read_before_the_root_and_shows_what_it_did_not_take_over() -> None:
    bench = Bench()
    await bench.tap("a", "ann")
    await bench.tap("a", "bob")
    root = (await splitter(bench).split("a")).header
    assert root is not None
    told = Told(SimulatedCells(bench.cells.store, Random(0), Faults(delay_s=0)))
    cells = SplitCells(told)
    lane = CellKey("a", lane_of("ann", 4))
    state = await cells.read(lane, ["ann", "nobody"])
    assert told.asked == [lane.bucket, 0]
    assert state.header is not None
    assert (state.seq, state.header.lanes, state.header.last_at) == (0, 4, root.last_at)
    assert {user: row.base for user, row in state.rows.items()} == {"ann": 1}


async def test_a_lane_of_a_target_that_is_not_split_is_not_there() -> None:
    bench = Bench()
    await bench.tap("a", "ann")
    cells = SplitCells(bench.cells)
    with pytest.raises(Corrupt):
        await cells.read(CellKey("a", 3), ["ann"])
    with pytest.raises(Corrupt):
        await Views(bench.cells, bench.clock).ready("a")


async def test_a_lane_begins_with_what_the_host_app_told_of_the_root() -> None:
    bench = Bench()
    header = Header(1, "comment", last_at=5)
    told = Registration(type="comment", closed=True)
    assert bench.cells.store.decide(KEY, Proposal(0, header, {}, told), 0)
    await splitter(bench).split("a")
    refused = await bench.tap("a", "ann")
    assert getattr(refused.answer, "code", None) == "target_closed"
    assert (await bench.tap("a", "ann", 0)).answer == Answer(Outcome.UNCHANGED, 0, 0)
    await bench.committer.submit("a", Tap("ann", Verb.SET, 0, b"remember", keyed=True))
    assert bench.cells.store.states(CellKey("a", lane_of("ann", 4)))[-1].registration == told


async def test_what_is_known_of_a_root_does_not_go_back() -> None:
    bench = Bench()
    await bench.tap("a", "ann")
    root = (await splitter(bench).split("a")).header
    assert root is not None
    views = Views(bench.cells, bench.clock)
    await views.ready("a")
    views.seen(KEY, close(root), None)
    for header in (
        views.seen(KEY, root, None).header,
        views.seen(CellKey("a", 1), first(root, 1), None).header,
    ):
        assert header is not None
        assert header.deleted


async def test_what_is_known_of_a_lane_outlasts_an_older_reading_of_it() -> None:
    bench = Bench()
    await bench.tap("a", "ann")
    root = (await splitter(bench).split("a")).header
    assert root is not None
    views, lane = Views(bench.cells, bench.clock), msgspec.structs.replace(first(root, 1), seq=1)
    await views.ready("a")
    views.seen(CellKey("a", 1), msgspec.structs.replace(lane, seq=2, counts=(0, 7)), None)
    assert bench.cells.store.decide(CellKey("a", 1), Proposal(0, lane, {}), 0)
    bench.cells.store.at_quorum(CellKey("a", 1))
    bench.clock.advance(2)  # so that it is read again
    await views.ready("a")
    shown = views.seen(KEY, root, None).header
    assert shown is not None
    assert shown.counts == (1, 7)


@pytest.mark.parametrize("seed", range(8))
async def test_the_version_of_a_target_has_in_it_what_is_decided_and_not_at_a_quorum(seed: int) -> None:
    bench = Bench()
    await bench.tap("a", "ann")
    root = (await splitter(bench, 2).split("a")).header
    assert root is not None
    lane = msgspec.structs.replace(first(root, 1), seq=1)
    assert bench.cells.store.decide(CellKey("a", 1), Proposal(0, lane, {}), 0)
    assert await version(SimulatedCells(bench.cells.store, Random(seed), Faults(delay_s=0)), "a") == 3


async def test_what_is_not_there_is_not_split() -> None:
    bench = Bench()
    with pytest.raises(Invalid, match="Nobody") as refused:
        await splitter(bench).split("a")
    assert refused.value.code == "target_unknown"


async def test_two_that_split_at_once_make_one_commit() -> None:
    bench = Bench()
    await bench.tap("a", "ann")
    roots = await asyncio.gather(*(splitter(bench, lanes).split("a") for lanes in (2, 4, 8)))
    headers = {root.header for root in roots}
    assert len(headers) == 1
    assert bench.cells.store.states(KEY)[-1].header.seq == 2


async def test_a_split_is_in_the_journal_until_it_is_published() -> None:
    bench, journal, random = Bench(), SimulatedJournal(SimulatedJournals()), Random(0)
    await bench.tap("a", "ann")
    open_: list[int] = []

    class Log(SimulatedLog):
        async def publish(self, key: CellKey, event: bytes) -> None:
            open_.append(journal.open)
            await super().publish(key, event)

    class Cells(SimulatedCells):
        async def propose(self, key: CellKey, proposal: Proposal) -> bool:
            open_.append(journal.open)
            return await super().propose(key, proposal)

    log, cells = Log(random, Away()), Cells(bench.cells.store, random, Faults(delay_s=0))
    split = Split(Alter(cells, Publish(log, log, cells, bench.clock), bench.clock, random), 4, journal)
    await split.split("a")
    await split.drain()
    assert open_ == [1, 1], "when it was proposed, and when it was published"
    assert journal.entries == [Entry(KEY, 1, ())]
    assert journal.open == 0


def test_a_split_that_nobody_confirmed_is_found_out() -> None:
    class Silent(Alter):
        asked = 0

        async def commit(
            self, key: CellKey, cause: Cause, look: Look, decide: Decide, *, split_too: bool = False
        ) -> Altered:
            self.asked += 1
            if self.asked == 1:
                raise OutcomeUnknown("no reply")
            return await super().commit(key, cause, look, decide, split_too=split_too)

    async def main() -> None:
        bench, log = Bench(), SimulatedLog(Random(0), Away())
        await bench.tap("a", "ann")
        publish = Publish(log, log, bench.cells, bench.clock)
        split = Split(Silent(bench.cells, publish, bench.clock, Random(0)), 4)
        with pytest.raises(OutcomeUnknown):
            await split.split("a")
        await split.drain()
        assert bench.cells.store.states(KEY)[-1].header.lanes == 4

    loop.run(main())
