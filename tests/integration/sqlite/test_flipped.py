"""One flipped bit in a line of the file. SQLite keeps no sums of its pages, so to it the page is sound."""

import asyncio
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from plaudit.adapters.sqlite import Database, SqliteAudit, SqliteDeadLetters, inspect
from plaudit.domain.errors import Corrupt
from plaudit.domain.quiet import Wishes
from plaudit.ports.notifications import Address, Device, Parcel
from plaudit.ports.removals import new_job
from plaudit.telemetry import Metrics
from tests.integration.sqlite.test_damage import GOOD, fill, open_windows, put, told
from tests.support.api import COUNTS, FEED, MINE, REACTIONS, Api, assert_problem, open_api
from tests.support.clock import ManualClock
from tests.support.damage import damage
from tests.support.notifying import OWNER, message, notifier, own, settle
from tests.support.scraped import value
from tests.support.stores import Stores, sqlite_stores, stores_on
from tests.support.taps import LIKE, set_to

# [ is 0x5b and { is 0x7b, A is 0x41, and 0xc1 in no UTF-8.
NO_JSON = "'{' || substr(%s, 2)"
NO_TEXT = "CAST(x'c1' AS TEXT)"


def flip(folder: Path, statement: str) -> None:
    with closing(apsw.Connection(str(folder / "plaudit.db"))) as file:
        file.execute(statement)
        assert file.changes() == 1


async def damaged_reads(api: Api) -> float:
    lines = (await api.call("GET", "/metrics")).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("plaudit_damaged_reads_total"))


@pytest.mark.parametrize(
    "change",
    [
        f"counts = {NO_JSON % 'counts'}",
        f"recent = {NO_JSON % 'recent'}",
        f"registered = 1, title = {NO_TEXT}",
        f"type = {NO_TEXT}",
        "seq = 'a'",
    ],
)
async def test_taps_on_other_targets_are_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    await fill(tmp_path, *GOOD[:15], "bad", *GOOD[15:])
    flip(tmp_path, f"UPDATE target SET {change} WHERE id = 'bad'")
    async with open_api(tmp_path) as api:
        for _ in range(2):
            await asyncio.gather(put(api, "bad", 500), *(put(api, target, 200) for target in GOOD))
            assert (await api.call("GET", "/readyz")).text == "ready\n"
        await api.call("GET", "/api/v1/reactions/counts?target_ids=bad", status=500)
        assert await damaged_reads(api) >= 3
    assert "taps on bad cannot be stored" in caplog.text
    assert "taps are refused until it works again" not in caplog.text


@pytest.mark.parametrize("how", ["a line", "a page"])
async def test_reads_name_the_damaged_targets_because_of_which_they_fail(tmp_path: Path, how: str) -> None:
    await fill(tmp_path, *GOOD, *(f"{'x' * 120}{n}" for n in range(40)), "bad")
    if how == "a page":
        damage(tmp_path / "plaudit.db", "target", b"bad")
    else:
        flip(tmp_path, f"UPDATE target SET counts = {NO_JSON % 'counts'} WHERE id = 'bad'")
    async with open_api(tmp_path) as api:
        user = api.bearer("good1-u200")
        for path in (COUNTS, FEED, MINE, f"{REACTIONS}/stream"):
            asked = f"{path}?target_ids={','.join([*GOOD[:9], 'bad', *GOOD[9:]])}"
            failed = await api.call("GET", asked, headers=user, status=500)
            assert_problem(failed, "internal")
            assert failed.json()["target_ids"] == ["bad"]
        feed = await api.call("POST", FEED, headers=user, json={"target_ids": GOOD})
        assert {item["counts"]["total"] for item in feed.json()["targets"].values()} == {200}
        assert feed.json()["targets"]["good1"]["reaction"] == "like"


async def test_only_new_targets_need_to_know_where_versions_begin(tmp_path: Path) -> None:
    await fill(tmp_path, *GOOD)
    flip(tmp_path, "UPDATE restored SET floor = 'a'")
    async with open_api(tmp_path) as api:
        await asyncio.gather(put(api, "new", 500), *(put(api, target, 200) for target in GOOD))


@pytest.mark.parametrize("table", ["target", "wish", "watch"])
async def test_owners_of_other_targets_are_told(tmp_path: Path, table: str) -> None:
    clock = await open_windows(tmp_path)
    async with sqlite_stores(tmp_path, clock) as stores:
        await own(stores, "eves", owner="eve")
        await stores.audience.put_wishes("eve", Wishes(muted=("other",)))
        await stores.tap("eves", set_to("fan", LIKE))
        await settle(notifier(stores, clock))
    if table == "target":
        flip(tmp_path, f"UPDATE target SET counts = {NO_JSON % 'counts'} WHERE id = 'eves'")
    elif table == "wish":
        flip(tmp_path, "UPDATE wish SET wishes = 'y' || substr(wishes, 2)")
    else:  # in the header of a line 1 is stored as 9, and '' as 13
        flip(
            tmp_path, "UPDATE watch SET version = '' WHERE target = (SELECT no FROM target WHERE id = 'eves')"
        )
    clock.advance(301)
    metrics = Metrics()
    async with Database(tmp_path) as database:
        database.found_damage = metrics.found_damage
        stores = stores_on(database, clock)
        if table == "watch":
            with pytest.raises(Corrupt):
                await settle(notifier(stores, clock))
        await settle(notifier(stores, clock, metrics=metrics))
        assert len(await told(stores)) == 60
        assert await stores.inbox.page("eve", None, 10) == []
    assert metrics.damaged_reads > 0
    quarantined = value(metrics, "plaudit_events_quarantined_total", role="notify")
    assert quarantined == (0 if table == "watch" else 1)


@pytest.mark.parametrize("column", ["sample", "split", "title"])
async def test_pushes_go_out_behind_it(tmp_path: Path, column: str) -> None:
    clock = ManualClock()
    async with sqlite_stores(tmp_path, clock) as stores:
        for n in range(20):
            await stores.audience.put_device(Device(id=f"o{n}", owner=f"o{n}", kind="fcm", token="x"))
            its = message(f"m{n:03}", f"o{n}", at=n)
            await stores.inbox.put([its], [Address(its.id, "fcm", f"o{n}")], n)
    what = NO_TEXT if column == "title" else NO_JSON % column
    flip(tmp_path, f"UPDATE notification SET {column} = {what} WHERE id = 'm003'")
    async with sqlite_stores(tmp_path, clock) as stores:

        async def claim() -> list[Parcel]:
            return await stores.deliveries.claim("fcm", 1000, 30, 100)

        with pytest.raises(Corrupt):
            await claim()
        assert len(await claim()) == 19


async def export(stores: Stores) -> None:
    async with stores.source.records() as (_, pages):
        async for _ in pages:
            pass


async def test_commands_beside_the_service_say_so(tmp_path: Path) -> None:
    await fill(tmp_path, "a")
    flip(tmp_path, f"UPDATE target SET counts = {NO_JSON % 'counts'}")
    async with sqlite_stores(tmp_path, ManualClock()) as stores:
        with pytest.raises(Corrupt):
            await export(stores)
        its = message("m")
        await stores.inbox.put([its], [Address("m", "webhook", "")], 1)
    flip(tmp_path, f"UPDATE notification SET sample = {NO_JSON % 'sample'}")
    flip(tmp_path, "UPDATE delivery SET due = NULL")
    with pytest.raises(Corrupt):
        SqliteDeadLetters(tmp_path).dead(0, 10)


@pytest.mark.parametrize(
    "change", ["removed = 'y}'", f"note = {NO_TEXT}", "state = 'runnhng'", f"id = {NO_TEXT}"]
)
async def test_the_service_starts_with_a_job_that_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    await fill(tmp_path, "bad", "good")
    async with sqlite_stores(tmp_path, ManualClock()) as stores:
        for target in ("bad", "good"):
            await stores.removals.begin_purge(target, new_job("delete_target", target, 1))
    flip(
        tmp_path, f"UPDATE job SET {change} WHERE subject = 'bad'"
    )  # { is 0x7b and y 0x79, i is 0x69 and h 0x68
    async with open_api(tmp_path) as api:
        assert (await api.remove("/api/v1/targets/good"))["state"] == "done"
        receipt = await api.remove("/api/v1/targets/bad")  # asked for again, it is done
        assert (receipt["state"], receipt["removed"]) == ("done", {"rows": 200})
        if "runnhng" not in change and "id" not in change:
            assert "cannot be read, and is passed over" in caplog.text
            assert await damaged_reads(api) > 0


async def test_the_service_starts_where_nobody_can_look_for_jobs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sqlite_stores(tmp_path, ManualClock()) as stores:
        for n in range(200):
            await stores.jobs.save(new_job("delete_target", f"t{n}", n))
        first = (await stores.jobs.unfinished())[0]
    damage(tmp_path / "plaudit.db", "job_running", first.id.encode())
    async with open_api(tmp_path):
        assert "jobs that were left unfinished cannot be looked for" in caplog.text


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("target", f"counts = {NO_JSON % 'counts'}"),
        ("target", "counts = '{}'"),
        ("target", f"type = {NO_TEXT}"),
        ("user", f"name = {NO_TEXT}"),
        ("job", "removed = 'y}'"),
        ("notification", f"sample = {NO_JSON % 'sample'}"),
        ("device", "more = 'y}'"),
        ("wish", "wishes = '[]'"),
        ("delivery", f"reason = {NO_TEXT}"),
    ],
)
async def test_the_doctor_finds_it(tmp_path: Path, table: str, change: str) -> None:
    clock = ManualClock()
    async with sqlite_stores(tmp_path, clock) as stores:
        await stores.tap("a", set_to("fan", LIKE))
        await stores.removals.mark_erased("eve", new_job("erase_user", "eve", 1))
        await stores.audience.put_wishes(OWNER, Wishes())
        await stores.audience.put_device(Device(id="phone", owner=OWNER, kind="fcm", token="x"))
        await stores.inbox.put([message("m")], [Address("m", "fcm", "phone")], 1)
    whole = inspect(tmp_path, 10, 10, 10.0)
    assert (whole.fault, whole.unread) == (None, False)
    flip(tmp_path, f"UPDATE {table} SET {change}")
    assert f"the table {table} cannot be read" in str(inspect(tmp_path, 10, 10, 10.0).fault)


async def test_the_doctor_says_that_there_was_no_time_for_all_lines(tmp_path: Path) -> None:
    numbers = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 50000)"
    many = f"{numbers} INSERT INTO user (id) SELECT n FROM n"
    async with Database(tmp_path) as database:
        await database.write(lambda connection: connection.execute(many).fetchall())
    found = inspect(tmp_path, 10, 10, 0.0)
    assert (found.fault, found.unread) == (None, True)


async def test_events_are_trimmed_though_nobody_knows_how_many(tmp_path: Path) -> None:
    async with sqlite_stores(tmp_path, ManualClock()) as stores:
        for name in "abc":
            await stores.tap(name, set_to("fan", LIKE))
        await stores.log.acknowledge("notify", await stores.log.end())
    flip(tmp_path, "UPDATE event SET events = '' WHERE no = (SELECT min(no) FROM event)")
    async with sqlite_stores(tmp_path, ManualClock()) as stores:
        assert await stores.log.trim(100) == 2
        assert await stores.log.read("new", 10) == []


@pytest.mark.parametrize("reaction", ["''", "1.5", "16"])
async def test_a_reaction_that_is_none_is_damage_to_whoever_counts(tmp_path: Path, reaction: str) -> None:
    async with sqlite_stores(tmp_path, ManualClock()) as stores:
        await stores.tap("bad", set_to("fan", LIKE))
        await stores.tap("good", set_to("fan", LIKE))
    flip(
        tmp_path,
        f"UPDATE reaction_row SET reaction = {reaction} WHERE target = (SELECT no FROM target WHERE id = 'bad')",
    )
    assert "reactions to bad cannot be counted" in str(inspect(tmp_path, 10, 10, 10.0).fault)
    async with Database(tmp_path) as database:
        audit, metrics = SqliteAudit(database), Metrics()
        database.found_damage = metrics.found_damage
        assert (await audit.drift(["good"], 10)).drifted == []
        with pytest.raises(Corrupt):
            await audit.drift(["bad"], 10)
        with pytest.raises(Corrupt):
            await audit.drift_of_large("bad", 10.0)
        assert metrics.damaged_reads == 2
