"""Providers of pushes that are away, and devices and receivers that mean no good."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from plaudit.adapters.cassandra.pushes import SHARDS
from plaudit.adapters.push.client import WITHIN_S
from plaudit.adapters.push.webpush import b64
from plaudit.adapters.system import SystemClock
from plaudit.services.deliver import SUSPECT_MOST
from tests.faults.owned import Call, Device, Owned
from tests.faults.running import Running
from tests.faults.under import Under
from tests.support.provider import HERE, Answer, Asked, Provider
from tests.support.providers import ApnsServer, FcmServer, WebPushServer
from tests.support.server import ServerProcess
from tests.support.wait import until

MB = 1 << 20
GROWS_MB = 10.0  # the notifier may so much, while more and more waits; holding all of it would take more
HELD_MB = 50.0  # more it may not hold of answers of 100 MB
TRIES_AT_ONCE = 100  # to FCM: so many may be on their way when it goes
FEW_S = 60.0
PATIENCE_S = 300.0
DEAD = 1000
MOST_LINES = 20
POLL_S = 0.5


async def provider_away(under: Under) -> None:
    """FCM answers 503, and then nobody listens there any more; meanwhile there is ever more for it."""
    running, timing = under.running, under.timing
    channels, worker = running.processes.channels, running.processes.workers["notify"]
    first, others = timing.lots
    owned = Owned(
        running,
        f"away{under.seed}",
        first + others,
        owners=-(-(first + others) // 100),
        phones=timing.phones,
    )
    await owned.register()
    targets = list(owned.targets)
    tried, began_s = await _tries(worker), time.monotonic()
    channels.fcm.always = Answer(503)
    await _tell(under, owned, targets[:first])
    name = owned.name.encode()
    await until(
        lambda: any(name in asked.body for asked in channels.fcm.asked),
        "a push to find the provider in trouble",
        within_s=FEW_S,
    )
    before = _memory(worker, "VmRSS")
    await channels.go(channels.fcm)
    await _tell(under, owned, targets[first:])
    await asyncio.sleep(max(0.0, began_s + timing.provider_away_s - time.monotonic()))
    away_s = time.monotonic() - began_s
    grew = (_memory(worker, "VmRSS") - before) / MB
    tried = await _tries(worker) - tried
    waiting = sum((await running.notices.pushes.count(range(SHARDS))).values())
    channels.fcm.always = None
    await channels.come(channels.fcm)
    under.notes.append(
        f"away for {away_s:.0f} s: {len(targets):,} messages, {waiting:,} pushes waited, {tried} tries failed; "
        f"notify grew by {grew:.1f} MB while the last {others * timing.phones:,} came"
    )
    if waiting < len(targets) * timing.phones:
        under.wrong.append(f"{waiting} pushes wait of {len(targets) * timing.phones}")
    if tried > 2 * TRIES_AT_ONCE + away_s:
        under.wrong.append(f"who is away was asked {tried} times")
    if timing.patient and grew > GROWS_MB:  # else few wait, and answers of others are in it
        under.wrong.append(f"notify grew by {grew:.1f} MB")
    again = channels.fcm.again
    await _done(under, owned)
    if again := channels.fcm.again - again:
        under.wrong.append(f"{again} pushes were made twice")


async def _tell(under: Under, owned: Owned, targets: Iterable[str]) -> None:
    """A reaction on each, and the messages of that."""
    await owned.react([f"fan-{owned.name}"], targets)
    await _none(under, owned.untold, FEW_S)


async def _done(under: Under, work: Owned) -> None:
    """Wait until everything is as it should be, or leave that to the end."""
    if not under.timing.patient:
        under.running.in_hand.append(work)
        return
    began_s = time.monotonic()
    if await _none(under, work.undone, PATIENCE_S):
        under.notes.append(f"all of it was told and shown {time.monotonic() - began_s:.1f} s later")


async def _none(under: Under, look: Callable[[], Awaitable[list[str]]], within_s: float) -> bool:
    """Wait until nothing is wrong any more; whether that is so."""
    until_s = time.monotonic() + within_s
    while found := await look():
        if time.monotonic() > until_s:
            under.wrong.extend(found[:MOST_LINES])
            return False
        await asyncio.sleep(POLL_S)
    return True


async def _tries(worker: ServerProcess) -> int:
    """How many pushes have found nobody, or somebody in trouble."""
    async with httpx.AsyncClient(timeout=60) as http:
        text = (await http.get(f"{worker.url}/metrics")).text
    return round(
        sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "plaudit_pushes_total"
            and sample.labels["reason"] in {"slow_down", "unreachable"}
        )
    )


def _memory(worker: ServerProcess, what: str) -> int:
    """What a process has in memory, in bytes: `VmRSS` now, `VmHWM` at most."""
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{what}:")]
    return int(line.split()[1]) * 1024


class Inside(Provider):
    """Somebody in a private network, whom no push may reach."""

    def check(self, asked: Asked) -> Answer:
        self.problems.append(f"{asked.path}: nobody outside may get here")
        return Answer(200)

    def urls(self) -> list[str]:
        """Names of it."""
        return [self.url, self.url.replace("localhost", HERE)]


HUGE = Answer(200, b"x" * MB, repeat_body=100)


class NoGood(Owned):
    """An owner with tokens that were never any, or are none any more, and endpoints that lead astray; and targets whose
    messages the webhook's receiver answers badly. Nothing of that keeps a good device from anything."""

    def __init__(self, running: Running, seed: str) -> None:
        super().__init__(running, f"nogood{seed}", 5)
        [self.owner] = self.owners
        self.good, self.hangs, self.fails, self.redirects, self.huge = self.targets
        self.service, self.inside = WebPushServer(SystemClock()), Inside(SystemClock())
        self._never = f"never-{seed}-".ljust(2000, "x"), sha256(f"never-{seed}".encode()).hexdigest() * 2
        self._old = f"old-token-{seed}", sha256(f"old-{seed}".encode()).hexdigest()
        self._hanging = f"/push/hangs-{self.name}"
        self._astray, self._stay = set[str](), set[str]()
        self.rounds = 0

    async def register(self) -> None:
        await super().register()
        await self.channels.come(self.service)
        await self.channels.come(self.inside, HERE)
        browser, service, name = self.channels.browser, self.service, self.name
        old = browser.subscribe(f"old-{name}")
        hangs, astray, huge = (service.subscribe(f"{what}-{name}") for what in ("hangs", "astray", "huge"))
        keys = old["keys"]
        inside = [{"kind": "webpush", "token": f"{url}/{name}", "keys": keys} for url in self.inside.urls()]
        self._astray = {its["token"] for its in (astray, *inside)}
        self._stay = self._astray | {huge["token"]}
        self._answer_badly()
        no_keys = {"p256dh": b64(b"\x04" + bytes(64)), "auth": keys["auth"]}  # no point of the curve
        bodies = [
            *({"kind": "fcm", "token": token} for token in (self._never[0], self._old[0])),
            *({"kind": "apns", "token": token} for token in (self._never[1], self._old[1])),
            *(old, hangs, astray, huge, *inside),
            {"kind": "webpush", "token": f"{browser.url}/push/no-keys-{name}", "keys": no_keys},
        ]
        owner = self._api.token(self.owner)
        await self.calls(Call("POST", "me/devices", owner, body) for body in bodies)
        refused = [
            {"kind": "fcm", "token": "a token\r\nhost: inside"},
            {"kind": "apns", "token": "../" * 12},
            {"kind": "webpush", "token": "http://push.example/x", "keys": keys},
            {"kind": "webpush", "token": "https://user@push.example/x", "keys": keys},
            {"kind": "webpush", "token": "https://push.example/x", "keys": {**keys, "auth": "AAAA"}},
        ]
        await self.calls((Call("POST", "me/devices", owner, body) for body in refused), status=422)

    def _answer_badly(self) -> None:
        channels, service, name = self.channels, self.service, self.name
        astray = Answer(307, headers=(("location", f"{self.inside.url}/"),))
        channels.fcm.to |= {
            self._never[0]: FcmServer.error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "message.token"),
            self._old[0]: FcmServer.error(404, "NOT_FOUND", "UNREGISTERED"),
        }
        since_ms = SystemClock().now_us() // 1000 + 60_000
        channels.apns.to |= {
            self._never[1]: ApnsServer.error(400, "BadDeviceToken"),
            self._old[1]: ApnsServer.error(410, "Unregistered", since_ms),
        }
        channels.browser.to[f"/push/old-{name}"] = Answer(410)
        service.to |= {
            self._hanging: Answer(201, hang=True),
            f"/push/astray-{name}": astray,
            f"/push/huge-{name}": HUGE,
        }
        channels.webhook.to |= {
            self.hangs: Answer(204, hang=True),
            self.fails: HUGE._replace(status=500),
            self.redirects: astray,
            self.huge: HUGE,
        }

    async def again(self) -> None:
        """One more reaction on everything, or on what is answered well."""
        await self.react([f"fan{self.rounds}-{self.name}"], [self.good] if self.rounds else self.targets)
        self.rounds += 1

    async def hanging(self) -> None:
        """Wait until the receiver and a push service hang."""
        hangs = self.hangs.encode()
        await until(lambda: self.service.count(self._hanging) > 0, "a push service to hang")
        await until(
            lambda: any(hangs in asked.body for asked in self.channels.webhook.asked), "the receiver to hang"
        )

    def back(self) -> None:
        """The receiver answers as it should, and the push service knows nothing of a subscription any more."""
        for target in (self.hangs, self.fails):
            del self.channels.webhook.to[target]
        self.service.to[self._hanging] = Answer(410)

    def hooked(self, inbox: Iterable[Mapping[str, Any]]) -> set[str]:
        return {message["id"] for message in inbox if message["target_id"] not in (self.redirects, self.huge)}

    async def undone(self) -> list[str]:
        wrong = [*await super().undone(), *self.service.problems, *self.inside.problems]
        notices, never = self.running.notices, set(self._never)
        devices = (await notices.audience.devices([self.owner])).get(self.owner, [])
        tokens = {device.token for device in devices} - never
        if tokens != self._stay | {self._token_of(device) for device in self.devices[self.owner]}:
            wrong.append(f"the devices of {self.owner} are {tokens}")
        if self.rounds >= SUSPECT_MOST and never & {device.token for device in devices}:
            wrong.append(f"a token that never was any is still there after {self.rounds} messages")
        dead = {
            (its.device.token if its.device else its.notification.target, its.reason)
            for its in await notices.deliveries.dead(0, DEAD)
            if its.notification.owner == self.owner
        }
        doubted = {(token, "suspect") for token in never}
        if dead - doubted != {(where, "refused") for where in (*self._astray, self.redirects)}:
            wrong.append(f"the dead letters of {self.owner} are {dead}")
        return wrong

    @staticmethod
    def _token_of(device: Device) -> str:
        at_service = device.name.startswith("/")
        return f"{device.provider.url}{device.name}" if at_service else device.name


async def mean_no_good(under: Under) -> None:
    """All of it at once, beside somebody whose devices are good."""
    running = under.running
    channels, worker = running.processes.channels, running.processes.workers["notify"]
    no_good, neighbour = NoGood(running, under.seed), Owned(running, f"neighbour{under.seed}", 2)
    await asyncio.gather(no_good.register(), neighbour.register())
    Path(f"/proc/{worker.pid}/clear_refs").write_text("5")  # from now on VmHWM is of now
    before = _memory(worker, "VmRSS")
    await asyncio.gather(no_good.again(), neighbour.react(["fan"], neighbour.targets))
    await no_good.hanging()
    away = channels.fcm if channels.fcm.always is not None else None
    within_s = WITHIN_S - 1 if under.timing.patient else FEW_S  # before the hanging ones are given up
    await _none(under, partial(neighbour.unshown, away), within_s)
    held = (_memory(worker, "VmHWM") - before) / MB
    no_good.back()
    for _ in range(1, under.timing.rounds):
        await _none(under, no_good.untold, FEW_S)
        await no_good.again()
    size = len(HUGE.body) * HUGE.repeat_body // MB
    under.notes.append(f"answers of {size} MB: notify held {held:.1f} MB more at most")
    if held > HELD_MB:
        under.wrong.append(f"notify held {held:.1f} MB more")
    await _done(under, no_good)
