"""New users of a split target cost no read of its root, once it is known who is in it; others cost what they did."""

from collections.abc import AsyncIterator, Iterable
from random import Random

import pytest

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Answer, Header, Outcome, Row, Rules, Tap, Verb
from plaudit.domain.errors import Unavailable
from plaudit.domain.lanes import lane_of
from plaudit.ports.cells import CellKey, CellState, Proposal
from plaudit.services.known import Known
from plaudit.services.propose import Proposer, Sealed, Settled
from plaudit.services.root_users import RootUsers
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.support.clock import ManualClock
from tests.support.wait import until

LANES = 4


class Told(SimulatedCells):
    """A store without faults that counts reads of roots."""

    def __init__(self) -> None:
        self.store = SimulatedStore()
        super().__init__(self.store, Random(0), Faults(delay_s=0))
        self.roots = 0
        self.errors = 0

    async def read(self, key: CellKey, users: Iterable[str]) -> CellState:
        self.roots += not key.bucket
        return await super().read(key, users)

    async def page(self, key: CellKey, after: str, limit: int) -> dict[str, Row]:
        if self.errors:
            self.errors -= 1
            raise Unavailable("away")
        return await super().page(key, after, limit)


class Process:
    """A proposer without a queue. `before`: users of the root."""

    def __init__(self, cells: Told, roots: RootUsers) -> None:
        self.cells, self.roots = cells, roots
        self._proposer = Proposer(cells, Known(), ManualClock(), Rules(Catalogue()), roots=roots)
        self._op = 0

    async def tap(self, target: str, user: str, reaction: int = 1) -> Answer:
        self._op += 1
        tap = Tap(user, Verb.SET, reaction, self._op.to_bytes(8, "big"))
        done = await self._proposer.attempt(CellKey(target, lane_of(user, LANES)), [tap])
        assert not isinstance(done, Sealed)
        assert isinstance(done, Settled)
        (answer,) = done.answers
        assert isinstance(answer, Answer)
        return answer


def sealed(cells: Told, target: str, users: int) -> None:
    """A target that was split when so many liked it, and whose lanes were all written."""
    rows = {f"u{n}": Row(1, 5 + n, 5 + n) for n in range(users)}
    header = Header(1, "post", (users,), users, 5 + users, 5, lanes=LANES)
    assert cells.store.decide(CellKey(target), Proposal(0, header, rows), 0)
    for bucket in range(1, LANES + 1):
        lane = Header(1, "post", (), 0, 5 + users, lanes=LANES)
        assert cells.store.decide(CellKey(target, bucket), Proposal(0, lane, {}), 0)
    for bucket in range(LANES + 1):
        cells.store.at_quorum(CellKey(target, bucket))


@pytest.fixture
async def process(anyio_backend: str) -> AsyncIterator[Process]:
    cells = Told()
    async with RootUsers(cells, cells, asked=4) as roots:
        yield Process(cells, roots)


async def test_first_taps_of_new_users_do_not_read_the_root(process: Process) -> None:
    sealed(process.cells, "a", 5_000)  # of several pages
    for n in range(4):
        await process.tap("a", f"first{n}")
    await until(lambda: process.roots.knows("a"), "who is in the root")
    assert process.cells.roots == 4
    for n in range(100):
        assert (await process.tap("a", f"new{n}")).outcome == Outcome.CREATED
    assert process.cells.roots <= 4 + 5, "but for those who are taken for somebody"
    reads = process.cells.roots
    for n in (0, 17, 1_999, 2_000, 4_999):
        assert await process.tap("a", f"u{n}", 2) == Answer(Outcome.SWITCHED, 1, 2)
    assert process.cells.roots == reads + 5


async def test_who_is_in_the_root_is_found_while_it_is_read_and_where_that_fails(process: Process) -> None:
    sealed(process.cells, "a", 40)
    process.cells.errors = 2
    for n in range(40):
        await process.tap("a", f"new{n}")
        assert await process.tap("a", f"u{n}", 2) == Answer(Outcome.SWITCHED, 1, 2)
    await until(lambda: process.roots.knows("a"), "who is in the root")
    assert not process.cells.errors


async def test_a_root_that_is_not_sealed_is_not_believed(process: Process) -> None:
    header = Header(1, "post", (1,), 1, 5, 5)
    assert process.cells.store.decide(CellKey("a"), Proposal(0, header, {"ann": Row(1, 5, 5)}), 0)
    await process.roots._read("a")
    assert not process.roots.knows("a")
    assert process.roots.maybe("a", ["ann", "bob"]) == ["ann", "bob"]


async def test_memory_is_bounded(process: Process) -> None:
    roots = RootUsers(process.cells, process.cells, most_bytes=250)
    for name, users in (("a", 80), ("b", 80), ("c", 80), ("large", 400)):
        sealed(process.cells, name, users)
        await roots._read(name)
    assert [name for name in ("a", "b", "c", "large") if roots.knows(name)] == ["b", "c"]
    assert roots.size_bytes == 200
    assert roots.maybe("b", ["u1"]) == ["u1"]
    await roots._read("a")
    assert roots.knows("b"), "it was used later than the other"
    assert not roots.knows("c")
    for n in range(3_000):
        roots.missed(f"t{n}", 1)
    assert len(roots._asked) == 1_000
