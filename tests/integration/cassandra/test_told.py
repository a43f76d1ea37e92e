"""Whom owners were told of, kept with the messages: by owner, for as long as target and owner are there."""

from collections.abc import AsyncIterator

import pytest

from plaudit.adapters.cassandra import CassandraTold, Session, migrate
from plaudit.domain.watch import Watch, pack
from plaudit.ports.notifications import Address
from tests.engines.cassandra import Cassandra
from tests.support.cassandra import config, open_session
from tests.support.cassandra_notices import emptied, notices
from tests.support.clock import ManualClock
from tests.support.notifying import message

pytestmark = pytest.mark.timeout(300)

FIRST, SECOND, THIRD = (Watch(message_at=at, told={f"user {at}": at}) for at in (1, 2, 3))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def session(cassandra: Cassandra, anyio_backend: str) -> AsyncIterator[Session]:
    async with open_session(cassandra) as opened:
        await emptied(opened)
        yield opened


async def test_it_is_there_with_the_message_for_the_owner_who_was_told(
    session: Session, clock: ManualClock
) -> None:
    async with notices(session, clock) as one:
        names = [f"t{n}" for n in range(25)]
        messages = [message(f"m {name}", f"o {name}", target=name) for name in names]
        addresses = [Address(each.id, "webhook") for each in messages]
        owners = {name: f"o {name}" for name in names}
        assert await one.told.told(owners) == {}
        await one.inbox.put(messages, addresses, 1, dict.fromkeys(names, FIRST))
        assert await one.told.told(owners) == dict.fromkeys(names, FIRST)
        assert await one.told.told(
            {**owners, "t0": "o t1", "t1": "somebody", "other": "o t1"}
        ) == dict.fromkeys(names[2:], FIRST)
        await one.inbox.put(messages[:1], [], 2, {"t0": SECOND, "t1": SECOND})
        assert await one.told.told({"t0": "o t0", "t1": "o t1"}) == {"t0": SECOND, "t1": FIRST}


async def test_it_goes_with_its_target_and_with_its_owner(session: Session, clock: ManualClock) -> None:
    async with notices(session, clock) as one:
        targets, owners = ("t", "other", "third"), {"t": "ann", "other": "ann", "third": "bob"}
        messages = [message(name, owners[name], target=name) for name in targets]
        await one.inbox.put(messages, [], 1, dict.fromkeys(targets, FIRST))
        await one.told.forget("t", ["ann", "bob"])
        assert await one.told.told(owners) == {"other": FIRST, "third": FIRST}
        await one.letters.forget("ann")
        assert await one.told.told(owners) == {"third": FIRST}


async def test_a_watch_of_any_size_is_kept(session: Session, clock: ManualClock) -> None:
    """Cassandra refuses batches of more than 50 KiB, but not of one partition."""
    async with notices(session, clock) as one:
        large = Watch(message_at=1, told={f"{n:0128}": n for n in range(1000)})
        messages = [message(name, f"owner of {name}", target=name) for name in ("a", "b", "c")]
        await one.inbox.put(messages, [], 1, {"a": FIRST, "b": large, "c": FIRST})
        found = await one.told.told({each.target: each.owner for each in messages})
        assert found == {"a": FIRST, "b": large, "c": FIRST}


async def run(session: Session, text: str, *values: object) -> None:
    await session.write((await session.prepare(text)).bind(list(values)))


async def test_what_was_told_before_the_upgrade_is_known_for_a_day(cassandra: Cassandra) -> None:
    applied = "UPDATE upgraded.migration SET applied_at = {} WHERE version = {}"
    keep = "INSERT INTO $keyspace.told (target, watch) VALUES (?, ?)"
    now = "SELECT toUnixTimestamp(now()) FROM system.local"
    async with Session(config(cassandra, "upgraded")) as session:
        await migrate(session)
        [row] = (await session.read((await session.prepare(now)).bind([]))).all()
        now_ms, hour_ms = row.as_tuple()[0], 3_600_000
        await run(session, keep, "t", pack(FIRST))
        async with CassandraTold(session) as told:
            assert await told.told({"t": "ann"}) == {}, "a new installation has no before"
        await session.change_schema(applied.format(now_ms - 900 * hour_ms, 7))
        for hours, known in ((0, True), (24, True), (26, False)):
            await session.change_schema(applied.format(now_ms - hours * hour_ms, 12))
            async with CassandraTold(session) as told:
                assert (await told.told({"t": "ann"}) == {"t": FIRST}) == known, hours
        await session.change_schema(applied.format(now_ms, 12))
        put = "INSERT INTO $keyspace.told_of (owner, target, watch) VALUES (?, ?, ?)"
        async with CassandraTold(session) as told:
            await run(session, put, "ann", "t", pack(SECOND))
            assert await told.told({"t": "ann"}) == {"t": SECOND}, "the newer one"
            await run(session, keep, "t", pack(THIRD))
            assert await told.told({"t": "ann"}) == {"t": THIRD}, "also of a notifier of before"
            await told.forget("t", ["ann"])
            assert await told.told({"t": "ann"}) == {}
