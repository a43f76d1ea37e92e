"""Clients that tap without pause, remember every answer, and never give up on a tap whose outcome they do not know."""

import asyncio
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

REACTIONS = ("like", "love", "haha", "wow", "sad", "angry")
ATTEMPT_WITHIN_S = 90.0  # longer than a server may take to start
RETRY_S = 0.01


@dataclass
class Sent:
    """One tap, its key, and the first answer to it."""

    method: str
    target: str
    reaction: str
    key: str
    answer: dict[str, Any] = field(default_factory=dict)


@dataclass
class Tally:
    """What happened to the taps of all clients."""

    acknowledged: int = 0
    interrupted: int = 0  # taps that got no answer, or one that does not say whether they were stored
    found_stored: int = 0  # of those, the ones that turned out to be stored when they were repeated
    refused: int = 0
    problems: list[str] = field(default_factory=list)


class Client:
    """One user. Taps targets at random, one tap at a time, each with a key of its own."""

    def __init__(self, url: str, token: str, user: str, targets: Sequence[str], tally: Tally) -> None:
        self.user = user
        self.state: dict[str, str | None] = {}
        self.last: Sent | None = None
        self._http = httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=10)
        self._targets = targets
        self._tally = tally
        self._random = random.Random(user)

    async def run(self, stop: asyncio.Event) -> None:
        """Tap until told to stop; the last tap is brought to its end."""
        async with self._http:
            while not stop.is_set():
                sent = Sent(
                    self._random.choice(("POST", "PUT")),
                    self._random.choice(self._targets),
                    self._random.choice(REACTIONS),
                    str(uuid.UUID(int=self._random.getrandbits(128))),
                )
                await self._tap(sent)
                self.last = sent
                if self._random.random() < 0.2:
                    await self._repeat(sent)

    async def _tap(self, sent: Sent) -> None:
        """Send a tap until there is an answer that says whether it was stored."""
        unknown = False
        async with asyncio.timeout(ATTEMPT_WITHIN_S):
            while True:
                try:
                    response = await self._send(sent)
                except httpx.ConnectError:
                    await asyncio.sleep(RETRY_S)  # nothing was sent; the server is being started
                    continue
                except httpx.TransportError:
                    unknown = True
                    self._tally.interrupted += 1
                    await asyncio.sleep(RETRY_S)
                    continue
                if response.status_code == 503:
                    self._tally.refused += 1
                    await asyncio.sleep(RETRY_S)
                    continue
                break
        if response.status_code != 200:
            self._tally.problems.append(f"{sent} answered {response.status_code} {response.text}")
            return
        replayed = response.headers.get("idempotency-replayed") == "true"
        if replayed and not unknown:
            self._tally.problems.append(f"{sent} was called a replay the first time")
        self._tally.found_stored += replayed
        self._tally.acknowledged += 1
        sent.answer = response.json()
        before, after = self.state.get(sent.target), sent.answer["reaction"]
        wanted = None if sent.method == "POST" and before == sent.reaction else sent.reaction
        if (sent.answer["previous"], after) != (before, wanted):
            self._tally.problems.append(f"{self.user}: {sent} on {before} left {after}")
        self.state[sent.target] = after

    async def _repeat(self, sent: Sent) -> None:
        """Send an acknowledged tap once more: the same answer, and nothing changes."""
        try:
            response = await self._send(sent)
        except httpx.TransportError:
            return
        if response.status_code == 200:
            again = response.json()
            same = all(again[name] == sent.answer[name] for name in ("outcome", "previous", "reaction"))
            if not same or response.headers.get("idempotency-replayed") != "true":
                self._tally.problems.append(f"repeating {sent} answered {again}")

    async def _send(self, sent: Sent) -> httpx.Response:
        return await self._http.request(
            sent.method,
            "/api/v1/reactions",
            json={"target_id": sent.target, "reaction_type": sent.reaction},
            headers={"Idempotency-Key": sent.key},
        )
