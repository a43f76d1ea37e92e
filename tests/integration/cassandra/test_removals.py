"""Deletion and erasure on the real store: beside taps, after a crash at any step, and begun in another process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import pytest

from plaudit.adapters.cassandra import CassandraCells
from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Answer, Deleted, Refused, Transition
from plaudit.domain.errors import Unavailable
from plaudit.domain.events import Committed
from plaudit.domain.removal import counts_of
from plaudit.ports.cells import CellKey, CellState
from plaudit.ports.removals import Job, JobKind
from tests.engines.cassandra import Cassandra
from tests.support.cassandra import Cluster, Process, cluster, fresh_target
from tests.support.clock import START_US, ManualClock
from tests.support.notifying import message
from tests.support.taps import ALL, LIKE, NONE, set_to

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def parts(cassandra: Cassandra, anyio_backend: str) -> AsyncIterator[Cluster]:
    async with cluster(cassandra, SystemClock()) as opened:
        yield opened


def job(kind: JobKind, subject: str) -> Job:
    return Job(id=f"job-{subject}", kind=kind, subject=subject, state="running", created_at=1)


async def at_rest(cells: CassandraCells, target: str) -> CellState:
    """The whole cell; header and rows must agree."""
    state = await cells.settle(CellKey(target), ())
    rows = await cells.page(CellKey(target), "", 10_000)
    assert state.header is not None
    assert state.header.rows == len(rows)
    counts = () if state.header.deleted else counts_of(rows)
    assert [n for n in state.header.counts if n] == [n for n in counts if n]
    return CellState(state.header, state.registration, rows)


async def tapping(process: Process, users: list[str], targets: list[str], random: Random) -> list[object]:
    """Everybody taps on everything for a while; returns the answers."""

    async def one(user: str) -> list[object]:
        answers: list[object] = []
        for _ in range(6):
            tap = set_to(user, random.choice((NONE, *ALL)))
            answers.append((await process.committer.submit(random.choice(targets), tap)).answer)
        return answers

    return [answer for answers in await asyncio.gather(*map(one, users)) for answer in answers]


async def test_registrations_beside_taps_lose_nothing_of_either(parts: Cluster) -> None:
    target, random = fresh_target(), Random(1)
    one, other = await parts.process(), await parts.process()

    async def register(n: int) -> Registration:
        registration = Registration(type="post", owner=f"o{n}")
        assert (await one.directory.register(target, registration)).registration == registration
        return registration

    users = [f"u{n}" for n in range(20)]
    registered, answers = await asyncio.gather(
        asyncio.gather(*map(register, range(8))), tapping(other, users, [target], random)
    )
    assert all(isinstance(answer, Answer) for answer in answers)
    state = await at_rest(parts.cells, target)
    assert state.registration in registered
    assert state.header is not None
    assert len({e.seq for e in parts.log.of(target)}) == state.header.seq, "every commit was published"


async def test_a_target_deleted_beside_taps_ends_empty(parts: Cluster) -> None:
    target, random = fresh_target(), Random(2)
    one, other = await parts.process(), await parts.process()
    users = [f"u{n}" for n in range(40)]
    await tapping(other, users, [target], random)

    async def delete() -> None:
        await one.removals.begin_purge(target, job("delete_target", target))
        while await one.removals.purge_some(target, 7):
            pass

    _, answers = await asyncio.gather(delete(), tapping(other, users, [target], random))
    assert Refused("target_deleted") in answers
    state = await at_rest(parts.cells, target)
    assert state.header is not None
    assert (state.header.deleted, dict(state.rows)) == (Deleted.PURGED, {})
    assert await parts.lists.reactors(target, ALL, None, 100) == []
    for user in users:
        assert target not in [entry.key for entry in await parts.lists.reacted(user, None, 100)]
    assert parts.log.of(target)[-1].header.deleted == Deleted.PURGED


async def test_erasing_somebody_beside_taps_takes_only_what_is_theirs(parts: Cluster) -> None:
    targets, random, ann = [fresh_target() for _ in range(3)], Random(3), fresh_target()
    one, other = await parts.process(), await parts.process()
    users = [f"u{n}" for n in range(20)]
    await tapping(other, [*users, ann], targets, random)
    await other.committer.submit(targets[0], set_to(ann, LIKE))
    await one.removals.mark_erased(ann, job("erase_user", ann))
    await other.erased.refresh()

    async def erase() -> None:
        while await one.removals.erase_some(ann, 2):
            pass

    await asyncio.gather(erase(), tapping(other, users, targets, random))
    assert (await other.committer.submit(targets[0], set_to(ann, LIKE))).answer == Refused("user_erased")
    assert await parts.lists.reacted(ann, None, 10) == []
    for target in targets:
        state = await at_rest(parts.cells, target)
        reacted = {user for user, row in state.rows.items() if row.reaction}
        assert ann not in reacted
        assert {entry.key for entry in await parts.lists.reactors(target, ALL, None, 100)} == reacted


async def test_taps_of_a_user_whose_mark_one_process_has_not_heard_of_are_erased_too(
    cassandra: Cassandra, anyio_backend: str
) -> None:
    """Until the mark is in force everywhere the job waits; what was taken until then goes with the rest."""
    clock = ManualClock()
    async with cluster(cassandra, clock) as parts:
        target, ann = fresh_target(), fresh_target()
        one, other = await parts.process(in_force_after_s=20), await parts.process()
        await one.removals.mark_erased(ann, job("erase_user", ann))
        answer = (await other.committer.submit(target, set_to(ann, LIKE))).answer
        assert isinstance(answer, Answer), "it has not heard yet"
        with pytest.raises(Unavailable):
            await one.removals.erase_some(ann, 10)
        clock.advance(9)
        assert isinstance((await other.committer.submit(target, set_to(ann, NONE))).answer, Answer)
        assert isinstance((await other.committer.submit(target, set_to(ann, LIKE))).answer, Answer)
        clock.advance(2)
        late = other.committer.submit(target, set_to(ann, LIKE))
        await asyncio.sleep(0.1)
        assert not late.done(), "its set is too old to answer"
        await other.erased.refresh()
        assert (await late).answer == Refused("user_erased")
        clock.advance(10)
        await one.erased.refresh()
        assert list(await one.removals.erase_some(ann, 10)) == [target]
        assert await one.removals.erase_some(ann, 10) == {}
        assert (await at_rest(parts.cells, target)).rows == {}


Work = Callable[[Process], Awaitable[Any]]


async def crash_everywhere(parts: Cluster, prepare: Work, work: Work, check: Work) -> int:
    """Let a process die before its first, second … request of `work` and after it, each time on new data, and have
    another one begin again; returns after how many requests it was done without dying."""
    for n in range(200):
        process = await parts.process()
        await prepare(process)
        dying = await parts.process(dies_after=n)
        life = [asyncio.ensure_future(work(dying)), asyncio.ensure_future(dying.dead.wait())]
        done, _ = await asyncio.wait(life, return_when=asyncio.FIRST_COMPLETED)
        alive = not dying.dead.is_set()
        await dying.kill()
        for each in life:
            each.cancel()
        await asyncio.gather(*life, return_exceptions=True)
        assert all(each.exception() is None for each in done)
        await work(process)
        await check(process)
        if alive:
            return n
    raise AssertionError("it goes on for ever")


async def test_a_deletion_that_dies_at_any_step_is_ended_by_another_process(parts: Cluster) -> None:
    target, inbox = "", parts.letters.inbox
    users = [f"u{n}" for n in range(5)]

    async def prepare(process: Process) -> None:
        nonlocal target
        target = fresh_target()
        for owner in ("otto", "olga"):
            await process.directory.register(target, Registration(type="post", owner=owner))
            told = [message(f"{target} {owner}", owner, START_US, target=target)]
            await inbox.put(told, [], START_US)
        await asyncio.gather(*(process.committer.submit(target, set_to(u, LIKE)) for u in users))

    async def work(process: Process) -> None:
        await process.removals.begin_purge(target, job("delete_target", target))
        await process.removals.take_back(target, last=False)
        while await process.removals.purge_some(target, 3):
            pass
        await process.removals.take_back(target, last=True)

    async def check(_: Process) -> None:
        state = await at_rest(parts.cells, target)
        assert state.header is not None
        assert (state.header.deleted, state.registration, dict(state.rows)) == (Deleted.PURGED, None, {})
        assert await parts.lists.reactors(target, ALL, None, 10) == []
        assert parts.log.newest(target).deleted == Deleted.PURGED
        assert await inbox.page("otto", None, 10) == await inbox.page("olga", None, 10) == []
        assert await parts.letters.owners.of(target) == []
        assert target in [each.subject for each in await parts.jobs.unfinished()]

    assert await crash_everywhere(parts, prepare, work, check) > 10


async def test_an_owner_is_noted_before_the_target_is_anothers(parts: Cluster) -> None:
    target = ""

    async def prepare(process: Process) -> None:
        nonlocal target
        target = fresh_target()
        await process.directory.register(target, Registration(type="post", owner="otto"))

    async def work(process: Process) -> None:
        await process.directory.register(target, Registration(type="post", owner="olga"))

    async def check(process: Process) -> None:
        assert await parts.letters.owners.of(target) == ["otto"]
        await process.directory.register(target, Registration(type="post", owner="olga", title="New"))
        assert await parts.letters.owners.of(target) == ["otto"]

    assert await crash_everywhere(parts, prepare, work, check) > 5


async def test_an_erasure_that_dies_at_any_step_is_ended_by_another_process(parts: Cluster) -> None:
    ann, targets = "", list[str]()

    async def prepare(process: Process) -> None:
        nonlocal ann, targets
        ann, targets = fresh_target(), [fresh_target(), fresh_target()]
        await asyncio.gather(
            *(
                process.committer.submit(target, set_to(user, LIKE))
                for target in targets
                for user in (ann, "bob")
            )
        )

    async def work(process: Process) -> None:
        await process.removals.mark_erased(ann, job("erase_user", ann))
        while await process.removals.erase_some(ann, 1):
            pass

    async def check(process: Process) -> None:
        assert await parts.lists.reacted(ann, None, 10) == []
        for target in targets:
            assert list((await at_rest(parts.cells, target)).rows) == ["bob"]
            assert [e.key for e in await parts.lists.reactors(target, ALL, None, 10)] == ["bob"]
            assert (parts.log.newest(target).rows, parts.log.newest(target).header.total) == (1, 1)
        await process.erased.refresh()
        assert await process.erased.verified(process.erased.suspects([ann, "bob"])) == {ann}

    assert await crash_everywhere(parts, prepare, work, check) > 10


async def test_a_registration_that_dies_at_any_step_is_made_by_another_process(parts: Cluster) -> None:
    target = ""
    registration = Registration(type="comment", owner="olga")

    async def prepare(_: Process) -> None:
        nonlocal target
        target = fresh_target()

    async def work(process: Process) -> None:
        await process.directory.register(target, registration)

    async def check(_: Process) -> None:
        state = await at_rest(parts.cells, target)
        assert (state.seq, state.registration) == (1, registration)
        assert parts.log.newest(target).registration == registration

    assert await crash_everywhere(parts, prepare, work, check) > 1


async def test_a_list_that_shows_what_the_ledger_lost_is_put_right(parts: Cluster) -> None:
    """As an event does that came late, or a process that died long ago: the erasure ends only when lists are empty."""
    process, target, ann = await parts.process(), fresh_target(), fresh_target()
    stale = Transition(ann, None, LIKE, 5, 9)
    await parts.index.apply([Committed(target, 0, "post", 1, "late", 1, (), 0, 0, (), (stale,))])
    await process.removals.mark_erased(ann, job("erase_user", ann))
    assert await process.removals.erase_some(ann, 10) == {}
    assert await parts.lists.reacted(ann, None, 10) == []
    assert await parts.lists.reactors(target, ALL, None, 10) == []
