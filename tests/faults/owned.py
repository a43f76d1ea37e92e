"""Owned targets and those who react to them: what the owners are told, and what their devices show of it."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import httpx

from plaudit.adapters.cassandra.pushes import SHARDS
from plaudit.adapters.redis import RedisBatches
from plaudit.adapters.system import SystemClock
from tests.faults.running import Running
from tests.support.provider import Provider

AT_ONCE = 16
ANSWER_WITHIN_S = 60.0
RETRY_S = 0.2


class Call(NamedTuple):
    """One request to the API. `token`: of whom."""

    method: str
    path: str
    token: str
    body: Mapping[str, Any] | None = None


class Device(NamedTuple):
    """A good one: where its pushes go, and its name there."""

    provider: Provider
    name: str


class Owned:
    """Targets, dealt out to owners who have a device of each kind (and as many phones as that). Everybody who reacts is
    to be told of once, each message is to be in the inbox once, and every device and the webhook's receiver are to show
    just these."""

    def __init__(
        self, running: Running, name: str, targets: int, *, owners: int = 1, phones: int = 1
    ) -> None:
        self.running, self.name = running, name
        self.channels = running.processes.channels
        self.owners = [f"owner{n}-{name}" for n in range(owners)]
        self.targets = {f"owned{n}-{name}": self.owners[n % owners] for n in range(targets)}
        self.devices: dict[str, list[Device]] = {owner: [] for owner in self.owners}
        self._reacted: dict[str, set[str]] = {target: set() for target in self.targets}
        self._phones = phones
        self._api = running.processes.apis[0]

    async def register(self) -> None:
        """Everything but the reactions."""
        host = self._api.token(None, service=True)
        await self.calls(
            Call("PUT", f"targets/{target}", host, {"owner_id": owner})
            for target, owner in self.targets.items()
        )
        await self.calls(
            Call("POST", "me/devices", self._api.token(owner), body)
            for owner in self.owners
            for body in self._make_devices(owner)
        )

    def _make_devices(self, owner: str) -> list[dict[str, Any]]:
        phones = [f"phone{n}-of-{owner}" for n in range(self._phones)]
        apple = sha256(owner.encode()).hexdigest()
        browser = self.channels.browser.subscribe(owner)
        self.devices[owner] = [
            *(Device(self.channels.fcm, phone) for phone in phones),
            Device(self.channels.apns, apple),
            Device(self.channels.browser, f"/push/{owner}"),
        ]
        return [*({"kind": "fcm", "token": p} for p in phones), {"kind": "apns", "token": apple}, browser]

    async def react(self, fans: Iterable[str], targets: Iterable[str]) -> None:
        """Each of them on every one, for good."""
        fans, targets = list(fans), list(targets)
        await self.calls(
            Call("PUT", "reactions", self._api.token(fan), {"target_id": target, "reaction_type": "love"})
            for target in targets
            for fan in fans
        )
        for target in targets:
            self._reacted[target].update(fans)

    async def untold(self) -> list[str]:
        """What owners were not told as it is."""
        return self._untold({owner: await self._inbox(owner) for owner in self.owners})

    async def undone(self) -> list[str]:
        """What is not as it should be, whether a window is open, whose message may come again, and whether any push
        waits, whosever."""
        stored = await RedisBatches(self.running.held.redis, SystemClock()).load(list(self.targets))
        if still := [target for target, its in stored.items() if its.watch.window is not None]:
            return [f"the window of {target} is open" for target in still]
        if wrong := await self.unshown():
            return wrong
        waiting = await self.running.notices.pushes.count(range(SHARDS))
        return [f"{number} pushes wait over {channel}" for channel, number in waiting.items()]

    async def unshown(self, but: Provider | None = None) -> list[str]:
        """What owners were not told, and what is not shown to them, as it should be; `but`: by others than this one."""
        inboxes = {owner: await self._inbox(owner) for owner in self.owners}
        wrong = [*self._untold(inboxes), *self.channels.problems]
        shown = {provider: provider.entries() for provider in self.channels.all if provider is not but}
        hooks: dict[str, set[str]] = {}
        for event in self.channels.webhook.events:
            hooks.setdefault(event["data"]["user_id"], set()).add(event["data"]["id"])
        for owner, inbox in inboxes.items():
            ids = [message["id"] for message in inbox]
            if len(ids) != len(set(ids)):
                wrong.append(f"a message is twice in the inbox of {owner}")
            for provider, name in self.devices[owner]:
                entries = shown.get(provider, {}).get(name, set())
                if provider is not but and entries != set(ids):
                    wrong.append(f"{name} shows {len(entries)} entries of {len(ids)} messages")
            if (its := hooks.get(owner, set())) != self.hooked(inbox):
                wrong.append(f"the webhook's receiver has {len(its)} messages of {len(ids)} to {owner}")
        return wrong

    def hooked(self, inbox: Iterable[Mapping[str, Any]]) -> set[str]:
        """Which of these messages the webhook's receiver should have."""
        return {message["id"] for message in inbox}

    def _untold(self, inboxes: Mapping[str, list[Mapping[str, Any]]]) -> list[str]:
        wrong = []
        of: dict[str, list[Mapping[str, Any]]] = {target: [] for target in self.targets}
        for inbox in inboxes.values():
            for message in inbox:
                of[message["target_id"]].append(message)
        for target, messages in of.items():
            fans = self._reacted[target]
            named = sorted(user["id"] for message in messages for user in message["sample"])
            total = sum(message["total"] for message in messages)
            if total != len(fans) or len(set(named)) != len(named) or not set(named) <= fans:
                wrong.append(f"the owner of {target} was told of {total} reactions, of {named}")
        return wrong

    async def _inbox(self, owner: str) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        cursor = ""
        while True:
            call = Call("GET", f"me/notifications?limit=100{cursor}", self._api.token(owner))
            [page] = await self.calls([call])
            found += page["notifications"]
            if not page["next_cursor"]:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    async def calls(self, calls: Iterable[Call], status: int = 200) -> list[Any]:
        """The answers to these calls, some at once. What is refused is sent again: all of them may be."""
        limits = httpx.Limits(max_connections=AT_ONCE)
        timeout = httpx.Timeout(ANSWER_WITHIN_S, pool=None)
        async with httpx.AsyncClient(
            base_url=f"{self._api.url}/api/v1/", timeout=timeout, limits=limits
        ) as http:
            return await asyncio.gather(*(self._called(http, call, status) for call in calls))

    async def _called(self, http: httpx.AsyncClient, call: Call, status: int) -> Any:
        until_s = time.monotonic() + ANSWER_WITHIN_S
        while True:
            headers = {"Authorization": f"Bearer {call.token}"}
            answer = await http.request(call.method, call.path, json=call.body, headers=headers)
            if answer.status_code not in (503, 504) or time.monotonic() > until_s:
                break
            await asyncio.sleep(RETRY_S)
        assert answer.status_code == status, f"{call.method} {call.path}: {answer.text}"
        return answer.json()
