"""One running service for each module; tests keep out of each other's way by taking fresh ids."""

from collections.abc import AsyncIterator

import pytest

from tests.support.api import Api, fresh, open_api


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Api]:
    async with open_api(tmp_path_factory.mktemp("data")) as opened:
        yield opened


@pytest.fixture
def target() -> str:
    return fresh("post:")


@pytest.fixture
def user() -> str:
    return fresh("user-")
