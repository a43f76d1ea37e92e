"""Several processes commit taps on the same cells, on the simulated store and on Cassandra: nothing lost or doubled."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from random import Random

import pytest

from plaudit.adapters.cassandra import CassandraCells
from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Answer, Outcome, Rules, Tap, Verb
from plaudit.ports.cells import CellKey, Cells
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.pace import Limits
from plaudit.services.propose import Proposer
from plaudit.services.root_users import RootUsers
from plaudit.telemetry import Metrics
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.support.cassandra import fresh_target, open_session
from tests.support.taps import LIKE, LOVE, NONE, set_to, toggle
from tests.support.totals import NoCounters

pytestmark = pytest.mark.timeout(300)


def process(cells: Cells, roots: RootUsers | None = None) -> CellCommitter:
    """One API process's committer."""
    clock = SystemClock()
    near = NearCache(NoCounters(), Catalogue(), entries=100, public=True)
    proposer = Proposer(cells, Known(), clock, Rules(Catalogue()), roots=roots)
    return CellCommitter(
        proposer, near, clock, Metrics(), Random(0), None, Limits(deadline_s=60, answer_within_s=60)
    )


@pytest.fixture(params=["simulated", "cassandra"])
async def cells(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Cells]:
    if request.param == "simulated":
        yield SimulatedCells(SimulatedStore(), Random(0), Faults(delay_s=0.001, hidden=0.3))
        return
    async with (
        open_session(request.getfixturevalue("cassandra")) as session,
        CassandraCells(session) as opened,
    ):
        yield opened


async def test_every_outcome_and_the_counts_after_it(cells: Cells) -> None:
    target, one = fresh_target(), process(cells)

    async def tap(what: Tap) -> tuple[Answer, int, tuple[int, ...]]:
        answer, shown, _ = await one.submit(target, what)
        assert isinstance(answer, Answer)
        assert shown.target.header is not None
        return answer, shown.seq, shown.target.header.counts

    assert await tap(toggle("ann", LIKE, "k")) == (Answer(Outcome.CREATED, NONE, LIKE), 1, (1,))
    assert await tap(toggle("ann", LOVE)) == (Answer(Outcome.SWITCHED, LIKE, LOVE), 2, (0, 1))
    assert await tap(set_to("ann", LOVE)) == (Answer(Outcome.UNCHANGED, LOVE, LOVE), 2, (0, 1))
    assert await tap(toggle("ann", LOVE)) == (Answer(Outcome.REMOVED, LOVE, NONE), 3, (0, 0))
    assert await tap(toggle("ann", LIKE, "k")) == (
        Answer(Outcome.CREATED, NONE, NONE, replayed=True),
        3,
        (0, 0),
    )


async def test_a_key_sent_through_every_process_at_once_counts_once(cells: Cells) -> None:
    target, processes = fresh_target(), [process(cells) for _ in range(4)]
    tap = toggle("ann", LIKE, "k")
    answers = await asyncio.gather(*(one.submit(target, tap) for one in processes for _ in range(3)))
    assert {
        (a.answer.outcome, a.answer.previous, a.answer.reaction)
        for a in answers
        if isinstance(a.answer, Answer)
    } == {(Outcome.CREATED, NONE, LIKE)}
    assert sum(isinstance(a.answer, Answer) and not a.answer.replayed for a in answers) == 1
    assert (await cells.settle(CellKey(target), [])).seq == 1


async def test_processes_that_race_for_one_cell_lose_and_double_nothing(cells: Cells) -> None:
    target, processes, random = fresh_target(), [process(cells) for _ in range(3)], Random(1)
    users = [f"u{n}" for n in range(60)]
    ends: dict[str, int] = {}

    async def user(name: str) -> None:
        for _ in range(5):
            reaction = random.choice((NONE, LIKE, LOVE))
            answer, *_ = await random.choice(processes).submit(target, set_to(name, reaction))
            assert isinstance(answer, Answer)
            assert (answer.previous, answer.reaction) == (ends.get(name, NONE), reaction)
            ends[name] = reaction

    await asyncio.gather(*map(user, users))
    await asyncio.gather(*(one.drain() for one in processes))
    state = await cells.settle(CellKey(target), users)
    assert {name: row.reaction for name, row in state.rows.items() if row.reaction} == {
        name: reaction for name, reaction in ends.items() if reaction
    }
    assert state.header is not None
    counts = Counter(row.reaction for row in state.rows.values() if row.reaction)
    assert {code: n for code, n in enumerate(state.header.counts, 1) if n} == counts
    assert state.header.rows == len(state.rows)


async def test_a_crowd_on_one_cell_is_committed_in_batches(cells: Cells) -> None:
    target, one = fresh_target(), process(cells)
    answers = await asyncio.gather(
        *(one.submit(target, Tap(f"u{n}", Verb.SET, LIKE, b"%08d" % n)) for n in range(500))
    )
    assert {a.answer for a in answers} == {Answer(Outcome.CREATED, NONE, LIKE)}
    header = (await cells.settle(CellKey(target), [])).header
    assert header is not None
    assert (header.total, header.seq) == (500, 4)
