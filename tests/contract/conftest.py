"""Every contract test runs once per profile that fulfils the ports."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.clock import ManualClock
from tests.support.stores import Stores, sqlite_stores


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["sqlite"])
async def stores(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock, anyio_backend: str
) -> AsyncIterator[Stores]:
    profiles = {"sqlite": sqlite_stores}
    async with profiles[request.param](tmp_path, clock) as opened:
        yield opened
