"""Totals: of two states the newer one is kept, whoever tells of them, in whatever order."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from plaudit.adapters.redis import RedisTotals
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header
from plaudit.ports.ledger import Target
from plaudit.ports.totals import Totals
from tests.engines.redis import Redis
from tests.support.redis import event, fresh_target, open_session, state

pytestmark = pytest.mark.timeout(120)

REGISTERED = Registration(type="post", owner="auth0|5f", title="Ein Bild 🐈", closed=True, allowed=6)


@pytest.fixture
async def totals(redis: Redis, anyio_backend: str) -> AsyncIterator[Totals]:
    async with open_session(redis) as session:
        yield RedisTotals(session)


async def test_what_was_kept_is_read_whole(totals: Totals) -> None:
    a, b, c, nobody = (fresh_target() for _ in range(4))
    deleted = Target(Header(seq=7, type="post", deleted=2, lanes=64), REGISTERED)
    await totals.put({a: state(3, 5), b: state(4, 6, REGISTERED)})
    await totals.apply([event(c, deleted)])
    assert await totals.get([a, nobody, b, c]) == {a: state(3, 5), b: state(4, 6, REGISTERED), c: deleted}
    assert await totals.get([]) == {}


async def test_a_header_of_the_ledger_is_kept_but_for_what_only_commits_need(totals: Totals) -> None:
    a = fresh_target()
    await totals.put({a: Target(Header(seq=2, type="post", counts=(1,), rows=1, last_at=77, born=5))})
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


async def test_many_writers_at_once_leave_the_newest_state_of_each(redis: Redis, totals: Totals) -> None:
    targets = [fresh_target() for _ in range(20)]
    last = {target: 50 + n for n, target in enumerate(targets)}
    told = [event(target, state(seq, seq)) for target in targets for seq in range(1, last[target] + 1)]
    async with AsyncExitStack() as stack:
        writers = [RedisTotals(await stack.enter_async_context(open_session(redis))) for _ in range(4)]

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

        await asyncio.gather(*(write(totals, seed) for seed, totals in enumerate(writers * 2)))
    assert await totals.get(targets) == {target: state(seq, seq) for target, seq in last.items()}


async def test_thousands_at_once_are_kept_and_read(totals: Totals) -> None:
    targets = [fresh_target() for _ in range(3000)]
    await totals.apply([event(target, state(n + 1, n)) for n, target in enumerate(targets)])
    assert await totals.get(targets) == {target: state(n + 1, n) for n, target in enumerate(targets)}
