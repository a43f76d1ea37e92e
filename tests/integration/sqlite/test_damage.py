"""A page of the file that cannot be read: what needs it fails and says so, and everything else goes on."""

import asyncio
from contextlib import closing, suppress
from pathlib import Path

import apsw
import pytest

from plaudit.adapters.sqlite import Database, SqliteBatches, inspect, removals
from plaudit.adapters.sqlite.damaged import FOR_S
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Deleted, Refused
from plaudit.domain.errors import Corrupt
from plaudit.ports.notifications import Address, Device, Parcel
from plaudit.ports.removals import Job, Stays, new_job
from plaudit.services import notify as service
from plaudit.services.behind import Late
from plaudit.services.near import NearCache
from plaudit.services.remove import ROWS_PER_STEP, Remove
from plaudit.telemetry import Metrics
from tests.support.api import REACTIONS, Api, assert_problem, open_api
from tests.support.clock import ManualClock
from tests.support.damage import damage
from tests.support.notifying import OWNER, message, notifier, own, settle
from tests.support.scraped import value
from tests.support.stores import Stores, sqlite_stores, stores_on
from tests.support.taps import LIKE, set_to, toggle
from tests.support.wait import happens

GOOD = tuple(f"good{n}" for n in range(30))


async def fill(folder: Path, *targets: str) -> None:
    """Targets with pages of rows of their own, two hundred each, and a file that was closed."""
    async with sqlite_stores(folder, ManualClock()) as stores:
        for target in targets:
            for n in range(100, 300, 100):
                await stores.tap(target, *(toggle(f"{target}-u{m}") for m in range(n, n + 100)))


async def put(api: Api, target: str, status: int) -> str:
    headers = api.host | {"Plaudit-User": f"{target}-u200"}
    body = {"target_id": target, "reaction_type": "love"}
    answer = await api.call("PUT", REACTIONS, headers=headers, json=body, status=status)
    if status == 500:
        assert_problem(answer, "internal")
    return answer.text


async def test_taps_on_other_targets_are_stored_and_the_damage_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(tmp_path, *GOOD[:15], "bad", *GOOD[15:])
    damage(tmp_path / "plaudit.db", "reaction_row", b"bad-u200")
    async with open_api(tmp_path) as api:
        for _ in range(3):
            await asyncio.gather(put(api, "bad", 500), *(put(api, target, 200) for target in GOOD))
            assert (await api.call("GET", "/readyz")).text == "ready\n"
        assert "damaged" not in await put(api, "bad", 500), "the caller is not told of the file"
        metrics = (await api.call("GET", "/metrics")).text
    found = dict(line.split() for line in metrics.splitlines() if line.startswith("plaudit_"))
    assert float(found["plaudit_damaged_reads_total"]) >= 4
    assert found["plaudit_writable"] == "1.0"
    assert found['plaudit_taps_total{outcome="internal"}'] == "4.0"
    assert "taps on bad cannot be stored" in caplog.text
    assert "taps are refused until it works again" not in caplog.text
    assert inspect(tmp_path, 10, 10, 1.0).fault, "the doctor sees it, to whom the alert sends people"


async def test_what_was_read_wrong_once_is_read_again(tmp_path: Path) -> None:
    await fill(tmp_path, *GOOD[:15], "bad", *GOOD[15:])
    file = tmp_path / "plaudit.db"
    whole = file.read_bytes()
    damage(file, "reaction_row", b"bad-u200")
    async with open_api(tmp_path) as api:
        await put(api, "bad", 500)
        with file.open("r+b") as mended:
            mended.write(whole)
        await put(api, "bad", 200)


WATCHED = tuple(f"watched{n}" for n in range(60))


async def told(stores: Stores) -> set[str]:
    return {message.target for message in await stores.inbox.page(OWNER, None, 100)}


async def open_windows(folder: Path) -> ManualClock:
    """Sixty targets of one owner, each with a window and more rows than a page holds, which makes it one of five
    minutes; the file is closed."""
    clock = ManualClock()
    async with sqlite_stores(folder, clock) as stores:
        await own(stores, *WATCHED)
        notify = notifier(stores, clock)
        for target in WATCHED:
            await stores.tap(target, *(set_to(f"{target}-u{n}", LIKE) for n in range(60)))
        await settle(notify)
    return clock


@pytest.mark.parametrize("table", ["watch", "reaction_row"])
async def test_owners_of_other_targets_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, table: str
) -> None:
    """The notifier as it runs: what it has taken in is to be told, and what comes is to be taken in."""
    monkeypatch.setattr(service, "RETRY_S", 0.01)
    clock = await open_windows(tmp_path)
    damage(tmp_path / "plaudit.db", table, b"watched30-u59")
    clock.advance(301)
    metrics = Metrics()
    async with Database(tmp_path) as database:
        database.found_damage = metrics.found_damage
        stores = stores_on(database, clock)
        async with notifier(stores, clock, metrics=metrics):

            async def others_told() -> bool:
                return len(await told(stores)) >= len(WATCHED) - 5

            await happens(others_told, "messages of all but a page of watches")
            assert "watched30" not in await told(stores)
            for target in WATCHED:
                with suppress(Corrupt):  # where its row would be
                    await stores.tap(target, set_to("late", LIKE))

            async def all_taken() -> bool:
                return await stores.log.behind("notify", await stores.log.end()) == 0

            await happens(all_taken, "the end of the log")
            clock.advance(301)
            await stores.tap("watched0", set_to("later", LIKE))

            async def told_again() -> bool:
                return len(await stores.inbox.page(OWNER, None, 500)) >= 2 * (len(WATCHED) - 5)

            await happens(told_again, "the next messages of the others")
            assert isinstance(stores.batches, SqliteBatches)
            late = Late(stores.batches, clock, metrics)

            async def none_late() -> bool:
                await late.ask()
                return value(metrics, "plaudit_windows_late_seconds") == 0

            await happens(none_late, "the last message, without waiting for what cannot be read")
    assert metrics.damaged_reads > 0
    if table == "watch":
        assert "quarantined events of watched30: Corrupt" in caplog.text
        assert caplog.text.count("cannot be read; its owner is not told") >= 1
    else:
        assert "quarantined the window of watched30: Corrupt" in caplog.text
    assert value(metrics, "plaudit_events_quarantined_total", role="notify") >= 1


@pytest.mark.parametrize("what", ["x'c1'", "193", "a page"])
async def test_events_behind_damaged_ones_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(service, "RETRY_S", 0.01)
    clock, metrics = ManualClock(), Metrics()
    async with sqlite_stores(tmp_path, clock) as stores:
        await own(stores, *WATCHED)
        for target in WATCHED:
            await stores.tap(target, set_to(f"{target}-fan", LIKE))
    if what == "a page":
        damage(tmp_path / "plaudit.db", "event", b"watched30-fan")
    async with Database(tmp_path) as database:
        if what != "a page":
            sql = f"UPDATE event SET bodies = {what} WHERE instr(bodies, 'watched30-fan')"
            await database.write(lambda connection: connection.execute(sql).fetchall())
        stores = stores_on(database, clock)
        async with notifier(stores, clock, metrics=metrics):
            await happens(lambda: taken(stores), "the end of the log")
            clock.advance(31)
            await stores.tap("watched0", set_to("late", LIKE))

            async def others_told() -> bool:
                return len(await told(stores)) >= len(WATCHED) - (25 if what == "a page" else 1)

            await happens(others_told, "messages of all whose events can be read")
        assert {"watched0", "watched59"} <= await told(stores)
        assert "watched30" not in await told(stores)
    assert metrics.unreadable_events == 1


async def taken(stores: Stores) -> bool:
    """Whether the notifier has acknowledged everything."""
    try:
        return await stores.log.read("notify", 1) == []
    except Corrupt:  # told once, to us or to the notifier
        return False


@pytest.mark.parametrize("table", ["reaction_row", "target"])
async def test_an_erasure_removes_what_can_be_read_and_then_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, table: str
) -> None:
    clock = ManualClock()
    async with sqlite_stores(tmp_path, clock) as stores:
        for target in WATCHED:
            await stores.tap(
                target, *(set_to(f"{target}-u{n}", LIKE) for n in range(60)), set_to("eve", LIKE)
            )
    damage(tmp_path / "plaudit.db", table, b"watched30-u0" if table == "reaction_row" else b"watched30")
    async with sqlite_stores(tmp_path, clock) as stores:
        await stores.removals.mark_erased("eve", new_job("erase_user", "eve", clock.now_us()))
        erased = list[str]()

        async def erase() -> None:
            while after := await stores.removals.erase_some("eve", 7):
                erased.extend(after)

        with pytest.raises(Stays) as stays:
            await erase()
    assert f"to {len(WATCHED) - len(erased)} target" in stays.value.what
    assert len(erased) == len(set(erased))
    assert len(WATCHED) - 50 <= len(erased) < len(WATCHED)
    assert {"watched0", "watched59"} <= set(erased)
    assert "watched30" not in erased
    assert caplog.text.count("not erased") == len(WATCHED) - len(erased), "each is named once"


async def test_an_erasure_ends_where_only_the_index_has_rows(tmp_path: Path) -> None:
    clock = ManualClock()
    async with Database(tmp_path) as database:
        stores = stores_on(database, clock)
        for target in WATCHED[:3]:
            await stores.tap(target, set_to("eve", LIKE))
        sql = "DELETE FROM target WHERE id = 'watched0'"
        await database.write(lambda connection: connection.execute(sql).fetchall())
        assert set(await stores.removals.erase_some("eve", 500)) == {"watched1", "watched2"}
        with pytest.raises(Stays, match="to 1 target"):
            await stores.removals.erase_some("eve", 500)


async def test_an_erasure_gives_up_where_nothing_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is more likely the whole file than places in it."""
    monkeypatch.setattr(removals, "MOST_UNREADABLE", 5)
    clock, tries = ManualClock(), list[int]()
    async with Database(tmp_path) as database:
        stores = stores_on(database, clock)
        for target in WATCHED:
            await stores.tap(target, set_to("eve", LIKE))
        sql = "UPDATE target SET counts = '[1.5]'"
        await database.write(lambda connection: connection.execute(sql).fetchall())
        database.found_damage = lambda: tries.append(1)
        with pytest.raises(Corrupt):
            await stores.removals.erase_some("eve", 500)
        assert len(tries) < 20
        await database.write(lambda connection: connection.execute(sql.replace("1.5", "1")).fetchall())
        assert len(await stores.removals.erase_some("eve", 500)) == len(WATCHED), "once that is mended"


@pytest.mark.parametrize(
    "bad", [["u0700"], ["u0300", "u1200"], ["u0010"], ["u1490"]], ids=["one", "two", "first", "last"]
)
async def test_a_deletion_removes_all_but_damaged_pages_and_then_fails(
    tmp_path: Path, bad: list[str]
) -> None:
    clock = ManualClock()
    users = [f"u{n:04}" for n in range(1500)]
    async with sqlite_stores(tmp_path, clock) as stores:
        for target in ("before", "bad", "good"):
            for n in range(0, len(users), 500):
                await stores.tap(target, *(toggle(user) for user in users[n : n + 500]))
    for user in bad:
        damage_rows_of(tmp_path, "bad", user)
    async with sqlite_stores(tmp_path, clock) as stores:
        near = NearCache(stores.counters, Catalogue(), entries=9, public=True)
        async with Remove(stores.removals, stores.jobs, near, clock, Metrics()) as remove:
            for _ in range(2):  # asked again it is tried again
                receipt = await ended(remove, (await remove.delete_target("bad")).id)
                header = (await stores.target("bad")).header
                assert header is not None
                assert header.deleted == Deleted.PURGING
                assert 0 < header.rows < 100 * len(bad), "what is on the pages"
                assert receipt.state == "failed"
                assert f"{header.rows} of its rows" in receipt.note
        assert (await stores.tap("bad", toggle("u0500"))).answers == [Refused("target_deleted")]
        assert await stores.own.mine("u0500", ["bad", "good"]) == {"good": LIKE}
        assert await stores.own.mine("u1000", ["bad", "before"]) == {"before": LIKE}


async def test_a_deletion_goes_on_from_the_other_end(tmp_path: Path) -> None:
    """Else an index would be read from its start for every few rows; here it cannot be read."""
    clock = ManualClock()
    async with sqlite_stores(tmp_path, clock) as stores:
        await stores.tap("before", toggle("u"))
        for n in range(0, 3 * ROWS_PER_STEP, ROWS_PER_STEP):
            await stores.tap("bad", *(toggle(f"u{m:04}") for m in range(n, n + ROWS_PER_STEP)))
    damage_rows_of(tmp_path, "bad", "u0010")
    damage(tmp_path / "plaudit.db", "reacted", b"u0010")
    async with sqlite_stores(tmp_path, clock) as stores:
        await stores.removals.begin_purge("bad", new_job("delete_target", "bad", 1))
        for _ in range(2):
            assert await stores.removals.purge_some("bad", ROWS_PER_STEP) == ROWS_PER_STEP
        with pytest.raises(Stays):
            await stores.removals.purge_some("bad", ROWS_PER_STEP)
        header = (await stores.target("bad")).header
        assert header is not None
        assert header.rows == ROWS_PER_STEP


@pytest.mark.parametrize("table", ["notification", "device", "delivery"])
async def test_pushes_go_out_behind_those_that_cannot_be_read(
    tmp_path: Path, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock, names = ManualClock(), [f"owner{n:03}" for n in range(200)]
    async with sqlite_stores(tmp_path, clock) as stores:
        for n, name in enumerate(names):
            await stores.audience.put_device(Device(id=name, owner=name, kind="fcm", token="x" * 400))
            told = message(f"m{n:03}", name, at=n)
            await stores.inbox.put([told], [Address(told.id, "fcm", name)], n)
    damage(tmp_path / "plaudit.db", table, b"m100" if table != "device" else b"owner100")
    async with sqlite_stores(tmp_path, clock) as stores:
        parcels, failures = list[Parcel](), 0
        while failures < 5:
            try:
                if not (some := await stores.deliveries.claim("fcm", 1000, 30, 100)):
                    break
            except Corrupt:
                failures += 1
            else:
                parcels += some
        assert 0 < failures < 5, "then they are left out"
        claimed = {parcel.notification.id for parcel in parcels}
        assert {"m000", "m199"} <= claimed
        assert "m100" not in claimed
        assert 100 < len(claimed) == len(parcels) < 200
        assert caplog.text.count("is not made") == 200 - len(claimed), "each is named once"


async def test_a_push_that_was_mended_goes_out_without_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    async with Database(tmp_path) as database:
        stores = stores_on(database, clock)
        told = [message("bad", "ann", at=1), message("good", "bob", at=2)]
        for each in told:
            await stores.audience.put_device(
                Device(id=each.owner, owner=each.owner, kind="fcm", token=each.owner)
            )
        await stores.inbox.put(told, [Address(each.id, "fcm", each.owner) for each in told], 1)
        sql = "UPDATE notification SET split = '[[1.5, 1]]' WHERE id = 'bad'"
        await database.write(lambda connection: connection.execute(sql).fetchall())
        with pytest.raises(Corrupt):
            await stores.deliveries.claim("fcm", 1000, 30, 100)
        (good,) = await stores.deliveries.claim("fcm", 1000, 1e9, 100)
        assert good.notification.id == "good"
        mend = sql.replace("1.5", "1")
        await database.write(lambda connection: connection.execute(mend).fetchall())
        assert await stores.deliveries.claim("fcm", 1000, 30, 100) == []
        clock.advance(FOR_S)
        (bad,) = await stores.deliveries.claim("fcm", 1000, 30, 100)
        assert bad.notification.id == "bad"


@pytest.mark.parametrize("table", ["notification", "device"])
async def test_reactions_are_erased_where_the_inbox_cannot_be_read(tmp_path: Path, table: str) -> None:
    """Or a device: of what is kept beside them all else goes too."""
    clock = ManualClock()
    async with sqlite_stores(tmp_path, clock) as stores:
        await stores.tap("t", toggle("eve"))
        await stores.tap("t", toggle("bob"))
        for owner in ("adam", "eve", "zoe"):
            told = [message(f"{owner}{n:03}", owner, at=clock.now_us()) for n in range(100)]
            await stores.inbox.put(told, [], 1)
        for n in range(100):
            owner = "eve" if n == 50 else f"u{n}"
            token = f"{owner} {n} " + "x" * 400
            await stores.audience.put_device(Device(id=f"{n:03}", owner=owner, kind="fcm", token=token))
    damage(tmp_path / "plaudit.db", table, b"eve050" if table == "notification" else b"eve 50")
    async with sqlite_stores(tmp_path, clock) as stores:
        near = NearCache(stores.counters, Catalogue(), entries=9, public=True)
        async with Remove(stores.removals, stores.jobs, near, clock, Metrics()) as remove:
            receipt = await ended(remove, (await remove.erase_user("eve")).id)
        assert receipt.state == "failed"
        assert "inbox, devices and settings" in receipt.note
        assert receipt.removed == {"rows": 1}
        assert (await stores.tap("t", toggle("eve"))).answers == [Refused("user_erased")]
        if table == "notification":
            assert await stores.audience.devices(["eve"]) == {}
        else:
            assert await stores.inbox.page("eve", None, 10) == []


def damage_rows_of(folder: Path, target: str, user: str) -> None:
    """Damage the page on which this row is."""
    with closing(apsw.Connection(str(folder / "plaudit.db"))) as file:
        no = file.execute("SELECT no FROM target WHERE id = ?", (target,)).get
        assert no == 2, "which is stored in one byte, before the name of the user"
    damage(folder / "plaudit.db", "reaction_row", bytes([no]) + user.encode())


async def ended(remove: Remove, job_id: str) -> Job:
    async def is_so() -> bool:
        job = await remove.job(job_id)
        return job is not None and job.state != "running"

    await happens(is_so, "the end of the job")
    job = await remove.job(job_id)
    assert job is not None
    return job
