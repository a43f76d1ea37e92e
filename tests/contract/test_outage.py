"""A provider that is away for two minutes, over the stores of both profiles."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from plaudit.adapters.push import Webhook
from plaudit.ports.notifications import Parcel, Settled
from tests.support.cassandra_notices import either_stores
from tests.support.clock import ManualClock
from tests.support.delivering import delivering, reached, settled, told
from tests.support.provider import Answer, Certificates
from tests.support.providers import WebhookReceiver
from tests.support.stores import Stores

pytestmark = pytest.mark.timeout(300)

PROFILES = ("sqlite", "cassandra")
KEY = b"k" * 24


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
async def stores(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock, anyio_backend: str
) -> AsyncIterator[Stores]:
    cassandra = None if request.param == "sqlite" else request.getfixturevalue("cassandra")
    async with either_stores(tmp_path / "data", cassandra, clock) as opened:
        yield opened


async def test_an_outage_of_two_minutes_loses_nothing_asks_seldom_and_fills_no_memory(
    stores: Stores, clock: ManualClock, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, held, most_held = WebhookReceiver(clock, KEY), set[int](), 0
    server.always = Answer(503)
    claim, settle = stores.deliveries.claim, stores.deliveries.settle

    async def counted_claim(*limits: Any) -> list[Parcel]:
        nonlocal most_held
        parcels = await claim(*limits)
        held.update(parcel.no for parcel in parcels)
        most_held = max(most_held, len(held))
        return parcels

    async def counted_settle(results: Sequence[Settled]) -> None:
        await settle(results)
        held.difference_update(result.parcel.no for result in results)

    monkeypatch.setattr(stores.deliveries, "claim", counted_claim)
    monkeypatch.setattr(stores.deliveries, "settle", counted_settle)
    async with reached(clock, certificates, server) as client:
        await told(stores, clock, "webhook", 300)
        start = clock.now_us()
        async with delivering(stores, clock, Webhook(client, clock, server.url, [KEY])):
            await server.until(lambda: len(server.asked) >= 64, "the first tries")
            while clock.now_us() < start + 120_000_000:
                clock.advance(0.5)
                await asyncio.sleep(0.01)
            during = len(server.asked)
            server.always = None
            await settled(stores, clock=clock)
    assert len(server.seen) == 300
    assert during <= 64 + 60, "a provider that is down is asked one at a time"
    assert (64 <= most_held <= 2 * 64, held) == (True, set()), "what waits, waits in the store"
    assert server.problems == []
