"""A certificate authority, a clock, and a client that trusts the one and may reach this machine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from plaudit.adapters.push import PushClient
from plaudit.adapters.sqlite import Database
from tests.support.clock import ManualClock
from tests.support.provider import Certificates
from tests.support.stores import Stores, stores_on


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def client(
    certificates: Certificates, clock: ManualClock, anyio_backend: str
) -> AsyncIterator[PushClient]:
    async with PushClient(certificates.pem, clock, private=True) as opened:
        yield opened


@pytest.fixture
async def stores(tmp_path: Path, clock: ManualClock, anyio_backend: str) -> AsyncIterator[Stores]:
    async with Database(tmp_path / "data") as database:
        yield stores_on(database, clock)
