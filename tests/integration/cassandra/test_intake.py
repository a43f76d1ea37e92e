"""Imports into cells that others tap meanwhile, by commits that are cut where one is full, killed and run again."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from plaudit.adapters.system import SystemClock
from plaudit.domain.cell import Header
from plaudit.domain.merge import Tally
from plaudit.domain.transfer import ReactionRecord, Record, TargetRecord, UserRecord
from plaudit.ports.cells import CellKey
from plaudit.ports.lists import Entry
from plaudit.ports.transfer import Batch
from plaudit.services.source import CellSource
from plaudit.services.whole import read_whole
from tests.engines.cassandra import Cassandra
from tests.support.cassandra import Cluster, Process, cluster, fresh_target
from tests.support.taps import ALL, LIKE, LOVE, NONE, WOW, set_to

pytestmark = pytest.mark.timeout(120)

AT = 1_700_000_000_000_000


@pytest.fixture
async def parts(cassandra: Cassandra, anyio_backend: str) -> AsyncIterator[Cluster]:
    async with cluster(cassandra, SystemClock()) as parts:
        yield parts


def some(target: str, users: int, *, reaction: int = LIKE, start: int = 0) -> list[ReactionRecord]:
    return [ReactionRecord(target, f"u{n:05}", reaction, AT + n, AT + n) for n in range(start, start + users)]


def batch(*records: TargetRecord | ReactionRecord) -> Batch:
    made = Batch()
    for record in records:
        if isinstance(record, ReactionRecord):
            made.reactions.setdefault(record.target, []).append(record)
        else:
            made.targets.setdefault(record.target, []).append(record)
    return made


async def take(process: Process, *records: TargetRecord | ReactionRecord) -> Tally:
    stored = await process.intake.store(batch(*records), whole=True)
    assert stored.stored
    return stored.tally


async def checked(parts: Cluster, target: str) -> Header:
    """The header, which is what its rows add up to, and in step with the lists and the newest event."""
    whole = await read_whole(parts.cells, parts.sweep, CellKey(target), 100_000, fenced=True)
    assert whole is not None
    assert whole.rows is not None
    assert whole.counts == whole.header.counts[: len(whole.counts)]
    assert sum(whole.counts) == whole.header.total
    assert whole.header.rows == whole.counted
    listed = await parts.lists.reactors(target, ALL, None, 100_000)
    assert len(listed) == len(set(listed))
    assert set(listed) == {
        Entry(user, row.reaction, row.created_at) for user, row in whole.rows.items() if row.reaction
    }
    newest = parts.log.newest(target)
    assert (newest.seq, newest.counts) == (whole.header.seq, whole.header.counts)
    return whole.header


async def test_a_version_is_kept_where_a_target_needs_several_commits(parts: Cluster) -> None:
    target, process = fresh_target(), await parts.process()
    about = TargetRecord(target=target, type="post", version=1000)
    tally = await take(process, about, *some(target, 300))
    assert (tally.created, tally.targets) == (300, 1)
    header = await checked(parts, target)
    assert (header.seq, header.counts, header.rows) == (1000, (300,), 300)
    assert [event.seq for event in parts.log.of(target)] == [998, 999, 1000]
    again = await take(process, about, *some(target, 300))
    assert again == Tally(skipped=again.skipped)
    assert await checked(parts, target) == header
    more = TargetRecord(target=target, type="post", version=2000)
    assert (await take(process, more, *some(target, 300))).targets == 0
    assert (await checked(parts, target)).seq == 2000


async def test_a_batch_of_long_names_is_cut_by_its_weight(parts: Cluster) -> None:
    target, process = fresh_target(), await parts.process()
    names = [f"{n:03}".ljust(128, "x") for n in range(128)]
    await take(process, *(ReactionRecord(target, name, LIKE, AT, AT) for name in names))
    assert [len(event.transitions) for event in parts.log.of(target)] == [93, 35]
    for n in range(9):  # rows that remember all they can
        waiting = [process.committer.submit(target, set_to(name, 1 + n % 2)) for name in names]
        await asyncio.gather(*waiting)
    seen = len(parts.log.of(target))
    later = SystemClock().now_us() + 1_000_000
    await take(process, *(ReactionRecord(target, name, WOW, AT, later) for name in names))
    assert len(parts.log.of(target)) - seen > 2
    header = await checked(parts, target)
    assert header.counts[WOW - 1] == 128


async def test_an_older_first_time_moves_its_entry(parts: Cluster) -> None:
    target, process = fresh_target(), await parts.process()
    await process.committer.submit(target, set_to("ann", LIKE))
    later = SystemClock().now_us() + 1_000_000
    await take(process, ReactionRecord(target, "ann", LOVE, AT, later))
    await checked(parts, target)
    [mine] = [e for e in await parts.lists.reacted("ann", None, 1000) if e.key == target]
    assert mine == Entry(target, LOVE, AT)


async def test_imports_and_taps_of_many_processes_on_one_target(parts: Cluster) -> None:
    target = fresh_target()
    one, other, tapper = [await parts.process() for _ in range(3)]
    stop = asyncio.Event()

    async def tap() -> int:
        made = 0
        while not stop.is_set():
            await tapper.committer.submit(target, set_to(f"u{made % 700:05}", ALL[made % 6]))
            made += 1
        return made

    tapping = asyncio.create_task(tap())
    await asyncio.gather(
        take(one, *some(target, 500)), take(other, *some(target, 500, reaction=LOVE, start=250))
    )
    stop.set()
    assert await tapping
    assert (await checked(parts, target)).rows >= 700


@pytest.mark.parametrize("dies_after", [3, 5, 6, 7, 8, 9, 11])
async def test_an_import_that_is_killed_is_run_again(parts: Cluster, dies_after: int) -> None:
    target, mortal = fresh_target(), await parts.process(dies_after=dies_after)
    about = TargetRecord(target=target, type="post", version=9)
    killed = asyncio.create_task(take(mortal, about, *some(target, 200)))
    await asyncio.wait([killed, asyncio.create_task(mortal.dead.wait())], return_when="FIRST_COMPLETED")
    assert not killed.done(), "it was killed in the middle"
    killed.cancel()
    await mortal.kill()
    await take(await parts.process(), about, *some(target, 200))
    header = await checked(parts, target)
    assert (header.seq, header.counts) == (9, (200,))


async def test_a_target_of_many_reads_is_told_of_once_more_if_it_changed(parts: Cluster) -> None:
    target, process = fresh_target(), await parts.process()
    await take(process, *some(target, 50))
    source = CellSource(parts.cells, parts.sweep, parts.users, parts.users, process.erased, rows_at_once=10)
    found: list[Record] = []
    tapped = False
    async with process.erased, source.records() as (total, pages):
        assert total == 0
        async for page in pages:
            found += [
                record for record in page if not isinstance(record, UserRecord) and record.target == target
            ]
            if len(found) > 20 and not tapped:
                tapped = bool(await process.committer.submit(target, set_to("zoe", LIKE)))
    assert tapped
    abouts = [record for record in found if isinstance(record, TargetRecord)]
    assert [about.version for about in abouts] == [1, 2]
    assert [record.user for record in found if isinstance(record, ReactionRecord)] == [
        *(f"u{n:05}" for n in range(50)),
        "zoe",
    ]
    assert found[0] is abouts[0]
    assert found[-1] is abouts[-1]
    assert NONE not in {record.reaction for record in found if isinstance(record, ReactionRecord)}
