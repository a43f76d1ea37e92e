"""What `plaudit.ports.transfer` promises: records in, everything out, and copies."""

from pathlib import Path

import pytest

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Deleted, Header, Outcome, Refused
from plaudit.domain.errors import Conflict, Unavailable
from plaudit.domain.events import decode
from plaudit.domain.merge import Tally
from plaudit.domain.transfer import ReactionRecord, Record, TargetRecord, UserRecord
from plaudit.ports.directory import Profile
from plaudit.ports.lists import Entry
from plaudit.ports.removals import Job
from plaudit.ports.transfer import Batch, Stored
from tests.support.clock import START_US, ManualClock
from tests.support.stores import Stores
from tests.support.taps import ALL, LIKE, LOVE, NONE, WOW, set_to, toggle

PROFILES = ("sqlite", "cassandra")
EMBEDDED = pytest.mark.parametrize("stores", ["sqlite"], indirect=True)
CLUSTER = pytest.mark.parametrize("stores", ["cassandra"], indirect=True)

AT = START_US - 1_000_000_000


def batch(*records: Record) -> Batch:
    made = Batch()
    for record in records:
        if isinstance(record, ReactionRecord):
            made.reactions.setdefault(record.target, []).append(record)
        elif isinstance(record, TargetRecord):
            made.targets.setdefault(record.target, []).append(record)
        else:
            made.users.append(record)
    return made


async def take(stores: Stores, *records: Record, whole: bool = False) -> Stored:
    stored = await stores.intake.store(batch(*records), whole=whole)
    await stores.settle()
    return stored


async def out(stores: Stores) -> list[Record]:
    async with stores.source.records() as (_, pages):
        return [record async for page in pages for record in page]


def about(target: str, **more: object) -> TargetRecord:
    return TargetRecord(**{"target": target, "type": "post", **more})  # type: ignore[arg-type] # a test's own names


def ignore(done: int, total: int) -> None:
    assert 0 <= done <= total


async def test_reactions_are_taken_in_with_their_times(stores: Stores) -> None:
    stored = await take(
        stores,
        ReactionRecord("t", "ann", LIKE, AT, AT, "comment"),
        ReactionRecord("t", "bob", LOVE, AT + 5, AT + 9),
        ReactionRecord("t", "cid", NONE, AT + 7, AT + 8),
        ReactionRecord("u", "ann", WOW, AT + 1, AT + 1),
    )
    assert stored == Stored(Tally(created=4), stored=True)
    assert (await stores.target("t")).header == Header(
        1, "comment", (1, 1), 3, last_at=AT + 9, born=AT, recent=(("bob", LOVE), ("ann", LIKE))
    )
    assert await stores.reactors.reactors("t", ALL, None, 10) == [
        Entry("bob", LOVE, AT + 5),
        Entry("ann", LIKE, AT),
    ]
    assert await stores.own.reacted("ann", None, 10) == [Entry("u", WOW, AT + 1), Entry("t", LIKE, AT)]
    assert await stores.own.mine("cid", ["t"]) == {}


@EMBEDDED
async def test_an_import_writes_no_events(stores: Stores) -> None:
    await take(stores, about("t", version=5, registration=Registration(type="post", owner="olga")))
    await take(stores, *(ReactionRecord("t", f"u{n}", LIKE, AT + n, AT + n) for n in range(300)))
    assert await stores.log.end() == 0


@CLUSTER
async def test_an_import_is_told_as_one(stores: Stores) -> None:
    await take(stores, about("t", version=5, registration=Registration(type="post", owner="olga")))
    await take(stores, *(ReactionRecord("t", f"u{n}", LIKE, AT + n, AT + n) for n in range(300)))
    events = [decode(body) for _, body in await stores.log.read("reader", 100)]
    assert {event.cause for event in events} == {"import"}
    assert [event.seq for event in events] == [5, 6, 7, 8]
    assert sum(len(event.transitions) for event in events) == 300


async def test_taps_go_on_where_the_import_left_off(stores: Stores, clock: ManualClock) -> None:
    await take(stores, ReactionRecord("t", "ann", LIKE, AT, AT), ReactionRecord("t", "bob", LIKE, AT, AT))
    switched = await stores.answer("t", toggle("ann", LOVE))
    assert (switched.outcome, switched.previous) == (Outcome.SWITCHED, LIKE)
    assert await stores.counts("t") == (1, 1)
    header = (await stores.target("t")).header
    assert header is not None
    assert header.seq == 2
    later = await take(
        stores, ReactionRecord("t", "ann", WOW, AT, AT + 1), ReactionRecord("t", "bob", WOW, AT, AT + 1)
    )
    assert (later.tally.changed, later.tally.skipped) == (1, {"newer_there": 1})
    assert await stores.own.mine("ann", ["t"]) == {"t": LOVE}
    assert await stores.own.mine("bob", ["t"]) == {"t": WOW}


async def test_keys_from_before_an_import_are_remembered(stores: Stores) -> None:
    await stores.tap("t", toggle("ann", LIKE, "k"))
    await take(stores, ReactionRecord("t", "ann", LOVE, AT, START_US + 1))
    again = await stores.answer("t", toggle("ann", LIKE, "k"))
    assert (again.replayed, again.outcome, again.reaction) == (True, Outcome.CREATED, LOVE)


async def test_the_same_batch_again_changes_nothing(stores: Stores) -> None:
    records: list[Record] = [
        UserRecord(user="ann", name="Ann", locale="en"),
        UserRecord(user="bob", erased_at=AT),
        about("t", version=3, registration=Registration(type="post", title="T", allowed=6)),
        about("gone", version=4, deleted=True),
        *(ReactionRecord("t", f"u{n}", ALL[n % 6], AT + n, AT + n) for n in range(10)),
    ]
    await take(stores, *records)
    before = await out(stores)
    again = await take(stores, *records)
    assert again.tally == Tally(skipped=again.tally.skipped)
    assert again.tally.skipped == {"already_there": 14}
    assert await out(stores) == before


async def test_a_big_batch_over_old_and_new_targets(stores: Stores) -> None:
    first = [ReactionRecord(f"t{n}", "ann", LIKE, AT, AT) for n in range(0, 1500, 2)]
    await take(stores, *first)
    second = [ReactionRecord(f"t{n}", user, LOVE, AT, AT + 1) for n in range(1500) for user in ("ann", "bob")]
    stored = await take(stores, *second)
    assert (stored.tally.created, stored.tally.changed) == (2250, 750)
    for n in (0, 1, 750, 1499):
        assert await stores.counts(f"t{n}") == (0, 2)
    assert len(await stores.own.reacted("ann", None, 5000)) == 1500


async def test_a_whole_batch_is_stored_or_nothing_of_it(stores: Stores) -> None:
    await stores.tap("t", toggle("ann"))
    before = await out(stores)
    bad = ReactionRecord("t", "bob", LIKE, AT, AT, "comment", 7)
    records: list[Record] = [
        UserRecord(user="ann", name="Ann"),
        ReactionRecord("new", "ann", LIKE, AT, AT),
        bad,
    ]
    refused = await take(stores, *records, whole=True)
    assert (refused.stored, refused.tally.refused) == (False, [("target_type_mismatch", bad)])
    assert await out(stores) == before
    rest = await take(stores, *records)
    assert (rest.stored, rest.tally.refused, rest.tally.created) == (True, [("target_type_mismatch", bad)], 1)
    assert await stores.counts("new") == (1,)


async def test_an_imported_registration_is_one(stores: Stores) -> None:
    registration = Registration(type="message", owner="olga", title="T", closed=True, allowed=2)
    await take(stores, about("t", type="message", version=9, registration=registration))
    target = await stores.target("t")
    assert (target.registration, target.header) == (registration, Header(9, "message"))
    assert (await stores.tap("t", set_to("ann", LIKE))).answers == [Refused("target_not_granted")]
    assert (await stores.directory.register("t", registration)) == target


async def test_profiles_that_are_there_stay(stores: Stores) -> None:
    await stores.directory.put_profile("ann", Profile(name="Ann"))
    stored = await take(
        stores, UserRecord(user="ann", name="Other"), UserRecord(user="bob", name="Bob", time_zone="UTC")
    )
    assert (stored.tally.users, stored.tally.skipped) == (1, {"registration_kept": 1})
    assert await stores.directory.profiles(["ann", "bob"]) == {
        "ann": Profile(name="Ann"),
        "bob": Profile(name="Bob", time_zone="UTC"),
    }


async def test_an_imported_mark_erases_by_a_job(stores: Stores, clock: ManualClock) -> None:
    await stores.directory.put_profile("ann", Profile(name="Ann"))
    await stores.tap("t", toggle("ann"))
    await take(
        stores,
        ReactionRecord("u", "ann", LIKE, AT, AT),
        UserRecord(user="ann", name="Ann"),
        UserRecord(user="ann", erased_at=AT),
        UserRecord(user="bob", erased_at=AT),
    )
    assert await stores.directory.profiles(["ann"]) == {}
    assert (await stores.tap("t", toggle("ann"))).answers == [Refused("user_erased")]
    [job] = await stores.jobs.unfinished()
    assert (job.kind, job.subject, job.created_at) == ("erase_user", "ann", clock.now_us())
    assert await stores.counters.targets(["u"]) == {}
    assert [type(record) for record in await out(stores)] == [UserRecord, UserRecord, TargetRecord], (
        "a marked row stays here"
    )


async def test_a_deleted_target_and_an_erased_user_take_nothing_in(stores: Stores) -> None:
    await stores.tap("t", toggle("ann"))
    await stores.removals.begin_purge(
        "t", Job(id="j", kind="delete_target", subject="t", state="running", created_at=1)
    )
    await stores.removals.mark_erased(
        "bob", Job(id="k", kind="erase_user", subject="bob", state="running", created_at=1)
    )
    before = await out(stores)
    stored = await take(
        stores,
        ReactionRecord("t", "cid", LIKE, AT, AT),
        ReactionRecord("u", "bob", LIKE, AT, AT),
        about("t", registration=Registration(type="post")),
        UserRecord(user="bob", name="Bob"),
    )
    assert stored.tally == Tally(skipped=stored.tally.skipped)
    assert stored.tally.skipped == {"target_deleted": 2, "user_erased": 2}
    assert await out(stores) == before
    [deleted] = [record for record in before if isinstance(record, TargetRecord)]
    assert (deleted.deleted, deleted.version) == (True, 2), "its rows are left out at once"


async def test_an_imported_deletion_keeps_the_id(stores: Stores) -> None:
    await take(stores, about("t", version=7, deleted=True))
    assert (await stores.target("t")).header == Header(7, "post", deleted=Deleted.PURGED)
    assert (await stores.tap("t", toggle("ann"))).answers == [Refused("target_deleted")]
    again = await stores.directory.register("t", Registration(type="post"))
    assert again.header == Header(8, "post")


async def test_what_comes_out_is_whole_and_in_order(stores: Stores, clock: ManualClock) -> None:
    await stores.directory.put_profile("ann", Profile(name="Ann", avatar_url="/a.png"))
    registration = Registration(type="comment", owner="olga", allowed=6)
    await stores.directory.register("b", registration)
    await stores.tap("b", set_to("ann", LIKE))
    clock.advance(1)
    await stores.tap("a", set_to("bob", WOW), set_to("ann", LIKE), set_to("cid", NONE, "never reacted"))
    clock.advance(1)
    await stores.tap("a", set_to("ann", NONE))
    first, then = START_US, START_US + 1_000_000
    user, *found = await out(stores)
    assert user == UserRecord(user="ann", name="Ann", avatar_url="/a.png")
    one: list[Record] = [
        TargetRecord(target="b", type="comment", version=2, registration=registration),
        ReactionRecord("b", "ann", LIKE, first, first, "comment"),
    ]
    other: list[Record] = [
        TargetRecord(target="a", type="post", version=2),
        ReactionRecord("a", "ann", NONE, then + 1, then + 1_000_000, "post"),
        ReactionRecord("a", "bob", WOW, then, then, "post"),
    ]
    assert found in (one + other, other + one)


@EMBEDDED
async def test_an_export_is_of_one_moment(stores: Stores) -> None:
    await take(stores, *(ReactionRecord("t", f"u{n}", LIKE, AT, AT) for n in range(2000)))
    async with stores.source.records() as (total, pages):
        assert total == 2000
        found = list(await anext(pages))
        await stores.tap("t", toggle("new"))
        await stores.tap("u", toggle("new"))
        found += [record async for page in pages for record in page]
    assert len(found) == 2001
    assert "new" not in {record.user for record in found if isinstance(record, ReactionRecord)}
    assert len(await out(stores)) == 2004


@EMBEDDED
async def test_a_backup_is_of_one_moment_and_overwrites_nothing(stores: Stores, tmp_path: Path) -> None:
    await stores.tap("t", toggle("ann"))
    file = tmp_path / "copies" / "one"
    with pytest.raises(Unavailable):
        stores.copies.backup(file, ignore)
    file.parent.mkdir()
    moved: list[tuple[int, int]] = []
    stores.copies.backup(file, lambda done, total: moved.append((done, total)))
    assert moved[-1][0] == moved[-1][1] > 0
    assert [path.name for path in file.parent.iterdir()] == ["one"]
    before = file.read_bytes()
    with pytest.raises(Conflict):
        stores.copies.backup(file, ignore)
    assert file.read_bytes() == before


@EMBEDDED
async def test_nothing_is_restored_under_a_service(stores: Stores, tmp_path: Path) -> None:
    await stores.tap("t", toggle("ann"))
    file = tmp_path / "backup"
    stores.copies.backup(file, ignore)
    await stores.tap("t", toggle("bob"))
    with pytest.raises(Conflict):
        stores.copies.restore(file, force=True, progress=ignore)
    assert await stores.counts("t") == (2,)
