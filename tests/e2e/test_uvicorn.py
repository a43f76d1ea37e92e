"""The application is plain ASGI: it runs under uvicorn as it does under granian."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import uvicorn

from plaudit.bootstrap.embedded import embedded
from plaudit.http.auth import issue
from plaudit.settings import Settings
from tests.engines.node import free_ports

SECRET = "a secret of more than thirty-two characters"


async def test_the_app_runs_under_uvicorn(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, auth_secret=SECRET)
    async with embedded(settings) as service:
        [port] = free_ports(1)
        server = uvicorn.Server(uvicorn.Config(service.app, port=port, lifespan="off", log_config=None))
        serving = asyncio.create_task(server.serve())
        async with asyncio.timeout(60):
            while not server.started:
                await asyncio.sleep(0.01)
        token = issue(SECRET, user="alice", service=False, grants=[], ttl_s=60, now_s=int(time.time()))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            tap = await http.put(
                "/api/v1/reactions",
                json={"target_id": "post:1", "reaction_type": "wow"},
                headers={"Authorization": f"Bearer {token}"},
            )
            counts = await http.get("/api/v1/reactions/counts", params={"target_ids": "post:1"})
            feed = await http.get("/api/v1/reactions/feed", params={"target_ids": "post:1"})
            refused = await http.put("/api/v1/reactions", json={})
            async with http.stream("GET", "/api/v1/reactions/stream?target_ids=post:1") as stream:
                events = [line async for line in _first_lines(stream)]
        server.should_exit = True
        await serving
    assert (tap.status_code, tap.json()["outcome"]) == (200, "created")
    assert counts.json()["counts"]["post:1"] == tap.json()["counts"]
    assert feed.json()["targets"]["post:1"]["summary"]["text"] == "alice"
    assert events[0] == "retry: 3000"
    assert events[-1] == f"data: {counts.text}"
    assert (refused.status_code, refused.json()["code"]) == (401, "token_missing")


async def _first_lines(stream: httpx.Response) -> AsyncIterator[str]:
    async for line in stream.aiter_lines():
        yield line
        if line.startswith("data: "):
            return
