"""Contract tests run once per profile that fulfils the ports they are about."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.cassandra import cassandra_stores
from tests.support.clock import ManualClock
from tests.support.stores import Stores, sqlite_stores


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module names its `PROFILES`; a test may choose from them with a parametrization of its own."""
    chosen = any("stores" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "stores" in metafunc.fixturenames and not chosen:
        profiles = getattr(metafunc.module, "PROFILES", ("sqlite",))
        metafunc.parametrize("stores", profiles, indirect=True)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def stores(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock, anyio_backend: str
) -> AsyncIterator[Stores]:
    if request.param == "sqlite":
        opened = sqlite_stores(tmp_path, clock)
    else:
        opened = cassandra_stores(request.getfixturevalue("cassandra"), clock)
    async with opened as each:
        yield each
