"""Owners, reactors and providers around a real server that is killed: nobody may be forgotten or told twice."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.channels import Channels
from tests.support.cluster import environment
from tests.support.provider import Provider
from tests.support.providers import FcmServer, WebhookReceiver
from tests.support.server import ServerProcess

OWNERS = 12
WITHIN_S = 60.0


@dataclass
class Told:
    """A server with a webhook receiver and FCM beside it, and what was tapped."""

    server: ServerProcess
    webhook: WebhookReceiver
    fcm: FcmServer
    reactors: dict[str, set[str]] = field(default_factory=dict)  # target -> users who have reacted

    @property
    def providers(self) -> tuple[Provider, ...]:
        """Both."""
        return self.webhook, self.fcm

    async def call(self, method: str, path: str, token: str, body: Any = None) -> Any:
        """One call, repeated while the server is away."""
        async with asyncio.timeout(WITHIN_S), httpx.AsyncClient(base_url=self.server.url) as http:
            while True:
                try:
                    headers = {"authorization": f"Bearer {token}"}
                    response = await http.request(method, path, json=body, headers=headers)
                except httpx.TransportError:
                    await asyncio.sleep(0.02)
                    continue
                if response.status_code < 500:
                    assert response.is_success, response.text
                    return response.json()
                await asyncio.sleep(0.02)

    async def prepare(self) -> None:
        """Owners with a target and a phone each."""
        host = self.server.token(None, service=True)
        for n in range(OWNERS):
            await self.call("PUT", f"/api/v1/targets/post:{n}", host, {"owner_id": f"owner{n}"})
            body = {"kind": "fcm", "token": f"phone-of-owner{n}"}
            await self.call("POST", "/api/v1/me/devices", self.server.token(f"owner{n}"), body)

    async def tap(self, user: str, target: str) -> None:
        """A reaction that stays. Told of as soon as it was acknowledged."""
        body = {"target_id": target, "reaction_type": "love"}
        await self.call("PUT", "/api/v1/reactions", self.server.token(user), body)
        self.reactors.setdefault(target, set()).add(user)

    async def inboxes(self) -> dict[str, list[Any]]:
        """Every message by target."""
        found: dict[str, list[Any]] = {}
        for n in range(OWNERS):
            page = await self.call(
                "GET", "/api/v1/me/notifications?limit=100", self.server.token(f"owner{n}")
            )
            found[f"post:{n}"] = page["notifications"]
        return found

    async def settled(self) -> dict[str, list[Any]]:
        """The inboxes once everybody was told and everything was pushed."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            found = await self.inboxes()
            told = {target: sum(m["total"] for m in messages) for target, messages in found.items()}
            ids = {m["id"] for messages in found.values() for m in messages}
            phones = {id_ for ids in self.fcm.entries().values() for id_ in ids}
            wanted = {target: len(self.reactors.get(target, ())) for target in told}
            if told == wanted and ids == self.webhook.seen.keys() == phones:
                return found
            assert time.monotonic() < deadline, (told, wanted, len(ids), len(self.webhook.seen), len(phones))
            await asyncio.sleep(0.1)


@asynccontextmanager
async def told(data: Path) -> AsyncIterator[Told]:
    """All of it, on a folder."""
    channels = Channels(data.with_name("certificates"))
    async with channels.served():
        settings = channels.settings | {"push_private_addresses": True}
        env = environment({"rate_limit_per_s": 0, "notification_windows_s": [1]} | settings)
        server = ServerProcess(data, env=env)
        await asyncio.to_thread(server.start)
        try:
            found = Told(server, channels.webhook, channels.fcm)
            await found.prepare()
            yield found
        finally:
            await asyncio.to_thread(server.kill)


async def kill_while_telling(data: Path, kills: int) -> list[str]:
    """Kill the server again and again while windows close and pushes go out; returns the table.

    Raises `AssertionError` if anybody was forgotten, told twice, or shown a message in two entries.
    """
    moment = random.Random(0)
    table = [
        f"{'kill':>4} {'told before':>11} {'pushed before':>13} {'pushed again':>12} {'ready again':>11}"
    ]
    async with told(data) as all_:
        pushed_again = 0
        for number in range(1, kills + 1):
            await asyncio.gather(
                *(all_.tap(f"u{number}-{n % 5}", f"post:{n % OWNERS}") for n in range(OWNERS * 2))
            )
            await asyncio.sleep(
                moment.uniform(0.2, 2.2)
            )  # a window is 1 s long: before, at and after its end
            told_, pushed = len(all_.webhook.seen), sum(p.times.total() for p in all_.providers)
            await asyncio.to_thread(all_.server.kill)
            started = time.monotonic()
            await asyncio.to_thread(all_.server.start)
            again = sum(p.again for p in all_.providers) - pushed_again
            pushed_again += again
            table.append(
                f"{number:>4} {told_:>11,} {pushed:>13,} {again:>12} {time.monotonic() - started:>9.2f} s"
            )
        found = await all_.settled()
        check(all_, found)
    return table


def check(all_: Told, found: dict[str, list[Any]]) -> None:
    """Everybody once in an inbox, one entry for each message on each device, and no provider has a complaint."""
    entries = all_.fcm.entries()
    for target, messages in found.items():
        named = [person["id"] for message in messages for person in message["sample"]]
        assert len(named) == len(set(named)), f"somebody is told twice on {target}"
        assert set(named) <= all_.reactors[target]
        phone = f"phone-of-owner{target.removeprefix('post:')}"
        assert entries.pop(phone, set()) == {message["id"] for message in messages}, "one entry for each"
    assert not entries, "no phone shows what is in no inbox"
    assert all_.webhook.problems == all_.fcm.problems == []
