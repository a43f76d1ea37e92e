"""Pushes go on where a process dies or stops, a sender throws, a store fails, or a channel is at fault."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from plaudit.adapters.sqlite import Database
from plaudit.domain.errors import Unavailable
from plaudit.ports.notifications import Channel, Device, Settled
from plaudit.ports.push import Push, Verdict
from plaudit.services.breaker import TRIPS_AT, Breaker
from plaudit.services.deliver import POLICY
from tests.support.clock import ManualClock
from tests.support.delivering import delivering, fcm, reached, registered, settled, told
from tests.support.notifying import OWNER
from tests.support.provider import Certificates
from tests.support.providers import FcmServer
from tests.support.stores import Stores, stores_on
from tests.support.wait import until


class Doing:
    """A sender over one channel that does this with each push."""

    channel: Channel = "webhook"
    at_once = 4

    def __init__(self, send: Callable[[Push], Awaitable[Verdict]]) -> None:
        self._send = send

    def provider(self, push: object) -> str:
        return "webhook"

    async def send(self, push: Push) -> Verdict:
        return await self._send(push)


async def test_killed_between_sending_and_settling_a_device_shows_one_entry(
    tmp_path: Path, clock: ManualClock, certificates: Certificates
) -> None:
    server = FcmServer(clock)
    async with reached(clock, certificates, server) as client, Database(tmp_path / "data") as database:
        first = stores_on(database, clock)
        await registered(first, Device(id="f", owner=OWNER, kind="fcm", token="phone"))
        await told(first, clock, "fcm", 1, ["f"])
        server.answers = []
        write = database.write

        async def never(_: object) -> object:
            await asyncio.sleep(3600)
            return None

        async with delivering(first, clock, fcm(client, clock, server)):
            database.write = never  # type: ignore[method-assign, assignment] # the process dies before it settles
            await server.until(lambda: len(server.seen) == 1, "the first push")
        database.write = write  # type: ignore[method-assign] # the next process
        second = stores_on(database, clock)
        async with delivering(second, clock, fcm(client, clock, server)):
            await settled(second)
    assert (server.count("/v1"), list(server.seen)) == (2, ["phone m00000"])
    assert server.problems == []


async def test_a_stop_waits_for_what_is_under_way(stores: Stores, clock: ManualClock) -> None:
    begun, sent = asyncio.Event(), list[str]()

    async def slow(push: Push) -> Verdict:
        begun.set()
        await asyncio.sleep(0.1)
        sent.append(push.id)
        return Verdict(reason="delivered")

    await told(stores, clock, "webhook", 1)
    async with delivering(stores, clock, Doing(slow)):
        await begun.wait()
    assert sent == ["m00000"]
    assert await stores.deliveries.waiting() == {"dead": 0}


async def test_pushes_go_on_while_others_are_settled(
    stores: Stores, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, lots, free = list[str](), list[int](), asyncio.Event()

    async def quick(push: Push) -> Verdict:
        sent.append(push.id)
        return Verdict(reason="delivered")

    settle = stores.deliveries.settle

    async def slowly(results: Sequence[Settled]) -> None:
        lots.append(len(results))
        await free.wait()
        await settle(results)

    monkeypatch.setattr(stores.deliveries, "settle", slowly)
    await told(stores, clock, "webhook", 12)
    async with delivering(stores, clock, Doing(quick)):
        await until(lambda: len(sent) >= 8, "as many more as may land meanwhile")
        assert len(lots) == 1
        free.set()
        await settled(stores)
    assert sorted(sent) == [f"m{n:05}" for n in range(12)]
    assert lots[1] >= 4


async def test_a_stop_settles_the_rest_where_one_lot_fails(
    stores: Stores, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, lots, settled_since = list[str](), list[int](), list[int]()

    async def quick(push: Push) -> Verdict:
        sent.append(push.id)
        return Verdict(reason="delivered")

    settle = stores.deliveries.settle
    stopping = asyncio.Event()

    async def failing_first(results: Sequence[Settled]) -> None:
        lots.append(len(results))
        if len(lots) == 1:
            await stopping.wait()
            raise Unavailable("away")
        await asyncio.sleep(0.05)
        await settle(results)
        settled_since.append(len(results))

    monkeypatch.setattr(stores.deliveries, "settle", failing_first)
    await told(stores, clock, "webhook", 8)
    async with delivering(stores, clock, Doing(quick)):
        await until(lambda: len(sent) == 8, "all of them")
        stopping.set()
    assert settled_since == [8 - lots[0]]


async def test_what_a_sender_throws_is_our_fault(stores: Stores, clock: ManualClock) -> None:
    async def broken(push: Push) -> Verdict:
        raise ZeroDivisionError

    await told(stores, clock, "webhook", 2)
    async with delivering(stores, clock, Doing(broken)) as metrics:
        await settled(stores, dead=2)
    assert metrics.pushes == {"our_fault": 2}


async def test_an_error_nobody_foresaw_ends_no_channel(
    stores: Stores, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fine(push: Push) -> Verdict:
        return Verdict(reason="delivered")

    monkeypatch.setattr("plaudit.services.deliver.RETRY_S", 0.01)
    monkeypatch.setattr("plaudit.services.deliver.COUNT_EVERY_S", 0.0)
    claim, waiting, failures = stores.deliveries.claim, stores.deliveries.waiting, ["claim", "waiting"]

    async def claimed(*what: object) -> object:
        if "claim" in failures:
            failures.remove("claim")
            raise ZeroDivisionError
        return await claim(*what)  # type: ignore[arg-type] # handed on

    async def counted() -> object:
        if "waiting" in failures:
            failures.remove("waiting")
            raise ZeroDivisionError
        return await waiting()

    monkeypatch.setattr(stores.deliveries, "claim", claimed)
    monkeypatch.setattr(stores.deliveries, "waiting", counted)
    async with delivering(stores, clock, Doing(fine)) as metrics:
        await until(lambda: not failures, "both errors")
        await told(stores, clock, "webhook", 2)
        await until(lambda: metrics.pushes == {"delivered": 2}, "the pushes")
    ours = [record for record in caplog.records if record.name == "plaudit.deliver"]
    assert sorted(record.getMessage() for record in ours if record.exc_info) == [
        "pushes cannot be counted",
        "pushes over webhook wait and will go on",
    ]


def test_a_breaker_trips_probes_and_recovers() -> None:
    breaker = Breaker()
    for _ in range(TRIPS_AT - 1):
        breaker.unwell(0, 0, None)
    assert (breaker.tripped, breaker.wait_s(0)) == (False, 0)
    waits = []
    for _ in range(8):
        breaker.unwell(0, 0, None)
        waits.append(breaker.wait_s(0))
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert breaker.wait_s(31) == 0
    breaker.well()
    assert (breaker.tripped, breaker.wait_s(0)) == (False, 0)
    breaker.unwell(0, 0, 7)
    assert breaker.wait_s(0) == 7


def test_pushes_that_fail_together_are_waited_for_once() -> None:
    breaker = Breaker()
    for at_s in range(100):
        breaker.unwell(0, 10 + at_s / 100, None)
    assert breaker.tripped
    assert 0 < breaker.wait_s(11) <= 1, "and not as long as after a hundred tries"
    breaker.unwell(12, 13, None)
    assert breaker.wait_s(13) == 2
    breaker.unwell(0, 13, 7)
    assert breaker.wait_s(13) == 7, "what the provider says is heard"


def test_the_policy_has_a_row_for_every_reason() -> None:
    from typing import get_args

    from plaudit.ports.push import Reason

    assert set(POLICY) == set(get_args(Reason))
