"""A disk that hangs: everybody is answered in time, what waits is bounded, and what was said of it stays true."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import apsw
import pytest

from plaudit.adapters.sqlite import Database, SqliteAudit, database
from plaudit.domain.catalogue import Registration
from plaudit.domain.errors import OutcomeUnknown, Overloaded, PlauditError, Unavailable
from plaudit.ports.directory import Profile
from plaudit.ports.notifications import Address, Settled
from tests.integration.sqlite.faults import Disk
from tests.support.api import assert_problem, open_api
from tests.support.clock import ManualClock
from tests.support.notifying import message
from tests.support.stores import stores_on
from tests.support.taps import cell, toggle
from tests.support.wait import happens, until

MANY = 2_000
BOUND = 50
WITHIN_S = 0.3

pytestmark = pytest.mark.usefixtures("no_checkpoints", "impatient")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little may wait, and not for long."""
    monkeypatch.setattr(database, "ANSWER_WITHIN_S", WITHIN_S)
    monkeypatch.setattr(database, "MAX_WRITES_WAITING", BOUND)


def named(outcome: object) -> str:
    """What became of a write, in a word."""
    return outcome.code if isinstance(outcome, Overloaded) else type(outcome).__name__


async def hung(disk: Disk) -> None:
    """Until somebody is held up by it."""
    assert await asyncio.to_thread(disk.hangs.wait, 30)


async def test_writes_are_answered_in_time_bounded_and_truly(
    tmp_path: Path, clock: ManualClock, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Database(tmp_path, vfs=disk.vfs) as opened:
        stores = stores_on(opened, clock)
        with disk.hanging():
            first = asyncio.create_task(stores.directory.register("t", Registration(type="post")))
            await hung(disk)
            async with asyncio.timeout(30):
                outcomes = await asyncio.gather(
                    first,
                    *(
                        stores.directory.register(f"t{n}", Registration(type="post"))
                        if n % 2
                        else stores.directory.put_profile(f"u{n}", Profile(name="U"))
                        for n in range(MANY)
                    ),
                    return_exceptions=True,
                )
            assert all(isinstance(outcome, PlauditError) for outcome in outcomes)
            assert named(outcomes[0]) == "OutcomeUnknown"
            assert Counter(map(named, outcomes[1:])) == {"deadline": BOUND, "overloaded": MANY - BOUND}
            with pytest.raises(Overloaded):  # what was withdrawn still takes its place
                await stores.directory.put_profile("late", Profile(name="Late"))
        monkeypatch.undo()  # the disk is well again, and may be slow
        await stores.ledger.commit([cell("after", toggle("ann"))])
        targets = await stores.counters.targets(["t", *(f"t{n}" for n in range(MANY))])
        assert set(targets) == {"t"}, "stored, though it was said that it was not"
        assert not await stores.directory.profiles([f"u{n}" for n in range(MANY)])
        await stores.directory.put_profile("late", Profile(name="Late"))


async def test_a_write_that_ends_late_is_told_of(
    tmp_path: Path, clock: ManualClock, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = asyncio.Event()
    async with Database(tmp_path, vfs=disk.vfs) as opened:
        opened.landed_late = told.set
        stores = stores_on(opened, clock)
        with disk.hanging():
            with pytest.raises(OutcomeUnknown):
                await stores.directory.register("t", Registration(type="post"))
            assert not told.is_set()
        monkeypatch.undo()  # the disk is well again, and may be slow
        async with asyncio.timeout(30):
            await told.wait()
        assert (await stores.target("t")).registration is not None


async def test_taps_and_what_came_of_pushes_wait_by_their_own_rules(
    tmp_path: Path, clock: ManualClock, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Database(tmp_path, vfs=disk.vfs) as opened:
        stores = stores_on(opened, clock)
        monkeypatch.setattr(database, "ANSWER_WITHIN_S", 60.0)  # the disk is well yet, and may be slow
        await stores.inbox.put([message("a")], [Address("a", "webhook")], 1)
        [parcel] = await stores.deliveries.claim("webhook", 1, 30, 1)
        monkeypatch.setattr(database, "ANSWER_WITHIN_S", WITHIN_S)
        with disk.hanging():
            writes = [
                asyncio.create_task(stores.directory.put_profile(f"u{n}", Profile(name="U")))
                for n in range(BOUND + 1)
            ]
            await hung(disk)
            tap = asyncio.create_task(stores.ledger.commit([cell("t", toggle("ann"))]))
            # Were it refused, the push would be made once more.
            pushed = asyncio.create_task(
                stores.deliveries.settle([Settled(parcel=parcel, reason="delivered")])
            )
            await asyncio.wait(writes)
            assert not tap.done()
            assert not pushed.done()
        monkeypatch.undo()  # the disk is well again, and may be slow
        await tap
        await pushed
        assert await stores.counts("t") == (1,)
        assert not (await stores.deliveries.waiting()).get("webhook")
        await asyncio.gather(*writes, return_exceptions=True)


async def test_the_auditor_waits_for_a_slow_disk(tmp_path: Path, clock: ManualClock, disk: Disk) -> None:
    """Whoever gave up would have the same read a second time, beside the first, and trim no events meanwhile."""
    async with Database(tmp_path, vfs=disk.vfs) as opened:
        stores = stores_on(opened, clock)
        await stores.ledger.commit([cell("t", toggle("ann"))])
        with disk.hanging("read"):
            look = asyncio.create_task(SqliteAudit(opened).drift(["t"], 100))
            await hung(disk)
            with pytest.raises(Unavailable):  # who waits as long as others do
                await stores.counts("t")
            assert not look.done()
        assert (await look).compared == 1


async def test_a_read_that_hangs_is_unavailable_and_counts_until_it_ends(
    tmp_path: Path, clock: ManualClock, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "MAX_READS_WAITING", 3)
    async with Database(tmp_path, vfs=disk.vfs) as opened:
        stores = stores_on(opened, clock)
        await stores.ledger.commit([cell("t", toggle("ann"))])
        with disk.hanging("read"):
            outcomes = await asyncio.gather(*(stores.counts("t") for _ in range(5)), return_exceptions=True)
            assert Counter(map(named, outcomes)) == {"Unavailable": 3, "overloaded": 2}
            with pytest.raises(Overloaded):
                await stores.counts("t")
        monkeypatch.undo()  # the disk is well again, and may be slow
        await until(lambda: opened._reads == 0, "the end of the reads")
        assert await stores.counts("t") == (1,)


async def test_the_host_app_is_answered_while_another_holds_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over HTTP: what is not stored is a 503, what nobody knows a 504 and shown once it is stored."""
    patience_s = 60.0  # of reads too, which are not to fail here
    monkeypatch.setattr(database, "ANSWER_WITHIN_S", patience_s)
    monkeypatch.setattr(database, "BUSY_MS", 120_000)
    async with open_api(tmp_path / "data") as api:
        other = apsw.Connection(str(tmp_path / "data" / "plaudit.db"))
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(database, "ANSWER_WITHIN_S", 1.0)
        began_s = time.monotonic()
        first = await api.client.put("/api/v1/targets/t", headers=api.host, json={})
        assert_problem(first, "outcome_unknown")
        answers = await asyncio.gather(
            api.client.put("/api/v1/users/u", headers=api.host, json={}),
            api.client.put("/api/v1/targets/v", headers=api.host, json={}),
            api.client.delete("/api/v1/targets/w", headers=api.host),
            api.client.put(
                "/api/v1/me/notification-settings", headers=api.bearer("ann"), json={"enabled": True}
            ),
        )
        assert time.monotonic() - began_s < 60, "far less than the file is waited for"
        monkeypatch.setattr(database, "ANSWER_WITHIN_S", patience_s)
        for answer in answers:
            assert_problem(answer, "deadline")
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in (first, *answers))

        async def shown() -> bool:
            return bool((await api.counts("t"))["version"])

        assert not await shown()  # and remembered so
        other.execute("ROLLBACK")
        other.close()
        await happens(shown, "the registration")


async def test_a_tap_waits_as_long_as_the_setting_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_MS", 120_000)
    async with open_api(tmp_path / "data", tap_deadline_s=0.2) as api:
        other = apsw.Connection(str(tmp_path / "data" / "plaudit.db"))
        other.execute("BEGIN IMMEDIATE")
        first = asyncio.create_task(api.tap("ann", "t", "like"))
        await asyncio.wait({first}, timeout=0.1)  # by then the writer is at it, and others wait
        body, waited_s = {"target_id": "t", "reaction_type": "like"}, list[float]()
        for user in ("bob", "cid", "dan"):
            began_s = time.monotonic()
            late = await api.client.put("/api/v1/reactions", headers=api.bearer(user), json=body)
            waited_s.append(time.monotonic() - began_s)
            assert_problem(late, "deadline")
        assert min(waited_s) < 1.5, "a machine may stall, but not each time"
        other.execute("ROLLBACK")
        other.close()
        assert (await first)["outcome"] == "created"
