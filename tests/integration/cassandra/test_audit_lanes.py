"""The auditor and the rebuild over split targets: each cell agrees with its rows, what is derived with all cells."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from random import Random
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from plaudit.adapters.cassandra.index import list_bucket
from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Row
from plaudit.domain.lanes import lane_of
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.ledger import Target
from plaudit.services.alter import Alter
from plaudit.services.compare import Drift
from plaudit.services.directory import CellDirectory
from tests.engines.cassandra import Cassandra
from tests.engines.redis import Redis
from tests.integration.cassandra.test_leftovers import cleaner
from tests.support.cassandra import fresh_target
from tests.support.taps import ALL, HAHA, LIKE, LOVE, NONE, WOW
from tests.support.town import Town, open_town

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("patient_redis")]

LANES = 4


@pytest.fixture
async def town(cassandra: Cassandra, redis: Redis, anyio_backend: str) -> AsyncIterator[Town]:
    async with open_town(cassandra, redis) as opened:
        yield opened


async def split_target(town: Town) -> str:
    """Of the root's users ann, bob and cid tapped since, dan and off did not; eve and fay are new."""
    name = fresh_target()
    await town.tap(name, ann=LIKE, bob=LOVE, cid=HAHA, dan=LIKE, off=LIKE)
    await town.tap(name, off=NONE)
    await town.split(name, LANES)
    await town.tap(name, ann=WOW, bob=NONE, cid=LIKE, eve=LIKE, fay=LOVE)
    await town.tap(name, fay=NONE)
    await town.settled()
    await kept(town, name)
    return name


async def kept(town: Town, name: str) -> Target:
    """Whoever reads a target has its totals kept."""
    target = (await town.lists.targets([name]))[name]
    await town.totals.put({name: target})
    return target


async def people(town: Town, name: str) -> dict[str, int]:
    return {e.key: e.reaction for e in await town.lists.reactors(name, ALL, None, 10, split=True)}


HERE = {"ann": WOW, "cid": LIKE, "dan": LIKE, "eve": LIKE}


def key_of(name: str, user: str) -> CellKey:
    return CellKey(name, lane_of(user, LANES))


async def test_where_all_cells_agree_nothing_is_found(town: Town) -> None:
    name = await split_target(town)
    await town.inhabited(1)
    assert await town.audit() == []
    lanes = {lane_of(user, LANES) for user in ("ann", "bob", "cid", "eve", "fay")}
    assert town.metrics.audited == 2 + len(lanes), "every lane too"
    assert await people(town, name) == HERE


async def test_what_events_that_were_lost_left_behind_is_mended(town: Town) -> None:
    name = await split_target(town)
    town.deaf = True
    await town.tap(name, dan=LOVE, eve=NONE, ann=LIKE, gus=HAHA)
    town.deaf = False
    found = await town.audit()
    assert {one.target for one in found} == {name}
    # dan, ann and gus are missing; dan, eve and ann stand where they should not.
    assert Counter(one.store for one in found) == {"totals": 1, "flushed": 1, "lists": 6, "index": 4}
    assert await town.audit(repair=True) == found
    assert await town.audit() == []
    now = {"ann": LIKE, "cid": LIKE, "dan": LOVE, "gus": HAHA}
    assert await people(town, name) == now
    state = (await town.lists.targets([name]))[name].header
    found_ = (await town.totals.get([name]))[name].header
    flushed = (await town.counts.get([name]))[name].header
    assert state is not None
    assert found_ is not None
    assert flushed is not None
    assert (state.seq, state.counts) == (found_.seq, found_.counts) == (flushed.seq, flushed.counts)
    for user in ("ann", "dan", "eve", "gus"):
        mine = {e.key: e.reaction for e in await town.lists.reacted(user, None, 10)}
        assert mine.get(name, NONE) == now.get(user, NONE)
    assert town.metrics.drift == 0


async def test_a_registration_that_lanes_told_nobody_of_is_mended(town: Town) -> None:
    """As its commit does that is applied when the process is dead. It moves nobody: totals alone have to follow."""
    name = await split_target(town)
    nothing: Any = None  # that a registration does not touch
    alter = Alter(town.cells, town.publisher(), SystemClock(), Random(0))
    town.deaf = True
    directory = CellDirectory(alter, nothing, nothing, SystemClock())
    told = await directory.register(name, Registration(type="post", owner="olga"))
    town.deaf = False
    assert told.header is not None
    [found] = await town.audit(repair=True)
    assert (found.store, found.target) == ("totals", name)
    kept = (await town.totals.get([name]))[name].header
    assert kept is not None
    assert (kept.seq, kept.counts) == (told.header.seq, told.header.counts)
    assert await town.audit() == []


async def test_damaged_totals_and_strays_of_every_list_are_mended(town: Town) -> None:
    name, other = await split_target(town), await split_target(town)
    right = await kept(town, name)
    assert right.header is not None
    await town.totals.forget([name])
    wrong = msgspec.structs.replace(right.header, counts=(9,), lanes=1)
    await town.totals.put({name: Target(wrong)})
    at = right.header.last_at
    for bucket, user, reaction, place in (
        (0, "ann", LIKE, at - 9),  # in the root's list
        (2, "zoe", LOVE, at - 9),  # in one that is not hers
        (list_bucket(1, "hal"), "hal", WOW, at - 8),
    ):
        await town.run(
            "INSERT INTO $keyspace.reactors (target, bucket, reaction, created_at, user) "
            f"VALUES (?, ?, ?, ?, ?) USING TIMESTAMP {right.header.born}",
            *(name, bucket, reaction, place, user),
        )
    await town.run(
        "INSERT INTO $keyspace.reactions_by_user (user, created_at, target, reaction) "
        f"VALUES ('hal', ?, ?, 1) USING TIMESTAMP {at - 8}",
        *(at - 8, name),
    )
    found = await town.audit(repair=True)
    assert {one.target for one in found} == {name}, other
    assert Counter((one.store, one.user) for one in found) == {
        ("totals", None): 1,
        ("lists", "ann"): 1,
        ("lists", "hal"): 1,
        ("lists", "zoe"): 1,
        ("index", "hal"): 1,
    }
    assert await town.audit() == []
    assert await people(town, name) == HERE


async def test_a_cell_that_disagrees_with_its_rows_is_reported_and_nothing_derived_from_it(
    town: Town,
) -> None:
    counted, from_nowhere, elsewhere, root = [await split_target(town) for _ in range(4)]
    await damage(town, key_of(counted, "eve"), counts=(7,))
    await damage(town, key_of(from_nowhere, "eve"), rows={someone(like="eve"): Row(LIKE, 5, 6, base=LIKE)})
    await damage(town, key_of(elsewhere, "eve"), more=1, rows={someone(unlike="eve"): Row(NONE, 5, 6)})
    await damage(town, CellKey(root), counts=(1, 1))
    town.deaf = True
    for name in (counted, from_nowhere, elsewhere, root):
        await town.tap(name, cid=WOW)
    town.deaf = False
    drift: list[Drift] = []
    auditor = town.auditor(drift.append, repair=True)
    for name in (counted, from_nowhere, elsewhere, root):
        await auditor.target(name)
    assert {one.store for one in drift} == {"ledger"}
    assert {one.target for one in drift} == {counted, from_nowhere, elsewhere, root}
    said = {one.target: one.what for one in drift}
    assert "lane" in said[counted]
    assert "the root has nothing" in said[from_nowhere]
    assert "belongs to another" in said[elsewhere]
    assert said[root].startswith("the header counts")
    assert (await people(town, counted))["cid"] == LIKE, "nothing is mended from it"


def someone(*, like: str | None = None, unlike: str | None = None) -> str:
    """A user who is in the lane of one, or not in that of another."""
    lane = lane_of(like or unlike or "", LANES)
    return next(user for user in (f"x{n}" for n in range(99)) if (lane_of(user, LANES) == lane) is bool(like))


async def damage(
    town: Town,
    key: CellKey,
    *,
    counts: tuple[int, ...] | None = None,
    more: int = 0,
    rows: Mapping[str, Row] = MappingProxyType({}),
) -> None:
    state = await town.cells.settle(key, [])
    assert state.header is not None
    wrong = msgspec.structs.replace(
        state.header,
        seq=state.seq + 1,
        counts=state.header.counts if counts is None else counts,
        rows=state.header.rows + more,
    )
    lanes = state.header.lanes
    assert await town.cells.propose(key, Proposal(state.seq, wrong, rows, lanes=lanes))


async def test_erased_users_leave_cells_that_agree(town: Town) -> None:
    name = await split_target(town)
    async with cleaner(town, "ann", "dan", "eve", "off") as leftovers:
        assert await leftovers.remove(name, ["ann", "dan", "eve", "off"]) == 4
        await town.settled()
        await kept(town, name)
        assert await town.audit() == []
        await town.tap(name, bob=LIKE)
        await town.settled()
    async with cleaner(town, "bob") as leftovers:
        drift: list[Drift] = []
        await town.auditor(drift.append, repair=True, leftovers=leftovers).target(name)
        assert drift == []
        assert await leftovers.remove(name, ["bob"]) == 0, "the auditor came by"
    await town.settled()
    assert await town.audit() == []
    assert await people(town, name) == {"cid": LIKE}


async def test_a_large_split_target_is_compared_without_its_rows(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await split_target(town)
    monkeypatch.setattr("plaudit.services.compare.MOST_ROWS", 3)
    town.deaf = True
    await town.tap(name, eve=WOW)
    town.deaf = False
    drift: list[Drift] = []
    auditor = town.auditor(drift.append)
    await auditor.everything("test")
    assert Counter(one.store for one in drift) == {"totals": 1, "flushed": 1}
    assert (auditor.lists_left_out, town.metrics.lists_not_audited) == (1, 1)


async def test_a_rebuild_fills_everything_of_a_split_target(town: Town) -> None:
    name = await split_target(town)
    await town.totals.forget([name])
    rebuild = town.rebuild()
    await rebuild.run()
    assert rebuild.unreadable == []
    assert await town.audit() == []
    right = (await town.lists.targets([name]))[name].header
    found = (await town.totals.get([name]))[name].header
    flushed = (await town.counts.get([name]))[name].header
    assert right is not None
    assert found is not None
    assert flushed is not None
    assert (right.seq, right.counts) == (found.seq, found.counts) == (flushed.seq, flushed.counts)
    assert await people(town, name) == HERE
    rows = await town.run("SELECT bucket, user FROM $keyspace.reactors")
    assert len(rows) == len(HERE), "nobody stands in two lists"
