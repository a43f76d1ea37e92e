"""What `plaudit.ports.cells` promises: the simulated store and Cassandra."""

import asyncio
from collections.abc import AsyncIterator
from random import Random

import msgspec
import pytest

from plaudit.adapters.cassandra import CassandraCells
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Deleted, Header, Row
from plaudit.ports.cells import EVERYBODY, CellKey, CellState, Proposal
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.support.cassandra import fresh_target, open_session
from tests.support.taps import LIKE

Stored = CassandraCells | SimulatedCells

pytestmark = pytest.mark.timeout(300)

ANN = Row(1, 1_760_000_000_000_000, 1_760_000_000_000_001, bytes(range(126)))
BOB = Row(0, 0, 0, b"")
FULL = Header(
    seq=1,
    type="comment",
    counts=(0, 2, 0, 0, 0, 0, 1),
    rows=2**31 - 1,
    last_at=1_760_000_000_000_009,
    born=1_760_000_000_000_000,
    recent=(("a~|=:@", 2), ('["]', 15)),
    deleted=Deleted.PURGING,
)


@pytest.fixture(params=["simulated", "cassandra"])
async def cells(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Stored]:
    if request.param == "simulated":
        yield SimulatedCells(SimulatedStore(), Random(0), Faults(delay_s=0.0001))
        return
    async with (
        open_session(request.getfixturevalue("cassandra")) as session,
        CassandraCells(session) as opened,
    ):
        yield opened


@pytest.fixture
def key() -> CellKey:
    return CellKey(fresh_target())


def header(seq: int) -> Header:
    return Header(seq=seq, type="post", counts=(seq,), rows=seq, last_at=seq, born=1)


async def test_which_of_many_targets_nobody_wrote(cells: Stored) -> None:
    written, split_, *new = [fresh_target() for _ in range(20)]
    assert await cells.propose(CellKey(written), Proposal(0, header(1), {"ann": ANN}))
    assert await cells.propose(CellKey(split_, 3), Proposal(0, header(1), {"ann": ANN}))  # a lane is no root
    assert await cells.unwritten([written, split_, *new]) == {split_, *new}
    assert await cells.unwritten([written]) == set()


async def test_a_cell_nobody_wrote_has_nothing(cells: Stored, key: CellKey) -> None:
    for read in (cells.read, cells.settle):
        assert await read(key, ["ann", "bob"]) == CellState(None, None, {})


async def test_header_and_rows_come_back_as_they_were_proposed(cells: Stored, key: CellKey) -> None:
    assert await cells.propose(key, Proposal(0, FULL, {"ann": ANN, "bob": BOB}))
    for read in (cells.read, cells.settle):
        state = await read(key, ["bob", "nobody", "ann"])
        assert state == CellState(FULL, None, {"ann": ANN, "bob": BOB})
        assert state.seq == 1
    assert await cells.read(key, []) == CellState(FULL, None, {})
    assert await cells.read(key, ["nobody"]) == CellState(FULL, None, {}), (
        "the header comes though no row matches"
    )


async def test_only_what_is_proposed_changes(cells: Stored, key: CellKey) -> None:
    registration = Registration(
        type="post", owner="olga", title="Grüße, \N{PARTY POPPER}", closed=True, allowed=6
    )
    assert await cells.propose(key, Proposal(0, header(1), {"ann": ANN, "bob": BOB}, registration))
    changed = Row(2, ANN.created_at, ANN.updated_at + 1, b"x" * 14)
    assert await cells.propose(key, Proposal(1, header(2), {"ann": changed}))
    assert await cells.read(key, ["ann", "bob"]) == CellState(
        header(2), registration, {"ann": changed, "bob": BOB}
    )
    assert await cells.propose(key, Proposal(2, header(3), {}, Registration(type="post")))
    assert await cells.read(key, ["bob"]) == CellState(header(3), Registration(type="post"), {"bob": BOB})


@pytest.mark.parametrize("seq", [0, 1, 3, 2**53])
async def test_a_proposal_from_another_state_is_refused_and_leaves_nothing(
    cells: Stored, key: CellKey, seq: int
) -> None:
    for n in range(2):
        assert await cells.propose(key, Proposal(n, header(n + 1), {"ann": ANN}))
    assert not await cells.propose(key, Proposal(seq, header(seq + 1), {"ann": BOB, "cid": ANN}))
    assert await cells.settle(key, ["ann", "cid"]) == CellState(header(2), None, {"ann": ANN})


async def test_a_proposal_for_a_cell_that_is_not_there_is_refused(cells: Stored, key: CellKey) -> None:
    assert not await cells.propose(key, Proposal(5, header(6), {"ann": ANN}))
    assert await cells.settle(key, ["ann"]) == CellState(None, None, {})


async def test_the_same_proposal_made_twice_is_applied_once(cells: Stored, key: CellKey) -> None:
    proposal = Proposal(0, header(1), {"ann": ANN})
    assert [await cells.propose(key, proposal), await cells.propose(key, proposal)] == [True, False]
    assert (await cells.settle(key, ["ann"])).seq == 1


async def test_cells_of_one_target_and_of_others_are_apart(cells: Stored, key: CellKey) -> None:
    others = [CellKey(key.target, 1), CellKey(key.target, 64), CellKey(key.target + "x")]
    assert await cells.propose(key, Proposal(0, header(1), {"ann": ANN}))
    for other in others:
        assert await cells.read(other, ["ann"]) == CellState(None, None, {})
        assert await cells.propose(other, Proposal(0, FULL, {"ann": BOB}))
    assert await cells.read(key, ["ann"]) == CellState(header(1), None, {"ann": ANN})


async def test_a_whole_batch_of_users_rides_in_one_proposal(cells: Stored, key: CellKey) -> None:
    rows = {f"user{n:0120d}": Row(n % 6 + 1, n + 1, n + 1, b"o" * 14) for n in range(128)}
    assert await cells.propose(key, Proposal(0, header(1), rows))
    assert (await cells.read(key, rows)).rows == rows


async def test_rows_of_named_users_go_with_a_commit(cells: Stored, key: CellKey) -> None:
    rows = {"ann": ANN, "bob": BOB, "cid": ANN}
    assert await cells.propose(key, Proposal(0, header(1), rows, Registration(type="post")))
    assert not await cells.propose(key, Proposal(0, header(1), {}, gone=["ann"])), "from another state"
    assert await cells.propose(key, Proposal(1, header(2), {"dan": BOB}, gone=["ann", "cid", "nobody"]))
    for read in (cells.read, cells.settle):
        assert await read(key, [*rows, "dan"]) == CellState(
            header(2), Registration(type="post"), {"bob": BOB, "dan": BOB}
        )
    assert await cells.propose(key, Proposal(2, header(3), {"ann": BOB}))
    assert (await cells.read(key, rows)).rows == {"ann": BOB, "bob": BOB}, "there again"


async def test_the_registration_goes_with_a_commit(cells: Stored, key: CellKey) -> None:
    assert await cells.propose(key, Proposal(0, header(1), {"ann": ANN}, Registration(type="post")))
    assert await cells.propose(key, Proposal(1, header(2), {}, unregister=True))
    assert await cells.read(key, ["ann"]) == CellState(header(2), None, {"ann": ANN})
    assert await cells.propose(key, Proposal(2, header(3), {}, Registration(type="comment")))
    assert (await cells.read(key, [])).registration == Registration(type="comment")


async def test_rows_go_from_the_front_until_nobody_is_left(cells: Stored, key: CellKey) -> None:
    """The header is never among them, though its place is before every user."""
    users = sorted(["!", "A", "a", "a!", "aa", "~", "~" * 128, *(f"u{n}" for n in range(20))])
    assert await cells.propose(key, Proposal(0, header(1), dict.fromkeys(users, ANN)))
    seq = 1
    while page := await cells.page(key, "", 6):
        assert list(page) == users[:6]
        assert set(page.values()) == {ANN}
        through = users[5] if len(users) > 6 else EVERYBODY
        assert not await cells.propose(key, Proposal(seq + 1, header(seq + 2), {}, gone_through=through))
        assert await cells.propose(key, Proposal(seq, header(seq + 1), {}, gone_through=through))
        seq, users = seq + 1, users[6:]
        assert await cells.settle(key, users) == CellState(header(seq), None, dict.fromkeys(users, ANN))
    assert await cells.propose(key, Proposal(seq, header(seq + 1), {"a": BOB}))
    assert await cells.page(key, "", 10) == {"a": BOB}, "there again"


async def test_a_walk_goes_on_behind_a_user_who_need_not_be_there(cells: Stored, key: CellKey) -> None:
    assert await cells.page(key, "", 10) == {}
    rows = {f"u{n}": Row(LIKE, n + 1, n + 1, b"o" * 14) for n in range(10)}
    assert await cells.propose(key, Proposal(0, header(1), rows))
    assert await cells.page(key, "", 4) == {user: rows[user] for user in sorted(rows)[:4]}
    assert list(await cells.page(key, "u3x", 4)) == ["u4", "u5", "u6", "u7"]
    assert await cells.page(key, "u9", 4) == {}
    assert await cells.page(CellKey(key.target, 1), "", 4) == {}


LANE_ROW = Row(2, ANN.created_at, ANN.updated_at + 1, b"x" * 14, base=1)
LANE = Header(
    *(1, "post", (-1, 1), 0, ANN.updated_at + 1, ANN.created_at, (("ann", 2),), Deleted.NO, 64),
    recent_at=(ANN.updated_at,),
    erased=(0, 3),
)


async def sealed(cells: Stored, key: CellKey) -> Header:
    """A root that is split over 64 lanes, at 2."""
    assert await cells.propose(key, Proposal(0, header(1), {"ann": ANN}))
    root = msgspec.structs.replace(header(2), lanes=64)
    assert await cells.propose(key, Proposal(1, root, {}))
    return root


async def test_a_sealed_root_takes_only_who_knows_that_it_is_sealed(cells: Stored, key: CellKey) -> None:
    root = await sealed(cells, key)
    for read in (cells.read, cells.settle):
        assert await read(key, ["ann"]) == CellState(root, None, {"ann": ANN})
    unaware = [Proposal(2, header(3), {"bob": BOB}), Proposal(1, header(2), {"bob": BOB})]
    aware = msgspec.structs.replace(root, seq=3)
    wrong = Proposal(2, msgspec.structs.replace(aware, lanes=8), {}, lanes=8)
    for proposal in (*unaware, wrong, Proposal(0, aware, {}, lanes=64), Proposal(0, LANE, {})):
        assert not await cells.propose(key, proposal)
    assert await cells.propose(key, Proposal(2, aware, {}, gone=["ann"], lanes=64))
    assert await cells.settle(key, ["ann", "bob"]) == CellState(aware, None, {})


async def test_of_many_that_split_at_once_one_does(cells: Stored, key: CellKey) -> None:
    assert await cells.propose(key, Proposal(0, header(1), {}))
    roots = [msgspec.structs.replace(header(2), lanes=lanes) for lanes in (8, 16, 32, 64)]
    done = await asyncio.gather(*(cells.propose(key, Proposal(1, root, {})) for root in roots))
    assert done.count(True) == 1
    assert (await cells.settle(key, [])).header == roots[done.index(True)]


async def test_a_lane_comes_back_as_it_was_proposed(cells: Stored, key: CellKey) -> None:
    await sealed(cells, key)
    lane, registration = CellKey(key.target, 64), Registration(type="post", closed=True)
    new = Row(3, 5, 5, b"")
    assert await cells.propose(lane, Proposal(0, LANE, {"ann": LANE_ROW, "new": new}, registration))
    for read in (cells.read, cells.settle):
        assert await read(lane, ["ann", "new"]) == CellState(
            LANE, registration, {"ann": LANE_ROW, "new": new}
        )
    assert await cells.page(lane, "", 9) == {"ann": LANE_ROW, "new": new}
    assert not await cells.propose(lane, Proposal(0, LANE, {})), "it is there already"
    after = msgspec.structs.replace(LANE, seq=2, erased=())
    unchanged = msgspec.structs.replace(LANE_ROW, reaction=0)
    assert not await cells.propose(lane, Proposal(1, after, {}))
    assert await cells.propose(lane, Proposal(1, after, {"ann": unchanged}, lanes=64))
    assert await cells.settle(lane, ["ann"]) == CellState(after, registration, {"ann": unchanged})


async def test_of_many_at_once_one_wins_each_round_and_nobody_is_told_otherwise(
    cells: Stored, key: CellKey
) -> None:
    """Eight writers bring the cell from 0 to 40, each as far as it can; every win is in the rows, no loss is."""
    wins: dict[int, list[str]] = {}

    async def writer(name: str) -> None:
        while True:
            state = await cells.read(key, [name])
            if state.seq >= 40:
                return
            row = Row(1, 1, state.seq + 1, b"")
            if await cells.propose(key, Proposal(state.seq, header(state.seq + 1), {name: row})):
                wins.setdefault(state.seq + 1, []).append(name)

    names = [f"w{n}" for n in range(8)]
    await asyncio.gather(*map(writer, names))
    assert {seq: len(who) for seq, who in wins.items()} == dict.fromkeys(range(1, 41), 1)
    last = {name: max(seq for seq, (who,) in wins.items() if who == name) for [name] in wins.values()}
    rows = (await cells.settle(key, names)).rows
    assert {name: row.updated_at for name, row in rows.items()} == last
