"""Totals: of two states the newer one is kept, whoever tells of them, in whatever order."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest

from plaudit.adapters.redis import RedisTotals
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header
from plaudit.domain.events import Committed, committed, decode
from plaudit.ports.ledger import Target
from plaudit.ports.totals import Totals
from tests.support.redis import event, fresh_target, open_session, state
from tests.support.totals import MemoryTotals

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("patient_redis")]

REGISTERED = Registration(type="post", owner="auth0|5f", title="Ein Bild 🐈", closed=True, allowed=6)


@pytest.fixture(params=["memory", "redis"])
async def processes(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Sequence[Totals]]:
    """Five that keep totals in one place."""
    if request.param == "memory":
        yield [MemoryTotals()] * 5
        return
    redis = request.getfixturevalue("redis")
    async with AsyncExitStack() as stack:
        yield [RedisTotals(await stack.enter_async_context(open_session(redis))) for _ in range(5)]


@pytest.fixture
def totals(processes: Sequence[Totals]) -> Totals:
    return processes[0]


@pytest.fixture
def writers(processes: Sequence[Totals]) -> Sequence[Totals]:
    return processes[1:]


async def test_what_was_kept_is_read_whole(totals: Totals) -> None:
    a, b, c, nobody = (fresh_target() for _ in range(4))
    deleted = Target(Header(seq=7, type="post", deleted=2), REGISTERED)
    await totals.put({a: state(3, 5), b: state(4, 6, REGISTERED)})
    await totals.apply([event(c, deleted)])
    assert await totals.get([a, nobody, b, c]) == {a: state(3, 5), b: state(4, 6, REGISTERED), c: deleted}
    assert await totals.get([]) == {}


async def test_a_header_of_the_ledger_is_kept_but_for_what_only_commits_need(totals: Totals) -> None:
    a = fresh_target()
    header = Header(seq=2, type="post", counts=(1,), rows=1, last_at=77, born=5, deleted_at=66)
    await totals.put({a: Target(header)})
    assert await totals.get([a]) == {a: Target(Header(seq=2, type="post", counts=(1,), rows=1, born=5))}


async def test_of_two_states_the_newer_one_is_kept(totals: Totals) -> None:
    a = fresh_target()
    await totals.apply([event(a, state(2, 1))])
    await totals.apply([event(a, state(3, 2))])
    await totals.put({a: state(2, 9)})
    await totals.apply([event(a, state(1, 9))])
    assert await totals.get([a]) == {a: state(3, 2)}
    await totals.put({a: state(4, 4)})
    assert await totals.get([a]) == {a: state(4, 4)}


async def test_the_same_state_again_changes_nothing(totals: Totals) -> None:
    a = fresh_target()
    await totals.apply([event(a, state(2, 1))])
    await totals.apply([event(a, state(2, 8))])
    await totals.put({a: state(2, 9)})
    assert await totals.get([a]) == {a: state(2, 1)}


async def test_nothing_there_is_kept_only_where_nothing_is(totals: Totals) -> None:
    a, b = fresh_target(), fresh_target()
    await totals.put({a: Target(), b: state(1, 1)})
    await totals.put({a: Target(), b: Target()})
    assert await totals.get([a, b]) == {a: Target(), b: state(1, 1)}
    await totals.apply([event(a, state(1, 1))])
    assert await totals.get([a]) == {a: state(1, 1)}


async def test_what_is_forgotten_is_not_known_and_any_state_is_newer(totals: Totals) -> None:
    a, b = fresh_target(), fresh_target()
    await totals.put({a: state(5, 1), b: Target()})
    await totals.forget([a, b])
    assert await totals.get([a, b]) == {}
    await totals.put({a: state(2, 1)})
    assert await totals.get([a]) == {a: state(2, 1)}
    await totals.forget([])


@pytest.mark.parametrize("big", [2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 2])
async def test_versions_are_exact_however_big(totals: Totals, big: int) -> None:
    a = fresh_target()
    for seq in (big, big + 1, big):
        await totals.apply([event(a, state(seq, seq - big + 1))])
    assert await totals.get([a]) == {a: state(big + 1, 2)}, "and neither rounded nor compared as a text"


async def test_many_writers_at_once_leave_the_newest_state_of_each(
    writers: Sequence[Totals], totals: Totals
) -> None:
    targets = [fresh_target() for _ in range(20)]
    last = {target: 50 + n for n, target in enumerate(targets)}
    told = [event(target, state(seq, seq)) for target in targets for seq in range(1, last[target] + 1)]

    async def write(totals: Totals, seed: int) -> None:
        mine = told[:]
        random.Random(seed).shuffle(mine)
        while mine:
            # At most one event per cell and call.
            call = list({event.target: event for event in mine[:30]}.values())
            mine = [event for event in mine if event not in call]
            if seed % 2:
                await totals.apply(call)
            else:
                await totals.put({one.target: Target(one.header, one.registration) for one in call})

    await asyncio.gather(*(write(totals, seed) for seed, totals in enumerate([*writers, *writers])))
    assert await totals.get(targets) == {target: state(seq, seq) for target, seq in last.items()}


async def test_thousands_at_once_are_kept_and_read(totals: Totals) -> None:
    targets = [fresh_target() for _ in range(3000)]
    await totals.apply([event(target, state(n + 1, n)) for n, target in enumerate(targets)])
    assert await totals.get(targets) == {target: state(n + 1, n) for n, target in enumerate(targets)}


def lane(target: str, bucket: int, seq: int, likes: int, since: int = 9) -> Committed:
    """A commit of a lane of a target that is split over 4, by somebody who was not in the root."""
    header = Header(seq, "post", (likes,), likes, 0, since, ((f"u{bucket}", 1),), 0, 4, (since,))
    return decode(committed(target, header, "tap", [], bucket, REGISTERED))


def root(target: str, seq: int = 5) -> Header:
    """The root of it."""
    return Header(seq, "post", (2, 1), 3, 0, 7, (("ann", 1), ("bob", 2)), 0, 4, (8, 7))


async def test_a_split_target_of_which_a_cell_may_be_missing_is_not_known(totals: Totals) -> None:
    a = fresh_target()
    await totals.put({a: state(4, 1)})
    await totals.apply([decode(committed(a, root(a), "repair", []))])
    assert await totals.get([a]) == {}, "the ledger has to be asked for its lanes"
    await totals.apply([lane(a, 1, 1, 1)])
    assert await totals.get([a]) == {}


async def test_cells_of_a_split_target_add_up_in_whatever_order_they_come(totals: Totals) -> None:
    a = fresh_target()
    told = root(a)
    await totals.apply([lane(a, 2, 3, 5, 20)])  # before the refill, and newer than what that read
    await totals.put({a: Target(told, REGISTERED, {0: told, 2: lane(a, 2, 2, 4, 19).header})})
    shown = (await totals.get([a]))[a]
    assert shown.registration == REGISTERED
    assert shown.header is not None
    assert (shown.header.counts, shown.header.seq, shown.header.lanes) == ((7, 1), 8, 4)
    events = [lane(a, bucket, seq, 10 * bucket + seq, 100 + bucket) for bucket in (1, 3, 4) for seq in (1, 2)]
    random.Random(3).shuffle(events)
    for event_ in [*events, events[0]]:
        await totals.apply([event_])
    header = (await totals.get([a]))[a].header
    assert header is not None
    assert (header.counts, header.rows, header.born) == ((2 + 5 + 12 + 32 + 42, 1), 3 + 5 + 12 + 32 + 42, 7)
    assert header.seq == 5 + 3 + 2 * 3
    assert header.recent == (("u4", 1), ("u3", 1), ("u1", 1))


async def test_a_sum_alone_is_not_kept_and_what_is_forgotten_is_asked_for_again(totals: Totals) -> None:
    a = fresh_target()
    await totals.put({a: Target(root(a))})
    assert await totals.get([a]) == {}
    await totals.put({a: Target(root(a), None, {0: root(a)})})
    assert list(await totals.get([a])) == [a]
    await totals.forget([a])
    await totals.apply([lane(a, 1, 1, 1)])
    assert await totals.get([a]) == {}


async def test_what_was_read_before_a_split_is_not_kept_after_it(totals: Totals) -> None:
    a = fresh_target()
    await totals.apply([decode(committed(a, root(a), "repair", []))])
    await totals.apply([lane(a, 1, 1, 1)])
    await totals.put({a: state(4, 4)})
    await totals.apply([event(a, state(3, 3))])
    assert await totals.get([a]) == {}, "the ledger has to be asked for the lanes"
    await totals.put({a: Target(root(a), None, {0: root(a), 1: lane(a, 1, 1, 1).header})})
    header = (await totals.get([a]))[a].header
    assert header is not None
    assert header.seq == 5 + 1


async def test_many_writers_of_one_split_target_lose_no_lane(
    writers: Sequence[Totals], totals: Totals
) -> None:
    a = fresh_target()
    await totals.put({a: Target(root(a), None, {0: root(a)})})

    async def write(totals: Totals, bucket: int) -> None:
        for seq in range(1, 40):
            await totals.apply([lane(a, bucket, seq, seq)])

    await asyncio.gather(*(write(each, bucket) for bucket, each in enumerate(writers, 1)))
    header = (await totals.get([a]))[a].header
    assert header is not None
    assert (header.counts, header.seq) == ((2 + 4 * 39, 1), 5 + 4 * 39)
