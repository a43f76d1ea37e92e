"""The auditor on real stores: damage is found and mended, a damaged ledger left alone, and traffic is no drift."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from itertools import count
from random import Random

import msgspec
import pytest

from plaudit.adapters.system import SystemClock
from plaudit.domain.cell import Row
from plaudit.domain.errors import Corrupt, Unavailable
from plaudit.domain.removal import begin_purge
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.ledger import Target
from plaudit.ports.removals import new_job
from plaudit.services import audit_cells
from plaudit.services.audit_cells import AuditWorker
from plaudit.services.compare import DERIVED, Drift
from plaudit.services.walk import Walk
from plaudit.services.whole import PAGE, read_whole
from tests.engines.cassandra import Cassandra
from tests.engines.redis import Redis
from tests.support.cassandra import fresh_target
from tests.support.taps import ALL, HAHA, LIKE, LOVE, NONE, set_to
from tests.support.totals import Meanwhile
from tests.support.town import Town, open_town
from tests.support.wait import until

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("patient_redis")]


@pytest.fixture
async def town(cassandra: Cassandra, redis: Redis, anyio_backend: str) -> AsyncIterator[Town]:
    async with open_town(cassandra, redis) as opened:
        yield opened


def stores(drift: list[Drift]) -> Counter[str]:
    return Counter(one.store for one in drift)


async def test_where_all_agree_nothing_is_found(town: Town) -> None:
    await town.inhabited()
    assert await town.audit() == []
    assert town.metrics.audited == 3
    shown = re.findall(r'plaudit_derived_drift_total{store="(\w+)"} (.+)', town.metrics.render().decode())
    assert shown == [(store, "0.0") for store in DERIVED]


async def test_lost_events_are_found_and_mended(town: Town) -> None:
    names = await town.inhabited()
    town.deaf = True
    await town.tap(names[0], eve=LIKE, ann=LOVE, bob=NONE, cid=LIKE)
    town.deaf = False
    found = await town.audit()
    assert {one.target for one in found} == {names[0]}
    # eve, ann and cid are missing; ann and bob stand where they should not.
    assert stores(found) == {"totals": 1, "flushed": 1, "lists": 5, "index": 4}
    assert {one.user for one in found if one.store == "index"} == {"ann", "bob", "cid", "eve"}
    assert await town.audit() == found, "nothing was asked to be repaired"
    assert await town.audit(repair=True) == found
    assert await town.audit() == []
    people = {entry.key: entry.reaction for entry in await town.lists.reactors(names[0], ALL, None, 10)}
    assert people == {"eve": LIKE, "ann": LOVE, "cid": LIKE, "dan": LIKE}
    assert b'plaudit_derived_drift_total{store="lists"} 15.0' in town.metrics.render()
    assert town.metrics.drift == 0


async def test_damaged_totals_are_found_and_mended(town: Town) -> None:
    behind, wrong, ahead, nothing, unknown = await town.inhabited(5)
    right = await town.header(wrong)
    assert right.header is not None
    seq = right.header.seq
    for name, damaged in (
        (behind, Target(msgspec.structs.replace(right.header, seq=seq - 1))),
        (wrong, Target(msgspec.structs.replace(right.header, counts=(9,)))),
        (ahead, Target(msgspec.structs.replace(right.header, seq=seq + 5))),
        (nothing, Target()),
        (unknown, None),
    ):
        await town.totals.forget([name])
        if damaged is not None:
            await town.totals.put({name: damaged})
    found = await town.audit(repair=True)
    assert stores(found) == {"totals": 4}
    assert {one.target for one in found} == {behind, wrong, ahead, nothing}, (
        "unknown ones are read when asked for"
    )
    assert await town.audit() == []


async def test_a_tap_while_totals_are_mended_is_not_lost(town: Town) -> None:
    late, _ = names = await town.inhabited(2)
    for name in names:
        header = (await town.header(name)).header
        assert header is not None
        seq, counts = (header.seq - 1, header.counts) if name == late else (header.seq, (9,))
        await town.totals.forget([name])
        await town.totals.put({name: Target(msgspec.structs.replace(header, seq=seq, counts=counts))})
    town.totals = Meanwhile(town.totals, lambda name: town.tap(name, eve=LOVE))
    assert stores(await town.audit(repair=True)) == {"totals": 2}
    kept = {name: state.header for name, state in (await town.totals.get(names)).items()}
    newest = (await town.header(late)).header
    assert newest is not None
    assert kept == {late: msgspec.structs.replace(newest, last_at=0)}, (
        "who wants the other one asks the ledger"
    )


async def test_damaged_flushed_totals_are_found_and_mended(town: Town) -> None:
    lost, old, fine = await town.inhabited()
    await town.run("DELETE FROM $keyspace.reaction_counts USING TIMESTAMP 1 WHERE target = ?", fine)
    for name, version in ((lost, 6), (old, 5)):
        await town.run(
            f"DELETE FROM $keyspace.reaction_counts USING TIMESTAMP {version - 1} WHERE target = ?", name
        )
    await town.run("TRUNCATE $keyspace.reaction_counts")
    await town.run(
        "INSERT INTO $keyspace.reaction_counts (target, type, counts, total, rows, version) "
        "VALUES (?, 'post', [1], 1, 1, 5) USING TIMESTAMP 5",
        old,
    )
    found = await town.audit(repair=True)
    assert stores(found) == {"flushed": 3}
    assert await town.audit() == []
    counts = {
        name: state.header.counts
        for name, state in (await town.counts.get([lost, old])).items()
        if state.header
    }
    assert counts == {lost: (3, 0, 0), old: (3, 0, 0)}


async def test_a_target_that_is_being_deleted_while_no_job_does_it_gets_one(town: Town) -> None:
    forsaken, deleted, _ = await town.inhabited()
    await town.jobs.save(new_job("delete_target", deleted, 1))
    for name in (forsaken, deleted):
        header = (await town.header(name)).header
        assert header is not None
        closed = begin_purge(header, "post")
        assert await town.cells.propose(CellKey(name), Proposal(header.seq, closed, {}))
        await town.publisher().commit(CellKey(name), closed, [], "delete")
    await town.settled()
    found = await town.audit(repair=True)
    assert [(one.store, one.target) for one in found] == [("jobs", forsaken)]
    job = await town.jobs.latest("delete_target", forsaken)
    assert job is not None
    assert job.state == "running"
    assert await town.audit() == []


async def test_stray_entries_are_found_and_deleted(town: Town) -> None:
    name, *_ = await town.inhabited()
    state = await town.header(name)
    assert state.header is not None
    at = state.header.last_at
    gone = fresh_target()  # a target that was never there
    for user, reaction, created_at in (("zoe", LIKE, at - 9), ("ann", HAHA, at - 9)):
        await town.run(
            "INSERT INTO $keyspace.reactors (target, bucket, reaction, created_at, user) "
            f"VALUES (?, 0, ?, ?, ?) USING TIMESTAMP {at}",
            *(name, reaction, created_at, user),
        )
    for user, target in (("ann", gone), ("zoe", name)):
        await town.run(
            "INSERT INTO $keyspace.reactions_by_user (user, created_at, target, reaction) "
            f"VALUES (?, ?, ?, 1) USING TIMESTAMP {at + 7}",
            *(user, at, target),
        )
    found = await town.audit(repair=True)
    assert [(one.store, one.target, one.user) for one in found] == sorted(
        [("index", gone, "ann"), ("index", name, "zoe"), ("lists", name, "ann"), ("lists", name, "zoe")]
    )
    assert await town.audit() == []
    assert {e.key for e in await town.lists.reactors(name, ALL, None, 10)} == {"ann", "bob", "dan"}
    assert len(await town.lists.reacted("ann", None, 10)) == 3
    await town.tap(name, zoe=LIKE)
    assert (await town.lists.reactors(name, [LIKE], None, 1))[0].key == "zoe", "who comes later is listed"


async def test_a_ledger_that_disagrees_with_itself_is_reported_and_never_touched(town: Town) -> None:
    miscounted, lost_row, unreadable, sound = await town.inhabited(4)
    state = await town.cells.settle(CellKey(miscounted), [])
    assert state.header is not None
    wrong = msgspec.structs.replace(state.header, seq=state.seq + 1, counts=(7, 1))
    assert await town.cells.propose(CellKey(miscounted), Proposal(state.seq, wrong, {}))
    state = await town.cells.settle(CellKey(lost_row), [])
    assert state.header is not None
    wrong = msgspec.structs.replace(state.header, seq=state.seq + 1)
    row = Row(LIKE, 5, 6)
    assert await town.cells.propose(CellKey(lost_row), Proposal(state.seq, wrong, {"zoe": row}))
    await town.run(
        "UPDATE $keyspace.cell SET header = 0xff WHERE target = ? AND bucket = 0 AND user = ''", unreadable
    )
    everything = [
        "SELECT * FROM $keyspace.cell",
        "SELECT * FROM $keyspace.reactors",
        "SELECT * FROM $keyspace.reactions_by_user",
        "SELECT * FROM $keyspace.reaction_counts",
    ]
    before = [await town.run(query) for query in everything]
    totals = await town.totals.get([miscounted, lost_row, sound])
    found = await town.audit(repair=True)
    assert {one.store for one in found} == {"ledger"}
    assert {one.target for one in found} == {miscounted, lost_row, unreadable}
    assert town.metrics.drift == len(found)
    assert [await town.run(query) for query in everything] == before
    assert await town.totals.get([miscounted, lost_row, sound]) == totals


async def test_long_lists_are_read_in_pieces(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plaudit.adapters.cassandra.sweep.PER_READ", 3)
    name, process = fresh_target(), town.process()
    users = [f"u{n}" for n in range(20)]
    await asyncio.gather(
        *(process.submit(name, set_to(user, (LIKE, LOVE)[n % 2])) for n, user in enumerate(users))
    )
    await process.drain()
    assert sorted(entry.user for entry in await town.sweep.listed(name, ALL, 100)) == sorted(users)
    assert len(await town.sweep.listed(name, ALL, 4)) == 8, "so many of each"
    await town.settled()
    assert await town.audit() == []


async def test_one_target_alone(town: Town) -> None:
    one, other, _ = await town.inhabited()
    town.deaf = True
    await town.tap(one, eve=LIKE)
    await town.tap(other, eve=LIKE)
    town.deaf = False
    drift: list[Drift] = []
    auditor = town.auditor(drift.append, repair=True)
    await auditor.target(one)
    assert {d.target for d in drift} == {one}
    assert auditor.audited == 1
    await auditor.target(fresh_target())
    assert {d.target for d in await town.audit()} == {other}


async def test_what_is_recent_is_not_held_against_those_who_follow(town: Town) -> None:
    name, *_ = await town.inhabited()
    town.deaf = True
    await town.tap(name, eve=LIKE)
    drift: list[Drift] = []
    await town.auditor(drift.append, clock=SystemClock()).everything("test")
    assert drift == []


async def test_a_walk_goes_on_where_it_was_interrupted(town: Town) -> None:
    everything = {CellKey(name) for name in await town.inhabited(30)}
    seen: list[CellKey] = []

    async def visit(key: CellKey) -> None:
        if len(seen) == 12:
            raise Unavailable("away")
        seen.append(key)

    looks: list[tuple[int, int]] = []
    with pytest.raises(Unavailable):
        await Walk(town.sweep, "walk").run(town.sweep.cells, visit, lambda *look: looks.append(look))
    first, seen = seen, []
    assert looks[0][0] == 0
    half = looks[-1][0]
    looks.clear()

    async def note(key: CellKey) -> None:
        seen.append(key)

    await Walk(town.sweep, "walk").run(town.sweep.cells, note, lambda *look: looks.append(look))
    assert set(first) | set(seen) == everything
    assert looks[0][0] >= half > 0
    assert looks[-1][0] == looks[-1][1]
    assert len(seen) < len(everything)
    seen.clear()
    await Walk(town.sweep, "walk").run(town.sweep.cells, note)
    assert Counter(seen) == Counter(everything), "a walk that came to its end begins anew"


async def test_a_large_cell_is_read_as_of_one_moment_while_others_commit(town: Town) -> None:
    name, process = fresh_target(), town.process()
    users = [f"u{n:04}" for n in range(2 * PAGE)]
    await asyncio.gather(*(process.submit(name, set_to(user, LIKE)) for user in users))
    random, going = Random(11), True

    async def traffic() -> None:
        while going:
            await process.submit(name, set_to(random.choice(users), random.choice((LIKE, LOVE, NONE))))

    tapping = asyncio.create_task(traffic())
    moved = 0
    try:
        for reads in count(1):
            assert reads < 1000, "it does change meanwhile"
            whole = await read_whole(town.cells, town.sweep, CellKey(name), 10_000, fenced=False)
            if whole is None:
                moved += 1
            else:
                assert sum(whole.counts) == whole.header.total
                assert whole.counted == whole.header.rows == len(users)
            if reads >= 10 and moved:
                break
    finally:
        going = False
        await tapping
    whole = await read_whole(town.cells, town.sweep, CellKey(name), 10, fenced=False)
    assert whole is not None
    assert (whole.counted, whole.rows) == (len(users), None)


async def test_a_sweep_under_writing_traffic_reports_no_drift(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plaudit.services.publish.PATIENCE_S", 60)  # nobody here pays what is owed
    names, random = await town.inhabited(20), Random(13)
    processes = [town.process() for _ in range(2)]
    ends = time.monotonic() + 6

    async def user(name: str) -> None:
        while time.monotonic() < ends:
            target = random.choice(names)
            town.under_way[name] = time.monotonic()
            await random.choice(processes).submit(target, set_to(name, random.choice((NONE, *ALL))))
            del town.under_way[name]
            await asyncio.sleep(0)

    drift: list[Drift] = []
    auditor = town.auditor(drift.append, clock=SystemClock(), grace_s=1)

    async def sweep() -> None:
        while time.monotonic() < ends:
            await auditor.everything("test")

    await asyncio.gather(sweep(), *(user(f"u{n}") for n in range(24)))
    assert drift == []
    assert auditor.audited >= len(names)
    await asyncio.gather(*(process.drain() for process in processes))
    await town.settled()
    assert await town.audit() == []


async def test_a_worker_goes_round_and_round(town: Town) -> None:
    names = await town.inhabited()
    town.deaf = True
    await town.tap(names[0], eve=LIKE)
    town.deaf = False
    drift: list[Drift] = []
    auditor = town.auditor(drift.append, repair=True)
    async with AuditWorker(auditor):
        await until(lambda: auditor.audited >= len(names), "a first round")
    assert drift
    assert await town.audit() == []


async def test_a_worker_goes_on_after_whatever_failed(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    names = await town.inhabited()
    auditor = town.auditor(lambda _: None)
    monkeypatch.setattr(audit_cells, "RETRY_S", 0.01)
    real, failures = auditor.everything, [KeyError("a fault of ours"), Unavailable("away"), Corrupt("odd")]

    async def everything(task: str) -> None:
        if failures:
            raise failures.pop()
        await real(task)

    monkeypatch.setattr(auditor, "everything", everything)
    async with AuditWorker(auditor):
        await until(lambda: auditor.audited >= len(names), "a round after all of them")
    assert failures == []
