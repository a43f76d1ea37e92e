"""What `plaudit.ports.removals` promises: deletion and erasure in steps, and the jobs that drive them."""

import msgspec
import pytest

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Deleted, Header, Refused
from plaudit.domain.events import decode
from plaudit.ports.removals import Job, JobKind
from tests.support.clock import ManualClock
from tests.support.notifying import message, own
from tests.support.stores import Stores
from tests.support.taps import ALL, HAHA, LIKE, LOVE, NONE, SAD, WOW, cell, set_to, toggle

GONE = Refused("target_deleted")

PROFILES = ("sqlite", "cassandra")
pytestmark = pytest.mark.timeout(120)
embedded_only = pytest.mark.parametrize("stores", ["sqlite"], indirect=True)


def job(kind: JobKind, subject: str, id_: str = "j1", created_at: int = 1) -> Job:
    return Job(id=id_, kind=kind, subject=subject, state="running", created_at=created_at)


async def begin(stores: Stores, target: str, id_: str = "j1") -> Header:
    header = (await stores.removals.begin_purge(target, job("delete_target", target, id_))).header
    assert header is not None
    await stores.settle()
    return header


async def header_of(stores: Stores, target: str) -> Header:
    header = (await stores.target(target)).header
    assert header is not None
    return header


async def test_begin_purge_closes_the_target_at_once(stores: Stores) -> None:
    await stores.directory.register("t", Registration(type="comment", owner="olga"))
    await stores.tap("t", *(toggle(f"u{n}", ALL[n % 6]) for n in range(10)))
    header = await begin(stores, "t")
    assert (header.seq, header.deleted, header.total, header.rows, header.recent) == (
        3,
        Deleted.PURGING,
        0,
        10,
        (),
    )
    assert header.type == "comment"
    assert (await stores.tap("t", toggle("u1"), set_to("new", LOVE), set_to("u2", NONE))).answers == [
        GONE
    ] * 3
    target = await stores.target("t")
    assert (target.header, target.registration) == (header, None)
    kept = await stores.jobs.get("j1")
    assert kept is not None
    assert msgspec.structs.replace(kept, begun_at=None) == job("delete_target", "t")


async def test_begin_purge_of_a_target_never_seen_leaves_a_purged_header(stores: Stores) -> None:
    header = await begin(stores, "t")
    assert (header.seq, header.deleted, header.rows) == (1, Deleted.PURGED, 0)
    assert (await stores.tap("t", toggle("ann"))).answers == [GONE]
    assert await stores.removals.purge_some("t", 10) == 0
    assert await header_of(stores, "t") == header


async def test_begin_purge_again_changes_nothing_but_keeps_the_job(stores: Stores) -> None:
    await stores.tap("t", toggle("ann"), toggle("bob"))
    first = await begin(stores, "t")
    assert await begin(stores, "t", "j2") == first
    assert await stores.removals.purge_some("t", 1) == 1
    half = await header_of(stores, "t")
    assert await begin(stores, "t", "j3") == half
    assert {(await stores.jobs.get(id_)) is not None for id_ in ("j1", "j2", "j3")} == {True}


async def test_purge_takes_the_rows_away_in_steps(stores: Stores) -> None:
    await stores.tap("t", *(toggle(f"u{n}", ALL[n % 6]) for n in range(10)), set_to("none", NONE, "k"))
    await stores.tap("u", toggle("u1"))
    await begin(stores, "t")
    steps = []
    while removed := await stores.removals.purge_some("t", 4):
        assert (await stores.tap("t", toggle("u1"))).answers == [GONE]
        steps.append((removed, (await header_of(stores, "t")).rows, (await header_of(stores, "t")).deleted))
    assert steps == [(4, 7, Deleted.PURGING), (4, 3, Deleted.PURGING), (3, 0, Deleted.PURGED)]
    assert await stores.removals.purge_some("t", 4) == 0
    assert (await header_of(stores, "t")).seq == 1 + 1 + 3
    assert await stores.counts("u") == (1,)
    events = [decode(body) for _, body in await stores.log.read("test", 100)]
    told = [(e.cause, e.seq) for e in events if e.target == "t" and e.cause in ("tap", "delete")]
    assert sorted(dict.fromkeys(told), key=lambda pair: pair[1]) == [
        ("tap", 1),
        ("delete", 2),
        ("delete", 3),
        ("delete", 4),
        ("delete", 5),
    ]


@pytest.mark.parametrize("limit", [3, 4])
async def test_the_step_that_takes_the_last_row_ends_the_purge(stores: Stores, limit: int) -> None:
    await stores.tap("t", *(toggle(f"u{n}") for n in range(3)))
    await begin(stores, "t")
    assert await stores.removals.purge_some("t", limit) == 3
    assert (await header_of(stores, "t")).deleted == Deleted.PURGED


async def test_nothing_is_purged_of_a_target_that_is_not_being_deleted(stores: Stores) -> None:
    await stores.tap("t", toggle("ann"))
    before = await header_of(stores, "t")
    assert await stores.removals.purge_some("t", 10) == 0
    assert await stores.removals.purge_some("unknown", 10) == 0
    assert await header_of(stores, "t") == before
    assert await stores.counters.targets(["unknown"]) == {}


async def test_a_job_left_over_does_not_purge_what_was_registered_again(stores: Stores) -> None:
    await stores.tap("t", toggle("ann"))
    await begin(stores, "t")
    assert await stores.removals.purge_some("t", 10) == 1
    await stores.directory.register("t", Registration(type="post"))
    await stores.tap("t", toggle("bob"))
    assert await stores.removals.purge_some("t", 10) == 0
    assert await stores.counts("t") == (1,)


async def test_reactions_from_before_a_purge_do_not_come_back(stores: Stores) -> None:
    await stores.tap("t", toggle("ann", LIKE, "k"), toggle("bob"))
    await begin(stores, "t")
    while await stores.removals.purge_some("t", 1):
        pass
    await stores.directory.register("t", Registration(type="post"))
    await stores.settle()
    assert await stores.own.mine("ann", ["t"]) == {}
    assert await stores.reactors.reactors("t", ALL, None, 10) == []
    assert not (await stores.answer("t", toggle("ann", LIKE, "k"))).replayed
    assert (await header_of(stores, "t")).recent == (("ann", LIKE),)


async def told(stores: Stores, owner: str) -> list[str]:
    """What stands in the owner's inbox."""
    return [found.id for found in await stores.inbox.page(owner, None, 1000)]


async def tell(stores: Stores, owner: str, *ids: str, at: int, target: str = "t") -> None:
    messages = [message(id_, owner, at + n, target=target) for n, id_ in enumerate(ids)]
    await stores.inbox.put(messages, [], at)


@pytest.mark.parametrize("rows", [0, 1])
async def test_what_owners_were_told_of_a_deleted_target_goes(
    stores: Stores, clock: ManualClock, rows: int
) -> None:
    at = clock.now_us()
    await own(stores, "t", "u", owner="olga")
    await stores.tap("t", *(toggle(f"u{n}") for n in range(rows)))
    await tell(stores, "olga", "a", "b", at=at)
    await tell(stores, "olga", "of u", at=at, target="u")
    await own(stores, "t", owner="otto")
    await tell(stores, "otto", *(f"m{n:03}" for n in range(130)), at=at)
    await own(stores, "t", owner="olga")
    await begin(stores, "t")
    assert await stores.removals.take_back("t", last=False) == 132
    assert (await told(stores, "olga"), await told(stores, "otto")) == (["of u"], [])
    while await stores.removals.purge_some("t", 10):
        pass
    assert await stores.removals.take_back("t", last=True) == 0
    assert await stores.removals.take_back("t", last=True) == 0
    assert await told(stores, "olga") == ["of u"]


async def test_nothing_is_taken_back_of_a_target_that_is_not_deleted(
    stores: Stores, clock: ManualClock
) -> None:
    await own(stores, "t", owner="otto")
    await own(stores, "t", owner="olga")
    await stores.tap("t", toggle("ann"))
    clock.advance(30)
    await tell(stores, "olga", "a", at=clock.now_us())
    assert await stores.removals.take_back("t", last=True) == 0
    assert await stores.removals.take_back("unknown", last=True) == 0
    assert await told(stores, "olga") == ["a"]


async def test_of_a_target_that_was_registered_again_what_came_before_its_first_reaction_goes(
    stores: Stores, clock: ManualClock
) -> None:
    """The job that deleted it goes on while there is something new to tell."""
    await own(stores, "t", owner="olga")
    await stores.tap("t", toggle("ann"))
    await tell(stores, "olga", "before", at=clock.now_us())
    await begin(stores, "t")
    assert await stores.removals.purge_some("t", 10) == 1
    await own(stores, "t", owner="olga")
    assert await stores.removals.take_back("t", last=False) == 1
    clock.advance(5)
    await stores.tap("t", toggle("ann"))
    clock.advance(30)
    await tell(stores, "olga", "after", at=clock.now_us())
    assert await stores.removals.take_back("t", last=True) == 0
    assert await told(stores, "olga") == ["after"]


@embedded_only
async def test_nothing_is_told_of_a_target_once_it_is_closed(stores: Stores, clock: ManualClock) -> None:
    """Whoever told it saw the target before. In the cluster the job waits for them."""
    await own(stores, "t", "u", owner="olga")
    await begin(stores, "t")
    await tell(stores, "olga", "late", at=clock.now_us())
    await tell(stores, "olga", "of u", at=clock.now_us(), target="u")
    assert await told(stores, "olga") == ["of u"]


async def test_a_marked_user_is_refused_and_the_job_is_kept(stores: Stores) -> None:
    await stores.tap("t", toggle("ann"), toggle("bob"))
    for _ in range(2):
        await stores.removals.mark_erased("ann", job("erase_user", "ann"))
    await stores.settle()
    assert (await stores.tap("t", toggle("ann"))).answers == [Refused("user_erased")]
    assert await stores.counts("t") == (2,), "the mark alone takes nothing away"
    assert await stores.jobs.get("j1") == job("erase_user", "ann")


async def test_erasure_takes_one_users_rows_away_in_steps(stores: Stores) -> None:
    codes = {f"t{n}": ALL[n % 6] for n in range(7)}
    await stores.ledger.commit([cell(t, toggle("ann", c), toggle("bob", c)) for t, c in codes.items()])
    await stores.removals.mark_erased("ann", job("erase_user", "ann"))
    seen: dict[str, int] = {}
    steps = []
    while after := await stores.removals.erase_some("ann", 3):
        steps.append(len(after))
        await stores.settle()
        for target, state in after.items():
            assert state == await stores.target(target)
            assert state.header is not None
            seen[target] = state.header.rows
    assert steps == [3, 3, 1]
    assert seen == dict.fromkeys(codes, 1)
    assert await stores.own.reacted("ann", None, 10) == []
    for target, code in codes.items():
        header = await header_of(stores, target)
        assert (header.seq, header.total, header.counts[code - 1], header.recent) == (
            2,
            1,
            1,
            (("bob", code),),
        )
        assert [e.key for e in await stores.reactors.reactors(target, ALL, None, 10)] == ["bob"]


@embedded_only
async def test_erasure_takes_rows_without_a_reaction_too(stores: Stores) -> None:
    """Where rows are found by user. In the cluster the auditor comes upon them."""
    await stores.tap("t", toggle("ann"), toggle("ann"), toggle("bob"))
    await stores.removals.mark_erased("ann", job("erase_user", "ann"))
    [after] = (await stores.removals.erase_some("ann", 3)).values()
    assert after.header is not None
    assert (after.header.rows, after.header.total) == (1, 1)


async def test_erasure_is_told_in_events_as_a_row_that_goes_from_every_list(stores: Stores) -> None:
    await stores.tap("t", toggle("ann", WOW), toggle("bob", HAHA))
    await stores.removals.mark_erased("ann", job("erase_user", "ann"))
    await stores.removals.erase_some("ann", 10)
    *_, event = (decode(body) for _, body in await stores.log.read("test", 100))
    assert (event.cause, event.seq, event.rows, sum(event.counts)) == ("erase", 2, 1, 1)
    assert [(t.user, t.before, t.after) for t in event.transitions] == [("ann", None, NONE)]


async def test_erasing_from_a_target_that_is_being_purged_counts_its_row(stores: Stores) -> None:
    await stores.tap("t", toggle("ann"), toggle("bob", SAD), toggle("cid"))
    await begin(stores, "t")
    await stores.removals.mark_erased("ann", job("erase_user", "ann", "j2"))
    [after] = (await stores.removals.erase_some("ann", 10)).values()
    assert after.header is not None
    assert (after.header.total, after.header.rows, after.header.deleted) == (0, 2, Deleted.PURGING)
    assert await stores.removals.purge_some("t", 1) == 1
    await stores.removals.mark_erased("bob", job("erase_user", "bob", "j3"))
    await stores.removals.mark_erased("cid", job("erase_user", "cid", "j4"))
    left = {**await stores.removals.erase_some("bob", 10), **await stores.removals.erase_some("cid", 10)}
    [last] = left.values()
    assert last.header is not None
    assert (last.header.rows, last.header.deleted) == (0, Deleted.PURGED)
    assert await stores.removals.purge_some("t", 1) == 0


async def test_erasing_somebody_without_rows_changes_nothing(stores: Stores) -> None:
    await stores.tap("t", toggle("bob"))
    await stores.removals.mark_erased("ann", job("erase_user", "ann"))
    assert await stores.removals.erase_some("ann", 10) == {}
    assert (await header_of(stores, "t")).seq == 1


async def test_jobs_are_kept_and_replaced_whole(stores: Stores) -> None:
    first = job("delete_target", "t")
    await stores.jobs.save(first)
    assert await stores.jobs.get("j1") == first
    done = msgspec.structs.replace(
        first, state="done", finished_at=9, removed={"rows": 3, "ünï": 1}, note='Said "so".\n'
    )
    for _ in range(2):
        await stores.jobs.save(done)
    assert await stores.jobs.get("j1") == done
    other = Job(id="j1", kind="erase_user", subject="ann", state="failed", created_at=5)
    await stores.jobs.save(other)
    assert await stores.jobs.get("j1") == other
    assert await stores.jobs.latest("delete_target", "t") is None
    assert await stores.jobs.get("unknown") is None


@embedded_only
async def test_receipts_are_forgotten_by_when_their_job_ended(stores: Stores) -> None:
    running = job("erase_user", "ann", "running")
    done = [
        msgspec.structs.replace(job("erase_user", f"u{n}", f"j{n}"), state="done", finished_at=n)
        for n in range(1, 6)
    ]
    for each in (running, *done):
        await stores.jobs.save(each)
    assert await stores.jobs.forget(1, 10) == 0
    assert await stores.jobs.forget(5, 3) == 3
    assert await stores.jobs.forget(5, 3) == 1
    assert await stores.jobs.forget(5, 3) == 0
    assert [await stores.jobs.get(each.id) for each in done] == [None] * 4 + [done[4]]
    assert await stores.jobs.unfinished() == [running]


async def test_steps_are_counted_in_the_job(stores: Stores, clock: ManualClock) -> None:
    async def removed(id_: str) -> dict[str, int]:
        found = await stores.jobs.get(id_)
        assert found is not None
        return found.removed

    await own(stores, "t", owner="olga")
    await stores.tap("t", *(toggle(f"u{n}") for n in range(5)))
    await tell(stores, "olga", "a", "b", at=clock.now_us())
    await begin(stores, "t")
    assert await stores.removals.take_back("t", "j1", last=False) == 2
    assert await stores.removals.purge_some("t", 3, "j1") == 3
    assert await removed("j1") == {"messages": 2, "rows": 3}
    assert await stores.removals.purge_some("t", 3, "j1") == 2
    assert await stores.removals.purge_some("t", 3, "j1") == 0
    assert await stores.removals.take_back("t", "j1", last=True) == 0
    assert await removed("j1") == {"messages": 2, "rows": 5}
    for n in range(3):
        await stores.tap(f"of-ann{n}", toggle("ann"))
    await stores.removals.mark_erased("ann", job("erase_user", "ann", "j2"))
    while await stores.removals.erase_some("ann", 2, "j2"):
        pass
    assert await removed("j2") == {"rows": 3}
    await stores.tap("u", toggle("u1"))
    await begin(stores, "u", "j3")
    assert await stores.removals.purge_some("u", 3, "unknown") == 1
    assert await stores.jobs.get("unknown") is None


async def test_unfinished_jobs_come_back_oldest_first(stores: Stores) -> None:
    assert await stores.jobs.unfinished() == []
    for n, state in ((5, "running"), (2, "done"), (3, "running"), (1, "failed"), (4, "running")):
        saved = msgspec.structs.replace(job("erase_user", f"u{n}", f"j{n}", n), state=state)
        await stores.jobs.save(saved)
    assert [j.id for j in await stores.jobs.unfinished()] == ["j3", "j4", "j5"]


async def test_the_latest_job_is_of_this_kind_and_subject(stores: Stores) -> None:
    for id_, kind, subject, at in (
        ("j1", "delete_target", "t", 1),
        ("j2", "delete_target", "t", 3),
        ("j3", "delete_target", "t", 2),
        ("j4", "erase_user", "t", 9),
        ("j5", "delete_target", "u", 9),
    ):
        await stores.jobs.save(msgspec.structs.replace(job("erase_user", subject, id_, at), kind=kind))
    latest = await stores.jobs.latest("delete_target", "t")
    assert latest is not None
    assert latest.id == "j2"
    assert await stores.jobs.latest("erase_user", "u") is None
