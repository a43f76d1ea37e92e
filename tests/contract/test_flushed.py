"""Flushed totals: of two states the newer one stays, and of each what other readers of the store need."""

from collections.abc import AsyncIterator
from random import Random

import pytest

from plaudit.adapters.cassandra import CassandraCounts
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header
from plaudit.ports.flushed import Flushed
from plaudit.ports.ledger import Target
from tests.support.cassandra import fresh_target, open_session
from tests.support.totals import MemoryFlushed

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=["memory", "cassandra"])
async def flushed(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Flushed]:
    if request.param == "memory":
        yield MemoryFlushed()
        return
    cassandra = request.getfixturevalue("cassandra")
    async with open_session(cassandra) as session, CassandraCounts(session) as counts:
        yield counts


def written(seq: int, *counts: int) -> Target:
    return Target(Header(seq, "post", counts, sum(counts)))


async def test_any_order_and_any_repetition_leaves_the_newest(flushed: Flushed) -> None:
    target, random = fresh_target(), Random(7)
    states = [written(seq, seq, 2 * seq) for seq in range(1, 10)] * 2
    random.shuffle(states)
    for state in states:
        await flushed.put({target: state})
    assert await flushed.get([target]) == {target: written(9, 9, 18)}
    await flushed.put({target: Target(), fresh_target(): Target(Header())})
    assert await flushed.get([target]) == {target: written(9, 9, 18)}


async def test_only_what_others_read_is_written(flushed: Flushed) -> None:
    target = fresh_target()
    recent = (("ann", 1), ("bob", 1))
    header = Header(7, "post", (2,), 3, last_at=99, born=5, recent=recent, deleted_at=4)
    await flushed.put({target: Target(header, Registration(type="post", owner="ann"))})
    assert await flushed.get([target]) == {target: Target(Header(7, "post", (2,), 3))}


async def test_what_is_not_written_is_left_out(flushed: Flushed) -> None:
    one, two, nobody, unborn = (fresh_target() for _ in range(4))
    await flushed.put(
        {one: written(1, 1), two: written(2**53 + 1, 0, 1), nobody: Target(), unborn: Target(Header())}
    )
    assert await flushed.get([nobody, two, unborn, one, two]) == {
        one: written(1, 1),
        two: written(2**53 + 1, 0, 1),
    }
    assert await flushed.get([]) == {}
    await flushed.put({})
