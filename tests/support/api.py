"""The whole service in this process, called over HTTP without a socket, and what every refusal must look like."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import apsw
import httpx

from plaudit.bootstrap.embedded import embedded
from plaudit.bootstrap.front import Service
from plaudit.http.auth import issue
from plaudit.http.problems import CODES
from plaudit.settings import Settings

Json = dict[str, Any]

REACTIONS = "/api/v1/reactions"
COUNTS = f"{REACTIONS}/counts"
FEED = f"{REACTIONS}/feed"
MINE = f"{REACTIONS}/mine"
ME = "/api/v1/me/reactions"
SIX = ("like", "love", "haha", "wow", "sad", "angry")

SECRET = "a secret that is only good enough for tests"
WITHIN_S = 60.0

_numbers = count(1)
# `event` and `consumer` are left out: the auditor moves them on in the background.
_STORED = ("target", "reaction_row", "user", "job")


def fresh(prefix: str) -> str:
    """An id that no other test has."""
    return f"{prefix}{next(_numbers)}"


def counts_of(version: int, *, lanes: int = 1, **reactions: int) -> Json:
    """COUNTS with the six reactions of the default catalogue."""
    shown = {name: reactions.get(name, 0) for name in SIX}
    return {"total": sum(shown.values()), "reactions": shown, "version": version, "lanes": lanes}


class Api:
    """One running service and a client for it. Calls assert the status they expect."""

    def __init__(self, service: Service, settings: Settings, client: httpx.AsyncClient) -> None:
        self.service = service
        self.settings = settings
        self.client = client

    def bearer(
        self, user: str | None, *, service: bool = False, grants: Sequence[str] = (), ttl_s: int = 3600
    ) -> dict[str, str]:
        """The header with a good token."""
        token = issue(
            self.settings.secret() or "",
            user=user,
            service=service,
            grants=grants,
            ttl_s=ttl_s,
            now_s=int(time.time()),
            audience=self.settings.audience,
            issuer=self.settings.issuer,
            user_claim=self.settings.user_claim,
        )
        return {"Authorization": f"Bearer {token}"}

    @property
    def host(self) -> dict[str, str]:
        """The header of the host app."""
        return self.bearer(None, service=True)

    async def call(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, status: int = 200, **more: Any
    ) -> httpx.Response:
        """One request. Raises `AssertionError` for another status."""
        response = await self.client.request(method, path, headers=headers, **more)
        assert response.status_code == status, f"{method} {path}: {response.status_code} {response.text}"
        return response

    async def get(self, path: str, *, user: str | None = None, **more: Any) -> Json:
        """The decoded answer to a GET, as that user if one is named."""
        headers = self.bearer(user) if user else None
        return dict((await self.call("GET", path, headers=headers, **more)).json())

    async def tap(
        self, user: str, target: str, reaction: str | None = "like", *, method: str = "POST", **more: Any
    ) -> Json:
        """The decoded answer to a tap that must not be refused."""
        body = {"target_id": target, "reaction_type": reaction}
        return dict((await self.call(method, REACTIONS, headers=self.bearer(user), json=body, **more)).json())

    async def counts(self, target: str) -> Json:
        """COUNTS of one target."""
        return dict((await self.get(f"{COUNTS}?target_ids={target}"))["counts"][target])

    async def register(self, target: str, **description: Any) -> Json:
        """Register a target."""
        path = f"/api/v1/targets/{target}"
        return dict((await self.call("PUT", path, headers=self.host, json=description)).json())

    async def describe(self, user: str, **description: Any) -> Json:
        """Describe a user."""
        path = f"/api/v1/users/{user}"
        return dict((await self.call("PUT", path, headers=self.host, json=description)).json())

    async def remove(self, path: str) -> Json:
        """Delete a target or erase a user, and return the receipt."""
        job = (await self.call("DELETE", path, headers=self.host, status=202)).json()
        return await self.receipt(job["job_id"])

    async def receipt(self, job_id: str) -> Json:
        """The job once it is done."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                job = (await self.call("GET", f"/api/v1/jobs/{job_id}", headers=self.host)).json()
                if job["state"] == "done":
                    return dict(job)
                await asyncio.sleep(0.002)

    def stored(self) -> dict[str, list[Any]]:
        """Everything that is stored about targets, users and jobs."""
        connection = apsw.Connection(str(self.settings.data / "plaudit.db"), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return {table: list(connection.execute(f"SELECT * FROM {table}")) for table in _STORED}
        finally:
            connection.close()


@asynccontextmanager
async def open_api(folder: Path, **settings: Any) -> AsyncIterator[Api]:
    """The embedded profile on a folder, without a rate limit unless one is set."""
    chosen = Settings(**{"data": folder, "auth_secret": SECRET, "rate_limit_per_s": 0, **settings})
    async with embedded(chosen) as service:
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://plaudit.test") as client:
            yield Api(service, chosen, client)


def assert_problem(response: httpx.Response, code: str, field: str | None = None) -> None:
    """Raises `AssertionError` unless this is the problem (RFC 9457) with that code, blaming that field."""
    assert code in CODES
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    document = response.json()
    assert (document["code"], response.status_code) == (code, CODES[code].status), document
    assert document["status"] == response.status_code
    assert document["title"] == CODES[code].title
    assert document["type"] == f"/docs#error-{code}"
    assert document["detail"]
    assert document.keys() <= {"type", "title", "status", "detail", "code", "errors", "target_ids"}
    assert [error["field"] for error in document.get("errors", [])] == ([] if field is None else [field])
    if response.status_code == 401:
        assert response.headers["www-authenticate"].startswith("Bearer ")


@contextmanager
def nothing_stored(api: Api) -> Iterator[None]:
    """Raises `AssertionError` if anything is stored in between."""
    before = api.stored()
    yield
    assert api.stored() == before
