"""Jobs on the real store: an unfinished one is gone on with by whoever looks, and what has ended stays ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import msgspec
import pytest

from plaudit.adapters.cassandra import CassandraLeases, jobs
from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Deleted
from plaudit.ports.cells import CellKey
from plaudit.ports.directory import Profile
from plaudit.ports.removals import RECEIPT_KEPT_S, Job, JobKind
from plaudit.services.near import NearCache
from plaudit.services.remove import Remove
from plaudit.telemetry import Metrics
from tests.engines.cassandra import Cassandra
from tests.support.cassandra import TABLES, Cluster, Process, cluster, emptied, fresh_target
from tests.support.clock import ManualClock
from tests.support.taps import LIKE, set_to
from tests.support.wait import happens

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def parts(cassandra: Cassandra, anyio_backend: str) -> AsyncIterator[Cluster]:
    async with cluster(cassandra, SystemClock()) as opened:
        await emptied(opened.session, TABLES)
        yield opened


@asynccontextmanager
async def remover(parts: Cluster, process: Process, owner: str) -> AsyncIterator[Remove]:
    near = NearCache(parts.lists, Catalogue(), entries=100, public=True)
    async with CassandraLeases(parts.session, owner) as leases:
        look = Remove(process.removals, parts.jobs, near, parts.clock, Metrics(), leases, look_every_s=0.05)
        async with look as removing:
            yield removing


async def ended(parts: Cluster, job_id: str) -> Job:
    async with asyncio.timeout(60):
        while (job := await parts.jobs.get(job_id)) is None or job.state == "running":
            await asyncio.sleep(0.01)
    return job


async def test_a_job_whose_process_died_is_ended_by_another(parts: Cluster) -> None:
    target = fresh_target()
    begun, other = await parts.process(), await parts.process()
    await asyncio.gather(*(begun.committer.submit(target, set_to(f"u{n}", LIKE)) for n in range(20)))
    left = Job(id="j1", kind="delete_target", subject=target, state="running", created_at=1)
    await begun.removals.begin_purge(target, left)
    await begun.removals.purge_some(target, 5)
    async with remover(parts, other, "other"):
        done = await ended(parts, "j1")
    assert (done.state, done.removed) == ("done", {"rows": 15})
    state = await parts.cells.settle(CellKey(target), ())
    assert state.header is not None
    assert state.header.deleted == Deleted.PURGED
    assert await parts.jobs.unfinished() == []


async def test_of_many_who_look_one_carries_out_each_job(parts: Cluster) -> None:
    targets = [fresh_target() for _ in range(6)]
    one = await parts.process()
    for target in targets:
        await asyncio.gather(*(one.committer.submit(target, set_to(f"u{n}", LIKE)) for n in range(4)))
    async with AsyncExitStack() as stack:
        removers = [
            await stack.enter_async_context(remover(parts, await parts.process(), f"process {n}"))
            for n in range(3)
        ]
        jobs = [await removers[n % 3].delete_target(target) for n, target in enumerate(targets)]
        for job in jobs:
            done = await ended(parts, job.id)
            assert (done.state, done.removed) == ("done", {"rows": 4})
    assert await parts.jobs.unfinished() == []


async def test_what_has_ended_does_not_run_again_because_somebody_is_slow(parts: Cluster) -> None:
    running = Job(id="j1", kind="erase_user", subject="ann", state="running", created_at=1)
    done = msgspec.structs.replace(running, state="done", finished_at=2, removed={"rows": 3})
    await parts.jobs.save(running)
    await parts.jobs.save(done)
    await parts.jobs.save(msgspec.structs.replace(running, removed={"rows": 2}))
    assert await parts.jobs.get("j1") == done
    assert await parts.jobs.unfinished() == []
    assert await parts.jobs.unfinished() == [], "its note is gone"


async def test_jobs_that_cannot_be_read_hold_up_nobody(
    parts: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    later = Job(id="later", kind=cast("JobKind", "merge"), subject="ann", state="running", created_at=1)
    damaged = Job(id="damaged", kind="erase_user", subject="ann", state="running", created_at=2)
    await parts.jobs.save(later)
    await parts.jobs.save(damaged)
    damage = await parts.session.prepare("UPDATE $keyspace.job SET progress = ? WHERE id = 'damaged'")
    await parts.session.write(damage.bind([b"damaged"]))
    process = await parts.process()
    target = fresh_target()
    good = Job(id="good", kind="delete_target", subject=target, state="running", created_at=3)
    await process.removals.begin_purge(target, good)
    async with remover(parts, process, "one") as remove:
        assert (await ended(parts, "good")).state == "done"
        again = await remove.erase_user("ann")
        assert (await ended(parts, again.id)).state == "done"
    assert await parts.jobs.unfinished() == []
    assert "job later cannot be read" in caplog.text
    assert "job damaged cannot be read" in caplog.text
    noted = await parts.session.prepare("SELECT id FROM $keyspace.unfinished_job")
    left = (await parts.session.read(noted.bind([]))).all()
    assert {row.as_tuple()[0] for row in left} == {"later", "damaged"}, "whoever can read them finds them"


async def test_receipts_end_by_themselves(parts: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the name of the job."""
    stays, goes = [
        Job(id=id_, kind="erase_user", subject="ann", state="running", created_at=n)
        for n, id_ in enumerate(("stays", "goes"))
    ]
    for job, kept_s in ((stays, RECEIPT_KEPT_S), (goes, 2)):
        monkeypatch.setattr(jobs, "RECEIPT_KEPT_S", kept_s)
        await parts.jobs.save(job)
        await parts.jobs.save(msgspec.structs.replace(job, state="done", finished_at=2))

    async def named() -> list[str]:
        query = await parts.session.prepare("SELECT id FROM $keyspace.job_by_subject")
        return [row.as_tuple()[0] for row in (await parts.session.read(query.bind([]))).all()]

    async def gone() -> bool:
        return await named() == ["stays"] and await parts.jobs.get("goes") is None

    await happens(gone, "the end of the receipt")
    assert await parts.jobs.get("stays") == msgspec.structs.replace(stays, state="done", finished_at=2)


async def test_a_profile_put_while_its_user_is_marked_is_not_seen(
    cassandra: Cassandra, anyio_backend: str
) -> None:
    """It asked before the mark was there, and is written after it."""
    clock = ManualClock()
    async with cluster(cassandra, clock) as parts:
        user, begun_at = fresh_target(), clock.now_us()
        clock.advance(0.5)
        await parts.users.mark(user)
        await parts.users.put(user, Profile(name="Ann"), begun_at)
        await parts.users.put(user, Profile(name="Ann"), begun_at + 1_500_000)
        assert await parts.users.get([user]) == {}
        first = await parts.users.marked_at(user)
        clock.advance(100)
        await parts.users.mark(user)
        assert await parts.users.marked_at(user) == first
        assert user in await parts.users.since(clock.now_us() - 1)
        assert user in [each async for page in parts.users.walk_marks() for each in page]
