"""What a process that died had under way is fenced off, published and forgotten, in this order."""

import asyncio
from pathlib import Path
from random import Random

import pytest

from plaudit.adapters.journal import FOLDER, FileJournal, FileJournals
from plaudit.domain.cell import Header, Row, Transition
from plaudit.domain.errors import Corrupt, OutcomeUnknown, PlauditError, Unavailable
from plaudit.ports.cells import CellKey, CellState, Proposal
from plaudit.services.pace import Backoff
from plaudit.services.publish import Publish
from plaudit.services.recover import Recover
from plaudit.telemetry import Metrics
from tests.simulation.log import Away, SimulatedLog
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.support.clock import ManualClock
from tests.support.wait import until

KEY = CellKey("t")
ONE = Proposal(0, Header(1, "post", (1,), 1, 9, 5), {"ann": Row(1, 5, 9, b"")})
ANN = Transition("ann", None, 1, 5, 9)


class Failing(SimulatedCells):
    """Fails as often as it is told, at `settle` and at `propose`."""

    def __init__(self, store: SimulatedStore) -> None:
        super().__init__(store, Random(0), Faults(delay_s=0))
        self.errors: list[PlauditError] = []

    async def settle(self, key: CellKey, users: object) -> CellState:
        if self.errors:
            raise self.errors.pop(0)
        return await super().settle(key, users)  # type: ignore[arg-type] # passed on as it came

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        applied = await super().propose(key, proposal)
        if self.errors:
            raise self.errors.pop(0)
        return applied


class Bench:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.store = SimulatedStore()
        self.cells = Failing(self.store)
        self.log = SimulatedLog(Random(0), Away())
        self.metrics = Metrics()
        publish = Publish(self.log, self.log, self.cells, ManualClock())
        self.recover = Recover(
            FileJournals(data),
            self.cells,
            publish,
            self.metrics,
            Random(0),
            look_every_s=0.01,
            backoff=Backoff(0.001, 0.002),
        )

    def left(self, *entries: tuple[CellKey, int, list[str]]) -> None:
        """A process begins these and dies."""
        with FileJournal(self.data) as journal:
            for key, seq, users in entries:
                journal.begin(key, seq, users)

    @property
    def journals(self) -> int:
        return len(list((self.data / FOLDER).iterdir()))


async def test_a_commit_that_was_stored_is_published_and_needs_no_fence(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.store.decide(KEY, ONE, 0)
    bench.left((KEY, 0, ["ann"]))
    assert await bench.recover.look() == 1
    [event] = bench.log.events
    assert (event.seq, event.cause, event.transitions) == (1, "late", (ANN,))
    assert (bench.journals, bench.metrics.recovered, bench.recover.open) == (0, 1, 0)
    assert await bench.recover.look() == 0


@pytest.mark.parametrize("seq", [0, 1])
async def test_one_that_was_not_stored_never_will_be(tmp_path: Path, seq: int) -> None:
    bench = Bench(tmp_path)
    if seq:
        bench.store.decide(KEY, ONE, 0)
    bench.left((KEY, seq, ["ann", "bob"]))
    await bench.recover.look()
    assert not bench.store.decide(KEY, Proposal(seq, Header(seq + 1), {}), 0), "it comes too late"
    final = bench.store.states(KEY)[-1]
    before = ONE.header if seq else Header()
    assert final.header == Header(
        seq + 1, before.type, before.counts, before.rows, before.last_at, before.born
    )
    [event] = bench.log.events
    assert (event.seq, event.transitions) == (seq + 1, (ANN,) if seq else ())


async def test_all_that_is_left_of_a_cell_is_published_together_and_fenced_at_its_last(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    crowd = [f"u{n}" for n in range(200)]
    rows = dict.fromkeys(["ann", *crowd], Row(1, 5, 9, b""))
    bench.store.decide(KEY, Proposal(0, Header(1, "post", (201,), 201, 9, 5), rows), 0)
    bench.left((KEY, 1, crowd), (KEY, 0, ["ann"]), (CellKey("u"), 0, []))
    assert await bench.recover.look() == 2
    assert [len(bench.store.states(key)) - 1 for key in (KEY, CellKey("u"))] == [2, 1]
    told = [[transition.user for transition in event.transitions] for event in bench.log.events]
    assert sorted(map(len, told)) == [0, 73, 128]
    assert {user for users in told for user in users} == set(rows)


async def test_it_goes_on_until_the_store_answers_and_the_log_has_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.cells.errors = [Unavailable("no"), OutcomeUnknown("perhaps"), Unavailable("no"), Unavailable("no")]
    bench.left((KEY, 0, ["ann"]))
    assert await bench.recover.look() == 1
    assert len(bench.store.states(KEY)) == 2, "fenced once"
    assert bench.journals == 0


async def test_a_cell_that_cannot_be_read_keeps_up_no_other(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.store.decide(KEY, ONE, 0)
    bench.cells.errors = [Corrupt("not a header")]
    bench.left((CellKey("corrupt"), 0, ["ann"]), (KEY, 0, ["ann"]))
    await bench.recover.look()
    assert [event.target for event in bench.log.events] == ["t"]
    assert bench.journals == 0


async def test_stopped_before_it_is_through_it_leaves_the_journal_to_the_next(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.store.decide(KEY, ONE, 0)
    bench.left((KEY, 0, ["ann"]))
    bench.cells.errors = [Unavailable("no")] * 1_000_000
    async with bench.recover:
        await until(lambda: bench.recover.open == 1, "it is at it")
        assert b"plaudit_recovering 1.0" in bench.metrics.render()
    assert (bench.journals, bench.log.events) == (1, [])
    bench.cells.errors = []
    async with bench.recover:
        await until(lambda: bench.journals == 0, "the journal is gone")
    assert [event.seq for event in bench.log.events] == [1]


async def test_journals_are_looked_for_again_and_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.recover:
        for n in range(3):
            bench.left((CellKey(f"t{n}"), 0, ["ann"]))
            await until(lambda n=n: len(bench.log.events) == n + 1, "the next one")  # type: ignore[misc] # bound now
            await asyncio.sleep(0)
