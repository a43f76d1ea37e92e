"""A rebuild on real stores: what a restored ledger left behind goes, everything in the ledger comes back."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from plaudit.domain.errors import Unavailable
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Entry
from tests.engines.cassandra import Cassandra
from tests.engines.redis import Redis
from tests.support.taps import ALL, LIKE
from tests.support.totals import Meanwhile
from tests.support.town import Town, open_town

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("patient_redis")]


@pytest.fixture
async def town(cassandra: Cassandra, redis: Redis, anyio_backend: str) -> AsyncIterator[Town]:
    async with open_town(cassandra, redis) as opened:
        yield opened


async def test_a_rebuild_refills_everything_after_the_ledger_went_back(town: Town) -> None:
    names = await town.inhabited()
    name = names[0]
    later = await town.header(name)
    assert later.header is not None
    # As if these had been committed, seen by all, and then undone by a restore.
    undone = msgspec.structs.replace(later.header, seq=later.header.seq + 3, counts=(9,))
    at = later.header.last_at + 1_000_000
    await town.totals.put({name: Target(undone)})
    await town.counts.put({name: Target(undone)})
    for query in (
        "INSERT INTO $keyspace.reactors (target, bucket, reaction, created_at, user) VALUES (?, 0, 1, 5, 'zoe')",
        "INSERT INTO $keyspace.reactions_by_user (target, created_at, user, reaction) VALUES (?, 5, 'zoe', 1)",
        "DELETE FROM $keyspace.reactors WHERE target = ? AND bucket = 0 AND reaction = 1",
    ):
        await town.run(
            query.replace(" WHERE", f" USING TIMESTAMP {at} WHERE") if "DELETE" in query else query, name
        )
    assert sum(one.store == "lists" for one in await town.audit()) >= 3
    rebuild = town.rebuild()
    looks: list[tuple[int, int]] = []
    await rebuild.run(lambda *look: looks.append(look))
    assert (rebuild.cells, rebuild.entries, rebuild.unreadable) == (3, 9, [])
    assert looks[-1][0] == looks[-1][1]
    assert await town.audit() == []
    assert [e.key for e in await town.lists.reacted("zoe", None, 10)] == []
    whole = await town.lists.reactors(name, ALL, None, 10)
    assert {(e.key, e.reaction) for e in whole} == {("ann", LIKE), ("bob", LIKE), ("dan", LIKE)}
    assert all(isinstance(e, Entry) for e in whole)


async def test_a_tap_while_totals_are_rebuilt_is_not_lost(town: Town) -> None:
    [name] = await town.inhabited(1)
    town.totals = Meanwhile(town.totals, lambda name: town.tap(name, eve=LIKE))
    await town.rebuild().run()
    kept = (await town.totals.get([name]))[name].header
    header = (await town.header(name)).header
    assert kept is not None
    assert header is not None
    assert (kept.seq, kept.counts) == (header.seq, header.counts)


async def test_a_rebuild_goes_on_without_emptying_again(town: Town) -> None:
    await town.inhabited(20)
    broken = town.rebuild()
    broken._totals = _Failing(town)  # type: ignore[assignment] # of the port only what a rebuild uses
    with pytest.raises(Unavailable):
        await broken.run()
    entries = len(await town.run("SELECT user FROM $keyspace.reactors"))
    assert 0 < entries < 60
    rebuild = town.rebuild()
    await rebuild.run()
    assert rebuild.cells < 20
    assert len(await town.run("SELECT user FROM $keyspace.reactors")) == 60
    assert await town.audit() == []


class _Failing:
    """Totals that go away after ten targets."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._left = 10

    async def forget(self, ids: list[str]) -> None:
        self._left -= 1
        if self._left < 0:
            raise Unavailable("away")
        await self._town.totals.forget(ids)

    async def put(self, states: dict[str, Target]) -> None:
        await self._town.totals.put(states)
