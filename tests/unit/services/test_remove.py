"""Deletion and erasure as jobs: every acknowledged one is carried out, whatever stands in the queue or fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from plaudit.domain.catalogue import Catalogue, Registration
from plaudit.domain.errors import Corrupt, OutcomeUnknown, Overloaded, Unavailable
from plaudit.ports.ledger import Target
from plaudit.ports.removals import RECEIPT_KEPT_S, Job, new_job
from plaudit.services import remove as service
from plaudit.services.near import NearCache
from plaudit.services.remove import Remove
from plaudit.telemetry import Metrics
from tests.support.clock import ManualClock
from tests.support.notifying import OWNER, message, own
from tests.support.scraped import value
from tests.support.stores import Stores, sqlite_stores
from tests.support.taps import toggle
from tests.support.wait import happens, until


@asynccontextmanager
async def removing(
    folder: Path, clock: ManualClock | None = None, under_way_s: float = 0.0, metrics: Metrics | None = None
) -> AsyncIterator[tuple[Stores, Remove, NearCache]]:
    clock = clock or ManualClock()
    async with sqlite_stores(folder, clock) as stores:
        near = NearCache(stores.counters, Catalogue(), entries=100, public=True)
        async with Remove(
            stores.removals,
            stores.jobs,
            near,
            clock,
            metrics or Metrics(),
            look_every_s=0.01,
            under_way_s=under_way_s,
        ) as remove:
            yield stores, remove, near


async def ended(remove: Remove, job_id: str) -> str:
    """How a job ended."""
    async with asyncio.timeout(10):
        while (job := await remove.job(job_id)) is None or job.state == "running":
            await asyncio.sleep(0.01)
    return job.state


async def test_a_target_that_was_registered_again_is_deleted_again_even_if_the_first_job_still_waits(
    tmp_path: Path,
) -> None:
    async with removing(tmp_path) as (stores, remove, near):
        for n in range(30):
            await stores.tap("big", *(toggle(f"user{n}-{m}") for m in range(50)))
        big = await remove.delete_target("big")
        await stores.directory.register("t", Registration(type="post"))
        first = await remove.delete_target("t")
        near.publish("t", await stores.directory.register("t", Registration(type="post")))
        await stores.tap("t", toggle("ann"))
        second = await remove.delete_target("t")
        for job in (big, first, second):
            assert await ended(remove, job.id) == "done"
        assert await stores.counts("t") == ()
        assert await stores.own.mine("ann", ["t"]) == {}


async def test_the_same_deletion_twice_is_one_job(tmp_path: Path) -> None:
    clock = ManualClock()
    async with removing(tmp_path, clock, under_way_s=0.1) as (stores, remove, _):
        await stores.tap("t", *(toggle(f"user{n}") for n in range(20)))
        first, second = await remove.delete_target("t"), await remove.delete_target("t")
        assert first.id == second.id
        clock.advance(0.1)  # until then the first goes on
        assert await ended(remove, first.id) == "done"


async def test_a_job_that_meets_a_damaged_line_fails_and_the_next_one_is_carried_out(tmp_path: Path) -> None:
    metrics = Metrics()
    async with removing(tmp_path, metrics=metrics) as (stores, remove, _):
        await stores.tap("bad", toggle("ann"))
        await stores.tap("good", toggle("bob"))
        damage = apsw.Connection(str(tmp_path / "plaudit.db"))
        damage.set_busy_timeout(5000)
        damage.execute("UPDATE target SET counts = '[1.5]' WHERE id = 'bad'")
        damage.close()
        ann, bob = await remove.erase_user("ann"), await remove.erase_user("bob")
        assert await ended(remove, ann.id) == "failed"
        assert await ended(remove, bob.id) == "done"
        assert await stores.own.mine("bob", ["good"]) == {}
    assert value(metrics, "plaudit_jobs_failed_total") == 1


async def test_rows_go_where_messages_cannot_be_taken_back_and_the_job_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreadable(target: str, *_: object, **__: object) -> int:
        raise Corrupt(target)

    async def away(target: str, *_: object) -> int:
        monkeypatch.setattr(stores.removals, "purge_some", purge_some)
        raise Unavailable(target)

    monkeypatch.setattr(service, "RETRY_S", 0.001)
    async with removing(tmp_path) as (stores, remove, _):
        await stores.tap("t", *(toggle(f"user{n}") for n in range(20)))
        purge_some = stores.removals.purge_some
        monkeypatch.setattr(stores.removals, "purge_some", away)
        monkeypatch.setattr(stores.removals, "take_back", unreadable)
        job = await remove.delete_target("t")
        assert await ended(remove, job.id) == "failed"
        receipt = await remove.job(job.id)
        assert receipt is not None
        assert receipt.removed == {"rows": 20}


async def test_the_receipt_counts_what_was_removed_though_the_job_cannot_be_saved_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_S", 0.001)
    monkeypatch.setattr(service, "ROWS_PER_STEP", 10)
    async with removing(tmp_path) as (stores, remove, _):
        await own(stores, "t")
        await stores.inbox.put([message("a", at=1)], [], 1)
        await stores.tap("t", *(toggle(f"user{n}") for n in range(45)))
        for n in range(35):
            await stores.tap(f"of-ann{n}", toggle("ann"))
        save, refused = stores.jobs.save, list[Job]()

        async def every_other_time(job: Job) -> None:
            if len(refused) % 2 == 0:
                refused.append(job)
                raise Overloaded("too much waits")
            refused.append(job)
            await save(job)

        monkeypatch.setattr(stores.jobs, "save", every_other_time)
        for job, removed in (
            (await remove.delete_target("t"), {"messages": 1, "rows": 45}),
            (await remove.erase_user("ann"), {"rows": 35}),
        ):
            assert await ended(remove, job.id) == "done"
            receipt = await remove.job(job.id)
            assert receipt is not None
            assert receipt.removed == removed
        assert refused


async def test_a_job_that_cannot_go_on_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(target: str, *_: object) -> int:
        raise Unavailable(target)

    monkeypatch.setattr(service, "RETRY_S", 0.001)
    clock, metrics = ManualClock(), Metrics()

    def waits_s() -> float:
        return value(metrics, "plaudit_jobs_waiting_seconds")

    async with removing(tmp_path, clock, metrics=metrics) as (stores, remove, _):
        await stores.tap("t", toggle("ann"))
        assert waits_s() == 0
        with monkeypatch.context() as broken:
            broken.setattr(stores.removals, "purge_some", away)
            job = await remove.delete_target("t")
            await until(lambda: len(metrics.job_waits) == 1, "the first try")
            clock.advance(600)
            assert waits_s() == 600
        assert await ended(remove, job.id) == "done"
        await until(lambda: waits_s() == 0, "the end of it")


async def test_a_deletion_of_which_nobody_knows_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with removing(tmp_path) as (stores, remove, near):
        near.publish("t", (await stores.tap("t", toggle("ann"))).target)
        begin = stores.removals.begin_purge

        async def silent(target: str, job: Job) -> Target:
            await begin(target, job)
            raise OutcomeUnknown("no answer")

        monkeypatch.setattr(stores.removals, "begin_purge", silent)
        with pytest.raises(OutcomeUnknown):
            await remove.delete_target("t")
        assert (await near.load(["t"]))["t"].closed


async def test_a_receipt_is_kept_for_thirty_days(tmp_path: Path) -> None:
    clock = ManualClock()
    async with removing(tmp_path, clock) as (stores, remove, _):
        await stores.tap("t", toggle("ann"))
        first = await remove.erase_user("ann")
        assert await ended(remove, first.id) == "done"
        clock.advance(RECEIPT_KEPT_S / 2)
        second = await remove.delete_target("t")
        assert await ended(remove, second.id) == "done"
        assert await remove.job(first.id) is not None
        clock.advance(RECEIPT_KEPT_S / 2 + 1)

        async def forgotten() -> bool:
            return await remove.job(first.id) is None

        await happens(forgotten, "the end of the receipt")
        assert await remove.job(second.id) is not None
        with apsw.Connection(str(tmp_path / "plaudit.db")) as file:
            assert file.execute("SELECT count(*) FROM job WHERE subject = 'ann'").get == 0


async def test_what_is_told_while_a_target_is_being_deleted_is_taken_back_at_the_end(tmp_path: Path) -> None:
    """By processes that saw the target before it was closed: until none can, the job goes on."""
    clock = ManualClock()
    async with removing(tmp_path, clock, under_way_s=0.1) as (stores, remove, _):
        await own(stores, "t")
        await stores.tap("t", toggle("ann"))
        await stores.inbox.put([message("a", at=clock.now_us())], [], 1)
        job = await remove.delete_target("t")

        async def once() -> bool:
            found = await remove.job(job.id)
            return found is not None and found.removed == {"messages": 1, "rows": 1}

        await happens(once, "everything to go once")
        with apsw.Connection(str(tmp_path / "plaudit.db")) as file:
            file.set_busy_timeout(5000)
            file.execute(
                "INSERT INTO notification (id, owner, at, target, type, total, split, sample)"
                " VALUES ('late', ?, ?, 't', 'post', 1, '[[1, 1]]', '[]')",
                (OWNER, clock.now_us()),
            )
        found = await remove.job(job.id)
        assert found is not None
        assert found.state == "running"
        await stores.directory.register("t", Registration(type="post", owner=OWNER))
        clock.advance(0.1)
        assert await ended(remove, job.id) == "done"
        found = await remove.job(job.id)
        assert found is not None
        assert found.removed == {"messages": 2, "rows": 1}
        assert await stores.inbox.page(OWNER, None, 9) == []


async def test_a_job_of_whose_begin_nobody_was_told_is_carried_out(tmp_path: Path) -> None:
    clock = ManualClock()
    async with removing(tmp_path, clock) as (stores, remove, _):
        await stores.tap("t", toggle("ann"))
        job = new_job("delete_target", "t", clock.now_us())
        await stores.removals.begin_purge("t", job)
        assert await ended(remove, job.id) == "done"


async def test_jobs_are_looked_for_again_after_what_nobody_foresaw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> list[Job]:
        raise RuntimeError

    clock = ManualClock()
    async with removing(tmp_path, clock) as (stores, remove, _):
        with monkeypatch.context() as patch:
            patch.setattr(stores.jobs, "unfinished", broken)
            await until(lambda: "in a way nobody foresaw" in caplog.text, "the first look that fails")
        await stores.tap("t", toggle("ann"))
        job = new_job("delete_target", "t", clock.now_us())
        await stores.removals.begin_purge("t", job)
        assert await ended(remove, job.id) == "done"
