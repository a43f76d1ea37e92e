"""A running embedded service, called in process."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import time

import httpx
import pytest
from pydantic import SecretStr

from plaudit.bootstrap.embedded import embedded
from plaudit.bootstrap.front import Service
from plaudit.http.auth import issue
from plaudit.settings import Settings
from tests.support.described import Described

SECRET = "no-secret-at-all-and-long-enough-for-it"

Token = Callable[..., dict[str, str]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", auth_secret=SecretStr(SECRET), notification_windows_s=[1])


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    async with embedded(settings) as service:
        yield service


@pytest.fixture
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(service.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://plaudit") as client:
        yield client


@pytest.fixture
async def described(http: httpx.AsyncClient) -> Described:
    return Described((await http.get("/openapi.json")).json())


@pytest.fixture
def token() -> Token:
    """Headers with a token: `token("alice")`, `token(None, service=True)`."""

    def make(user: str | None = "alice", *, service: bool = False, ttl_s: int = 60) -> dict[str, str]:
        now_s = int(time())
        signed = issue(SECRET, user=user, service=service, grants=(), ttl_s=ttl_s, now_s=now_s)
        return {"authorization": f"Bearer {signed}"}

    return make
