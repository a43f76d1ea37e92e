"""Split targets move: out of the store each reaction once, and into the lanes of one that is split."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import pytest

from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Row
from plaudit.domain.lanes import lane_of, merge
from plaudit.domain.merge import Tally
from plaudit.domain.transfer import ReactionRecord, Record, TargetRecord, UserRecord
from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.lists import Entry
from plaudit.services.intake import CellPreview
from plaudit.services.lanes import headers
from plaudit.services.source import CellSource
from tests.engines.cassandra import Cassandra
from tests.integration.cassandra.test_intake import AT, batch, some, take
from tests.support.cassandra import Cluster, Process, cluster, fresh_target
from tests.support.taps import ALL, HAHA, LIKE, LOVE, NONE, WOW, set_to

pytestmark = pytest.mark.timeout(300)

LANES = 4


@pytest.fixture
async def parts(cassandra: Cassandra, anyio_backend: str) -> AsyncIterator[Cluster]:
    async with cluster(cassandra, SystemClock()) as parts:
        yield parts


async def tap(process: Process, target: str, **wishes: int) -> None:
    for user, reaction in wishes.items():
        await process.committer.submit(target, set_to(user, reaction))


async def split_target(process: Process) -> str:
    """Of ten in the root four have tapped since, and three are new; one of each has none any more."""
    target = fresh_target()
    await tap(process, target, **{f"u{n}": ALL[n % 3] for n in range(9)}, off=LIKE)
    await tap(process, target, off=NONE)
    await process.split(target, LANES)
    await tap(process, target, u0=WOW, u1=NONE, u2=LIKE, off=LOVE, new1=LIKE, new2=HAHA, new3=LIKE)
    await tap(process, target, new3=NONE)
    return target


async def out(parts: Cluster, process: Process, target: str, rows_at_once: int = 3) -> list[Record]:
    """What an export gives of one target."""
    source = CellSource(
        *(parts.cells, parts.sweep, parts.users, parts.users, process.erased), rows_at_once=rows_at_once
    )
    async with process.erased, source.records() as (_, pages):
        return [record async for page in pages for record in page if _is_of(record, target)]


def _is_of(record: Record, target: str) -> bool:
    return not isinstance(record, UserRecord) and record.target == target


async def rows_of(parts: Cluster, target: str) -> tuple[Header, dict[str, Row]]:
    """What a split target shows, and the rows that count. Every cell agrees with its rows."""
    root, lanes = await headers(parts.cells, target)
    rows = (await parts.sweep.page(CellKey(target), None, 10_000)).rows
    assert _counted(Counter(row.reaction for row in rows.values())) == _counted(_numbered(root))
    together = dict(rows)
    for bucket, header in lanes.items():
        found = (await parts.sweep.page(CellKey(target, bucket), None, 10_000)).rows
        counted = Counter(row.reaction for row in found.values())
        counted.subtract(Counter(row.base for row in found.values() if row.base))
        assert _counted(_numbered(header)) == _counted(counted), bucket
        assert header.rows == sum(row.base is None for row in found.values())
        assert len(header.recent) == len(header.recent_at)
        for user, row in found.items():
            assert lane_of(user, root.lanes) == bucket
            assert row.base == (rows[user].reaction if user in rows else None)
        together |= found
    shown = merge(root, lanes)
    assert _counted(_numbered(shown)) == _counted(Counter(row.reaction for row in together.values()))
    assert shown.rows == len(together)
    return shown, together


async def checked(parts: Cluster, target: str) -> tuple[Header, dict[str, Row]]:
    """As `rows_of`; and the lists of the target and of its users say the same."""
    shown, rows = await rows_of(parts, target)
    listed = await parts.lists.reactors(target, ALL, None, 10_000, split=True)
    assert sorted(entry.key for entry in listed) == sorted(user for user, row in rows.items() if row.reaction)
    assert set(listed) == {
        Entry(user, row.reaction, row.created_at) for user, row in rows.items() if row.reaction
    }
    for user, row in rows.items():
        mine = [e for e in await parts.lists.reacted(user, None, 5_000) if e.key == target]
        assert mine == ([Entry(target, row.reaction, row.created_at)] if row.reaction else [])
    return shown, rows


def _numbered(header: Header) -> dict[int, int]:
    return dict(enumerate(header.counts, 1))


def _counted(counts: dict[int, int]) -> dict[int, int]:
    return {code: n for code, n in counts.items() if code and n}


def reactions(records: Sequence[Record]) -> list[ReactionRecord]:
    return [record for record in records if isinstance(record, ReactionRecord)]


async def test_an_export_gives_each_reaction_once_as_its_lane_has_it(parts: Cluster) -> None:
    process = await parts.process()
    target = await split_target(process)
    shown, rows = await checked(parts, target)
    about, *rest = await out(parts, process, target)
    assert about == TargetRecord(target=target, type="post", version=shown.seq)
    found = reactions(rest)
    assert len(found) == len(rest) == 13
    assert {record.user: record for record in found} == {
        user: ReactionRecord(target, user, row.reaction, row.created_at, row.updated_at, "post")
        for user, row in rows.items()
    }
    given = {record.user: record.reaction for record in found}
    assert (given["u0"], given["u1"], given["u3"], given["off"], given["new2"]) == (
        WOW,
        NONE,
        LIKE,
        LOVE,
        HAHA,
    )


async def test_whoever_taps_meanwhile_is_given_out_once(parts: Cluster) -> None:
    process = await parts.process()
    target = await split_target(process)
    before = (await rows_of(parts, target))[0].seq
    source = CellSource(*(parts.cells, parts.sweep, parts.users, parts.users, process.erased), rows_at_once=3)
    found: list[Record] = []
    async with process.erased, source.records() as (_, pages):
        async for page in pages:
            found += [record for record in page if _is_of(record, target)]
            if found and len(found) < 6:  # after the first of the root: of those given out, to come, and new
                await tap(process, target, off=WOW, u8=WOW, new4=LIKE, new1=WOW)
    given = Counter(record.user for record in reactions(found))
    assert set(given.values()) == {1}
    assert set(given) >= {*(f"u{n}" for n in range(9)), "off", "new1", "new2", "new3", "new4"}
    after = (await rows_of(parts, target))[0].seq
    assert [record.version for record in found if isinstance(record, TargetRecord)] == [before, after]


async def test_an_export_imported_where_it_comes_from_changes_nothing(parts: Cluster) -> None:
    process = await parts.process()
    target = await split_target(process)
    before, records = await rows_of(parts, target), await out(parts, process, target)
    events = len(parts.log.of(target))
    tally = await take(process, *records)  # type: ignore[arg-type] # there are no users among them
    assert tally == Tally(skipped=Counter(already_there=14))
    assert await checked(parts, target) == before
    told = parts.log.of(target)[events:]
    assert {event.cause for event in told} == {"import"}
    assert await out(parts, process, target) == records


async def test_an_import_into_a_split_target_goes_to_the_lanes(parts: Cluster) -> None:
    process = await parts.process()
    target = await split_target(process)
    root = await parts.cells.settle(CellKey(target), [])
    later = SystemClock().now_us() + 1_000_000
    about = TargetRecord(target=target, type="post", version=500)
    changed = [
        ReactionRecord(target, "u3", HAHA, AT, later),  # in the root alone, and first here
        ReactionRecord(target, "u0", NONE, AT, later),  # taken over
        ReactionRecord(target, "new1", WOW, AT, later),
        ReactionRecord(target, "u4", WOW, AT, AT),  # older than what is there
    ]
    tally = await take(process, about, *changed, *some(target, 200))
    assert (tally.created, tally.changed) == (200, 3)
    assert tally.skipped == {"already_there": 1, "newer_there": 1}
    shown, rows = await checked(parts, target)
    assert {user: rows[user].reaction for user in ("u3", "u0", "new1", "u4")} == {
        "u3": HAHA,
        "u0": NONE,
        "new1": WOW,
        "u4": LOVE,
    }
    assert (shown.seq, shown.born, rows["u3"].created_at) == (500, AT, AT)
    now = await parts.cells.settle(CellKey(target), ["u3"])
    assert now.rows["u3"].reaction == LIKE, "the root is sealed"
    assert root.header is not None
    assert now.header is not None
    assert (now.header.counts, now.header.rows) == (root.header.counts, root.header.rows)
    again = await take(process, about, *changed, *some(target, 200))
    assert again == Tally(skipped=again.skipped)
    assert await checked(parts, target) == (shown, rows)
    await tap(process, target, u3=LIKE, u00005=LOVE)
    assert (await checked(parts, target))[0].seq == 502


async def test_what_is_said_of_a_split_target_reaches_its_lanes(parts: Cluster) -> None:
    process = await parts.process()
    target = await split_target(process)
    told = Registration(type="comment", owner="olga", closed=True)
    records: list[TargetRecord | ReactionRecord] = [
        TargetRecord(target=target, type="comment", registration=told),
        ReactionRecord(target, "eve", LIKE, AT, AT, "comment"),
        ReactionRecord(target, "fay", LIKE, AT, AT, "comment"),
    ]
    preview = await CellPreview(parts.cells, parts.cells, parts.users, process.erased).store(
        batch(*records), whole=True
    )
    assert (preview.tally.targets, preview.tally.created, preview.tally.refused) == (1, 2, [])
    assert await take(process, *records) == preview.tally
    await checked(parts, target)
    for bucket in range(LANES + 1):
        state = await parts.cells.settle(CellKey(target, bucket), [])
        assert state.header is not None
        assert (state.header.type, state.registration) == ("comment", told)
    refused = await process.intake.store(
        batch(TargetRecord(target=target, type="comment", deleted=True)), whole=True
    )
    assert [code for code, _ in refused.tally.refused] == ["target_in_use"]


async def test_a_target_that_is_split_while_it_is_imported_goes_on_in_its_lanes(parts: Cluster) -> None:
    target, process = fresh_target(), await parts.process()
    commits = 0

    class Splits:
        """The store, on which somebody splits the target before the third commit of the import."""

        async def propose(self, key: CellKey, proposal: Proposal) -> bool:
            nonlocal commits
            commits += 1
            if commits == 3:
                await process.split(target, LANES)
            return await parts.cells.propose(key, proposal)

    process.intake._cells = Splits()  # type: ignore[assignment] # of the port only what is asked of it here
    about = TargetRecord(target=target, type="post", version=900)
    tally = await take(process, about, *some(target, 600))
    assert (tally.created, tally.targets, tally.skipped) == (600, 1, {})
    shown, rows = await checked(parts, target)
    assert (shown.counts, shown.lanes) == ((600,), LANES)
    assert 900 <= shown.seq < 910, "what was stored in the root left room for fewer commits than there were"
    assert sum(row.base is None for row in rows.values()) == 600


@pytest.mark.parametrize("dies_after", [9, 16, 25])
async def test_an_import_into_lanes_that_is_killed_is_run_again(parts: Cluster, dies_after: int) -> None:
    process = await parts.process()
    target = await split_target(process)
    about = TargetRecord(target=target, type="post", version=300)
    mortal = await parts.process(dies_after=dies_after)
    killed = asyncio.create_task(take(mortal, about, *some(target, 300)))
    await asyncio.wait([killed, asyncio.create_task(mortal.dead.wait())], return_when="FIRST_COMPLETED")
    assert not killed.done(), "it was killed in the middle"
    killed.cancel()
    await mortal.kill()
    await take(await parts.process(), about, *some(target, 300))
    shown, rows = await checked(parts, target)
    assert (shown.seq, len(rows)) == (300, 313)
