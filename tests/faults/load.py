"""Users who tap at a steady pace through several API processes, and write down what they send and what they are told.

A client does as the documentation asks: it repeats what it does not know the outcome of, with its key and through
whichever process answers, before it goes on; and now and then it repeats what it knows."""

import asyncio
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Self

import httpx

from tests.faults.record import Record, Tap, Told

REACTIONS = ("like", "love", "haha", "wow", "sad", "angry")
USERS = 24
TARGETS = 6
PER_S = 48.0  # taps of all of them together
ANSWER_WITHIN_S = 15.0
RETRY_S = 0.2
REFUSALS = 3  # then it lets the tap be
SETTLE_WITHIN_S = 40.0


class Crowd(NamedTuple):
    """Who taps on what, and where."""

    urls: Sequence[str]
    tokens: dict[str, str]  # by user
    targets: Sequence[str]
    seed: str
    per_s: float = PER_S
    quiet: Sequence[str] = ()  # users who tap only when they are told to


class Load:
    """Use as an async context manager: leaving it waits until every client knows about its last tap."""

    def __init__(self, crowd: Crowd, record: Record) -> None:
        self.crowd = crowd
        self.record = record
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._living = [user for user in crowd.tokens if user not in set(crowd.quiet)]
        limits = httpx.Limits(max_keepalive_connections=len(crowd.tokens))
        self.away: dict[int, list[tuple[float, float]]] = {api: [] for api in range(len(crowd.urls))}
        self._gone: set[int] = set()
        self._http = httpx.AsyncClient(timeout=ANSWER_WITHIN_S, limits=limits)

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._live(user)) for user in self._living]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        try:
            await asyncio.gather(*self._tasks)
        finally:
            await self._http.aclose()

    async def progress(self, taps: int, within_s: float = 60.0) -> None:
        """Wait until so many more taps were acknowledged, and some on every target and by every API process that is
        there: one that is stuck is waited for, and its gap grows."""
        told = self.record.told
        goal, targets = told["ok"] + taps, set(self.crowd.targets)
        acknowledged = self.record.acknowledged
        acknowledged.clear()
        try:
            async with asyncio.timeout(within_s):
                while told["ok"] < goal or (self._everybody(targets) - acknowledged):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            silent = sorted(map(str, self._everybody(targets) - acknowledged))
            raise AssertionError(f"{goal - told['ok']} taps are missing, and all of {silent}") from None

    def _everybody(self, targets: set[str]) -> set[str | int]:
        return targets | (self.away.keys() - self._gone)

    @contextmanager
    def without(self, api: int) -> Iterator[None]:
        """Meanwhile this API process is not there, and not expected to answer."""
        began_s = time.monotonic()
        self._gone.add(api)
        try:
            yield
        finally:
            self._gone.discard(api)
            self.away[api].append((began_s, time.monotonic()))

    async def _live(self, user: str) -> None:
        chance = random.Random(f"{self.crowd.seed}/{user}")
        pause_s = len(self._living) / self.crowd.per_s
        await asyncio.sleep(chance.random() * pause_s)
        open_: set[str] = set()  # targets with a tap that nobody could tell about
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            due_s = loop.time() + pause_s * chance.uniform(0.6, 1.4)
            tap = self._tap(user, chance)
            if tap.target not in open_ and not await self.settled(tap, chance):
                open_.add(tap.target)
            await asyncio.sleep(max(0.0, due_s - loop.time()))

    def _tap(self, user: str, chance: random.Random) -> Tap:
        viral, *others = self.crowd.targets
        target = viral if chance.random() < 0.5 else chance.choice(others)
        method = chance.choice(("POST", "PUT"))
        reaction = None if method == "PUT" and chance.random() < 0.3 else chance.choice(REACTIONS)
        return Tap(user, target, method, reaction, str(uuid.UUID(int=chance.getrandbits(128))))

    async def settled(self, tap: Tap, chance: random.Random) -> bool:
        """Send a tap until it is known what became of it; whether it is."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + SETTLE_WITHIN_S
        api = chance.randrange(len(self.crowd.urls))
        refusals, unknown = 0, False
        while loop.time() < until_s:
            told = await self.send(tap, api)
            if told == "ok":
                if chance.random() < 0.15:
                    await self.send(tap, (api + 1) % len(self.crowd.urls))
                return True
            if told == "wrong":
                return False
            unknown = unknown or told == "unknown"
            refusals += told == "refused"
            if not unknown and refusals >= REFUSALS:
                return True
            api = (api + 1) % len(self.crowd.urls)
            await asyncio.sleep(RETRY_S)
        return not unknown

    async def send(self, tap: Tap, api: int) -> Told:
        """Send it once and write down what was told."""
        note = self.record.note
        note(tap, api, "sent")
        try:
            answer = await self._http.request(
                tap.method,
                f"{self.crowd.urls[api]}/api/v1/reactions",
                json={"target_id": tap.target, "reaction_type": tap.reaction},
                headers={
                    "Idempotency-Key": tap.key,
                    "Authorization": f"Bearer {self.crowd.tokens[tap.user]}",
                },
            )
        except httpx.ConnectError:
            note(tap, api, "refused", why="nobody there")
            return "refused"
        except httpx.TransportError as error:
            broke = isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError)
            note(tap, api, "unknown", why=repr(error), broke=broke)
            return "unknown"
        if answer.status_code == 200:
            body = answer.json()
            note(
                tap,
                api,
                "ok",
                outcome=body["outcome"],
                previous=body["previous"],
                reaction=body["reaction"],
                replayed=answer.headers.get("idempotency-replayed") == "true",
                lanes=body["counts"]["lanes"],
            )
            return "ok"
        if answer.status_code in (503, 504):
            told: Told = "refused" if answer.status_code == 503 else "unknown"
            note(tap, api, told, why=answer.json().get("code", ""))
            return told
        note(tap, api, "wrong", why=f"{answer.status_code} {answer.text}")
        return "wrong"
