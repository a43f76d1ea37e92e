"""Targets that are split while everybody taps, on the simulated store and on Cassandra: nothing lost, nothing twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import cast

import pytest

from plaudit.adapters.cassandra import CassandraCells, CassandraLists
from plaudit.adapters.system import SystemClock
from plaudit.domain.cell import Answer, Header, Outcome
from plaudit.domain.lanes import lane_of, merge
from plaudit.ports.cells import CellKey, CellRows, Cells
from plaudit.services.alter import Alter
from plaudit.services.lanes import headers
from plaudit.services.publish import Publish
from plaudit.services.root_users import RootUsers
from plaudit.services.split import Split
from tests.contract.test_cell_commits import process
from tests.engines.cassandra import Cassandra
from tests.simulation.log import Away, SimulatedLog
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.support.cassandra import fresh_target, open_session
from tests.support.taps import LIKE, LOVE, NONE, set_to, toggle
from tests.support.wait import until

pytestmark = pytest.mark.timeout(300)


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


def splitter(cells: Cells, lanes: int = 8) -> Split:
    """One process's."""
    log, clock, random = SimulatedLog(Random(0), Away()), SystemClock(), Random(0)
    return Split(Alter(cells, Publish(log, log, cells, clock), clock, random), lanes)


async def whole(cells: Cells, target: str) -> Header:
    """What the target shows."""
    return merge(*await headers(cells, target))


async def test_processes_that_tap_through_a_split_lose_and_double_nothing(cells: Cells) -> None:
    """Three processes, 90 users of whom each taps on, and three that split at once in the middle of it."""
    target, processes, random = fresh_target(), [process(cells) for _ in range(3)], Random(1)
    users = [f"u{n}" for n in range(90)]
    ends: dict[str, int] = {}
    begun = asyncio.Event()

    async def user(name: str) -> None:
        for n in range(8):
            reaction = random.choice((NONE, LIKE, LOVE))
            answer, shown, _ = await random.choice(processes).submit(
                target, set_to(name, reaction, f"{name}{n}")
            )
            assert isinstance(answer, Answer)
            assert (answer.previous, answer.reaction) == (ends.get(name, NONE), reaction)
            assert shown.target.header is not None
            ends[name] = reaction
            begun.set()

    async def split() -> int:
        await begun.wait()
        root = (await splitter(cells).split(target)).header
        return root.lanes if root else 1

    done = await asyncio.gather(split(), split(), split(), *map(user, users))
    assert done[:3] == [8, 8, 8]
    await asyncio.gather(*(one.drain() for one in processes))
    shown = await whole(cells, target)
    counted = Counter(reaction for reaction in ends.values() if reaction)
    assert {code: n for code, n in enumerate(shown.counts, 1) if n} == counted
    assert (shown.rows, shown.lanes) == (90, 8)
    for name in users:
        row = (await cells.settle(CellKey(target, lane_of(name, 8)), [name])).rows.get(name)
        row = row or (await cells.settle(CellKey(target), [name])).rows[name]
        assert row.reaction == ends[name]


async def test_a_key_that_was_applied_on_the_root_is_answered_from_the_lane_by_every_process(
    cells: Cells,
) -> None:
    target, processes = fresh_target(), [process(cells) for _ in range(3)]
    tap = toggle("ann", LIKE, "k")
    await processes[0].submit(target, tap)
    await splitter(cells).split(target)
    answers = await asyncio.gather(*(one.submit(target, tap) for one in processes for _ in range(3)))
    assert {each.answer for each in answers} == {Answer(Outcome.CREATED, NONE, LIKE, replayed=True)}
    assert (await whole(cells, target)).counts == (1,)
    again = await processes[0].submit(target, toggle("ann", LIKE))
    assert again.answer == Answer(Outcome.REMOVED, LIKE, NONE)
    assert (await whole(cells, target)).total == 0


async def test_who_is_in_a_sealed_root_is_known_after_one_reading_of_it(
    cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plaudit.services.root_users.PAGE", 7)
    target, rows = fresh_target(), cast("CellRows", cells)
    users, strangers = [f"u{n}" for n in range(30)], [f"new{n}" for n in range(30)]
    one = process(cells)
    await asyncio.gather(*(one.submit(target, set_to(user, LIKE)) for user in users))
    await splitter(cells).split(target)
    async with RootUsers(cells, rows, asked=1) as roots:
        other = process(cells, roots)
        await other.submit(target, set_to("first", LIKE))
        await until(lambda: roots.knows(target), "who is in the root")
        assert roots.maybe(target, users) == users
        assert len(roots.maybe(target, strangers)) < 5
        told = await asyncio.gather(*(other.submit(target, set_to(u, LOVE)) for u in users + strangers))
        assert [each.answer for each in told] == [Answer(Outcome.SWITCHED, LIKE, LOVE)] * 30 + [
            Answer(Outcome.CREATED, NONE, LOVE)
        ] * 30
        await other.drain()
    shown = await whole(cells, target)
    assert (shown.counts, shown.rows) == ((1, 60), 61)


async def test_what_readers_see_without_redis_is_of_all_cells(
    cassandra: Cassandra, anyio_backend: str
) -> None:
    target = fresh_target()
    async with (
        open_session(cassandra) as session,
        CassandraCells(session) as cells,
        CassandraLists(session) as lists,
    ):
        one = process(cells)
        for n in range(6):
            await one.submit(target, set_to(f"u{n}", LIKE))
        await splitter(cells).split(target)
        for n in range(3, 9):
            await one.submit(target, set_to(f"u{n}", LOVE))
        await one.submit(target, set_to("u0", NONE))
        await one.drain()
        found = (await lists.targets([target]))[target]
        assert found.header == await whole(cells, target)
        assert found.header is not None
        assert (found.header.counts, found.header.rows, found.header.lanes) == ((2, 6), 9, 8)
        assert found.cells is not None
        assert merge(found.cells[0], {b: h for b, h in found.cells.items() if b}) == found.header
        mine = {
            user: (await lists.states(user, [target]))[target].reaction for user in ("u0", "u1", "u4", "u8")
        }
        assert mine == {"u0": NONE, "u1": LIKE, "u4": LOVE, "u8": LOVE}
        pairs, other = [(target, f"u{n}") for n in range(10)], fresh_target()
        await one.submit(other, set_to("u0", LOVE))
        await one.drain()
        assert await lists.reactions([*pairs, (other, "u0"), (other, "u1")]) == {
            (other, "u0"): LOVE,
            **{(target, f"u{n}"): LIKE for n in (1, 2)},
            **{(target, f"u{n}"): LOVE for n in range(3, 9)},
        }
        users = {target: [user for _, user in pairs], other: ["u0", "u1"]}
        assert await lists.seen(users) == (
            await lists.targets([target, other]),
            await lists.reactions([*pairs, (other, "u0")]),
        )
