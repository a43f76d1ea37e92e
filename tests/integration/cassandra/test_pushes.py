"""Pushes in Cassandra: many processes share them, one of them dies, devices change hands, slices are closed."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from plaudit.adapters.cassandra import CassandraInbox, CassandraUsers, Session, shares
from plaudit.adapters.cassandra.pushes import CLOSED_AFTER_US, SHARDS, SLICE_US, Line, Pushes, new_line
from plaudit.adapters.cassandra.statements import Statements
from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.ports.notifications import Address, Parcel, Settled
from tests.engines.cassandra import Cassandra
from tests.support.cassandra import open_session
from tests.support.cassandra_notices import Notices, emptied, notices
from tests.support.clock import ManualClock
from tests.support.notifying import OWNER, device, message

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def session(cassandra: Cassandra, anyio_backend: str) -> AsyncIterator[Session]:
    async with open_session(cassandra) as opened:
        await emptied(opened)
        yield opened


LONG_S = 600  # no test, and no stall of the machine, takes so long


async def push(process: Notices, clock: ManualClock, count: int, device_id: str = "") -> None:
    names = [f"m{n:04}" for n in range(count)]
    channel = "fcm" if device_id else "webhook"
    addresses = [Address(name, channel, device_id) for name in names]  # type: ignore[arg-type] # by name
    await process.inbox.put([message(name, f"o {name}") for name in names], addresses, clock.now_us())


async def claim(process: Notices, clock: ManualClock, limit: int = 1000) -> list[Parcel]:
    return await process.deliveries.claim("webhook", clock.now_us(), 60, limit)


async def test_processes_share_what_is_due_and_take_over_from_one_that_died(
    session: Session, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "LEASE_S", LONG_S)
    monkeypatch.setattr(shares, "MARGIN_S", 1.0)
    monkeypatch.setattr(shares, "ROUND_S", 1.0)
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(notices(session, clock)) for _ in range(2)]
        assert await one.shares.held() == list(range(SHARDS))
        assert await other.shares.held() == []
        for _ in range(4):  # the one sees the other's seat and gives up half, which the other takes
            clock.advance(1.1)
            await one.shares.held()
            await other.shares.held()
        halves = [await process.shares.held() for process in (one, other)]
        assert [len(half) for half in halves] == [SHARDS // 2] * 2
        await push(one, clock, 200)
        claims = [await claim(process, clock) for process in (one, other)]
        names = [parcel.notification.id for parcels in claims for parcel in parcels]
        assert sorted(names) == [f"m{n:04}" for n in range(200)]
        assert min(map(len, claims)) > 50
        await other.deliveries.settle([Settled(parcel=p, reason="delivered") for p in claims[1]])
        # After another round the one is not heard of any more. What it has now ends by itself, in Cassandra's time.
        clock.advance(1.1)
        monkeypatch.setattr(shares, "LEASE_S", 2)
        await one.shares.held()
        monkeypatch.setattr(shares, "LEASE_S", LONG_S)
        rest = list[Parcel]()

        async def taken_over() -> None:
            while len(rest) < len(claims[0]):
                clock.advance(1.1)
                rest.extend(await claim(other, clock))
                await asyncio.sleep(0.2)

        await asyncio.wait_for(taken_over(), 60)
        assert sorted(p.notification.id for p in rest) == sorted(p.notification.id for p in claims[0])


async def test_who_stops_gives_its_shares_back(session: Session, clock: ManualClock) -> None:
    async with notices(session, clock) as one:
        assert len(await one.shares.held()) == SHARDS
    async with notices(session, clock) as other:
        assert len(await other.shares.held()) == SHARDS


async def test_who_has_not_renewed_in_time_holds_nothing(
    session: Session, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with notices(session, clock) as one:
        await push(one, clock, 5)
        assert len(await one.shares.held()) == SHARDS

        async def away(now_s: float) -> None:
            """Cassandra cannot be reached."""

        monkeypatch.setattr(one.shares, "_go_round", away)
        clock.advance(shares.LEASE_S - shares.MARGIN_S + 0.1)
        assert await claim(one, clock) == []


async def test_slices_are_closed_when_they_are_over_and_empty(session: Session, clock: ManualClock) -> None:
    async with notices(session, clock) as one:
        await push(one, clock, 40)
        parcels = await claim(one, clock)
        later = clock.now_us() + 10 * SLICE_US
        await one.deliveries.settle(
            [
                Settled(parcel=parcel, reason="slow_down", due=later if n < 20 else None)
                for n, parcel in enumerate(parcels)
            ]
        )
        before = await slices(session)
        clock.advance((SLICE_US + CLOSED_AFTER_US) / 1_000_000 + 11)
        assert await claim(one, clock) == []
        assert 0 < await slices(session) < before
        clock.advance(600)
        assert len(await claim(one, clock)) == 20


async def test_a_put_that_was_cut_short_is_gone_on_with(session: Session, clock: ManualClock) -> None:
    async with notices(session, clock) as one:
        its = [message("m")]
        to = [Address("m", "webhook")]
        await one.inbox.put(its, [], clock.now_us())  # the message was written, its pushes were not
        for _ in range(2):
            await one.inbox.put(its, to, clock.now_us())
        [parcel] = await claim(one, clock)
        await one.deliveries.settle([Settled(parcel=parcel, reason="delivered")])
        await one.inbox.put(its, to, clock.now_us())
        clock.advance(60)
        assert await claim(one, clock) == [], "what was delivered is not pushed again"
        assert len(await one.inbox.page(OWNER, None, 10)) == 1


async def test_what_a_process_has_put_itself_is_claimed_without_reading(
    session: Session, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with notices(session, clock) as one:
        assert await claim(one, clock) == []
        await push(one, clock, 300)
        read = list[str]()
        rows = Statements._rows

        async def noted(self: Statements, query: str, *values: Any) -> list[tuple[Any, ...]]:
            if not isinstance(self, CassandraUsers):  # who was erased: a process knows
                read.append(query)
            return await rows(self, query, *values)

        monkeypatch.setattr(Statements, "_rows", noted)
        first = await claim(one, clock, 100)  # looks for those of others too, and not again for a second
        read.clear()
        parcels = [*first, *await claim(one, clock, 100), *await claim(one, clock, 900)]
        assert read == []
        assert sorted(parcel.notification.id for parcel in parcels) == [f"m{n:04}" for n in range(300)]
        await one.deliveries.settle([Settled(parcel=parcel, reason="delivered") for parcel in parcels])
        clock.advance(61)
        assert await claim(one, clock) == []
        assert await one.deliveries.waiting() == {"dead": 0}


async def test_older_pushes_come_before_those_just_put(session: Session, clock: ManualClock) -> None:
    async with notices(session, clock) as died:
        await push(died, clock, 20)
    async with notices(session, clock) as one:
        await claim(one, clock, 1)
        clock.advance(1)
        await one.inbox.put(
            [message(f"z{n}") for n in range(50)],
            [Address(f"z{n}", "webhook") for n in range(50)],
            clock.now_us(),
        )
        found = [parcel.notification.id for parcel in await claim(one, clock, 30)]
        assert sum(name.startswith("m") for name in found) == 19
        rest = [parcel.notification.id for parcel in await claim(one, clock, 100)]
        assert len({*found, *rest}) == 69


async def test_a_push_waits_for_its_message_and_survives_who_wrote_it(
    session: Session, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is killed between the two. Whoever closes the window again puts the message."""
    its, to = [message("m")], [Address("m", "webhook")]
    async with notices(session, clock) as died, notices(session, clock) as other:
        write = CassandraInbox._write_groups

        async def dies(self: CassandraInbox, writes: Any) -> None:
            raise OutcomeUnknown("killed")

        monkeypatch.setattr(CassandraInbox, "_write_groups", dies)
        with pytest.raises(OutcomeUnknown):
            await died.inbox.put(its, to, clock.now_us())
        monkeypatch.setattr(CassandraInbox, "_write_groups", write)
        assert await claim(other, clock) == [], "there is no message"
        clock.advance(30)
        assert await claim(other, clock) == []
        assert await other.deliveries.waiting() == {"webhook": 1, "dead": 0}
        await other.inbox.put([message("m", OWNER, 30)], to, clock.now_us())
        clock.advance(20)
        parcels = await claim(other, clock)
        assert [(parcel.notification.id, parcel.notification.at) for parcel in parcels] == [("m", 30)]
        assert len(await other.inbox.page(OWNER, None, 10)) == 1
        await other.deliveries.settle([Settled(parcel=parcel, reason="delivered") for parcel in parcels])
        assert await claim(other, clock) == [], "the first one's push is not sent beside it"
        clock.advance(90)
        assert await claim(other, clock) == []
        assert await other.deliveries.waiting() == {"dead": 0}


async def test_a_push_whose_message_never_comes_is_done_with(
    session: Session, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with notices(session, clock) as one:
        line = new_line(message("never"), "webhook", "", clock.now_us())
        await one.pushes.add([line])
        assert await claim(one, clock) == []
        clock.advance(119)
        assert await claim(one, clock) == []
        assert await one.deliveries.waiting() == {"webhook": 1, "dead": 0}
        clock.advance(2)
        assert await claim(one, clock) == []
        assert await one.deliveries.waiting() == {"dead": 0}


async def without_messages(process: Notices, clock: ManualClock, count: int) -> None:
    """What a process left that died after it had written pushes."""
    its = [message(f"never{n}") for n in range(count)]
    await process.pushes.add(new_line(each, "webhook", "", clock.now_us()) for each in its)


async def test_pushes_without_messages_do_not_take_the_places_of_others(
    session: Session, clock: ManualClock
) -> None:
    async with notices(session, clock) as died, notices(session, clock) as one:
        await without_messages(died, clock, 60)
        clock.advance(5)
        await push(died, clock, 20)
        clock.advance(5)
        assert len(await claim(one, clock, 20)) == 20


async def test_a_claim_that_fails_on_its_way_past_them_gives_back_what_it_had(
    session: Session, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with notices(session, clock) as died, notices(session, clock) as one:
        await without_messages(died, clock, 3)
        await push(died, clock, 5)
        read, asked = CassandraInbox.read, 0

        async def once(self: CassandraInbox, places: Iterable[tuple[str, int, str]]) -> Any:
            nonlocal asked
            asked += 1
            if asked > 1:
                raise Unavailable("after the first round")
            return await read(self, places)

        monkeypatch.setattr(CassandraInbox, "read", once)
        with pytest.raises(Unavailable):
            await claim(one, clock)
        monkeypatch.setattr(CassandraInbox, "read", read)
        assert asked == 2
        clock.advance(1.1)
        assert len(await claim(one, clock)) == 5


async def test_pushes_without_messages_are_looked_at_less_and_less(
    session: Session, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with notices(session, clock) as died, notices(session, clock) as one:
        await without_messages(died, clock, 1)
        asked = list[tuple[str, int, str]]()
        read = CassandraInbox.read

        async def noted(self: CassandraInbox, places: Iterable[tuple[str, int, str]]) -> Any:
            places = list(places)
            asked.extend(places)
            return await read(self, places)

        monkeypatch.setattr(CassandraInbox, "read", noted)
        for _ in range(125):
            assert await claim(one, clock) == []
            clock.advance(1)
        assert 5 < len(asked) < 20
        assert await one.deliveries.waiting() == {"dead": 0}


async def test_who_is_erased_after_the_message_was_put_is_not_told(
    session: Session, clock: ManualClock
) -> None:
    async with notices(session, clock) as one:
        await claim(one, clock)
        await push(one, clock, 2)
        await one.users.mark("o m0000")
        assert [parcel.notification.id for parcel in await claim(one, clock)] == ["m0001"]


async def test_a_device_that_is_registered_again_while_it_is_settled_stays(
    session: Session, clock: ManualClock
) -> None:
    async with notices(session, clock) as one:
        await one.audience.put_device(device("d", at=10))
        known = (await one.audience.devices([OWNER]))[OWNER][0]
        await one.audience.settle(known, "suspect", None)
        await one.audience.put_device(device("d", at=20))
        await one.audience.settle(known, "suspect", None)
        await one.audience.settle(known, "gone", 15)
        [found] = (await one.audience.devices([OWNER]))[OWNER]
        assert (found.registered_at, found.suspect) == (20, 0)
        await one.audience.settle(found, "gone", 20)
        assert await one.audience.devices([OWNER]) == {}


async def test_a_token_that_two_register_at_once_is_one_of_theirs(
    session: Session, clock: ManualClock
) -> None:
    async with notices(session, clock) as one:
        users = [f"u{n}" for n in range(8)]
        await asyncio.gather(*(one.audience.put_device(device("d", user)) for user in users))
        found = await one.audience.devices(users)
        assert len(found) == 1


async def slices(session: Session) -> int:
    statement = await session.prepare("SELECT count(*) FROM $keyspace.push_slice")
    return int((await session.read(statement.bind([]))).first().as_tuple()[0])


async def test_a_push_that_is_resent_and_fails_again_at_once_is_a_dead_letter(
    session: Session, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may have tried it before whoever had it resent comes to take the old dead letter away."""
    async with notices(session, clock) as one:

        async def fail() -> None:
            [parcel] = await claim(one, clock)
            await one.deliveries.settle([Settled(parcel=parcel, reason="refused", dead=True)])

        await push(one, clock, 1)
        await fail()
        add = Pushes.add

        async def and_fail(pushes: Pushes, lines: Iterable[Line]) -> None:
            await add(pushes, lines)
            clock.advance(1.1)
            await fail()

        monkeypatch.setattr(Pushes, "add", and_fail)
        for resend in (None, [letter.no for letter in await one.deliveries.dead(0, 9)]):
            assert await one.deliveries.resend(resend, clock.now_us()) == 1
            assert [letter.tries for letter in await one.deliveries.dead(0, 9)] == [1]
            assert await one.deliveries.waiting() == {"dead": 1}
        monkeypatch.undo()
        assert await one.deliveries.resend(None, clock.now_us()) == 1
        assert await one.deliveries.dead(0, 9) == []
