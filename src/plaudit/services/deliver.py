"""Deliver: hands pushes to senders, and does with each what the reason says.

`POLICY` is the one place that says what becomes of a push, its device and its provider. A channel never waits for
another one, and a provider that is down gets one push a moment until it is back; what waits, waits in the store and not
in memory. A push may be made twice (a process may die between sending and settling): its collapse id shows it once.
"""

import asyncio
import logging
import random
from collections import Counter, OrderedDict
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, Self

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.errors import PlauditError
from plaudit.domain.summary import others
from plaudit.ports.clock import Clock
from plaudit.ports.directory import Directory, Profile
from plaudit.ports.notifications import Deliveries, Parcel, Settled
from plaudit.ports.push import Person, Push, Reason, Sender, Verdict
from plaudit.services.breaker import Breaker
from plaudit.services.wording import Wording
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.deliver")

SECOND = 1_000_000
LEASE_S = 60.0
LOOK_EVERY_S = 1.0
COUNT_EVERY_S = 5.0  # goes through all that wait
RETRY_S = 1.0
KEEP = 24 * 3600 * SECOND  # older news is none
BACKOFF_S, MAX_BACKOFF_S = 2.0, 300.0
SUSPECT_MOST = 3  # doubts in a row, then the device is gone
PROVIDERS = 1_000
LAND_WITHIN_S = 2.0
SHARE = 8  # of the places of a channel with many providers one owner, or a provider nobody knows yet, has an eighth
CROWDED_US = SECOND
NAMED = 3
_NOBODY = Profile()


class Policy(NamedTuple):
    """What a reason does: to the push, to the device, and whether the provider is well. `again` waits for Retry-After,
    or a growing while, `now` tries once more at once, `dead` gives up and keeps a dead letter."""

    push: Literal["done", "again", "now", "dead"]
    device: Literal["keep", "gone", "suspect", "fine"]
    well: bool
    meaning: str


POLICY: Mapping[Reason, Policy] = {
    "delivered": Policy("done", "fine", True, "The provider has it."),
    "gone": Policy(
        "done", "gone", True, "The token is not valid any more. A later registration of it stays."
    ),
    "suspect": Policy(
        "dead",
        "suspect",
        True,
        "The provider doubts the token; it may be of the other environment or app. The third time in a row the device "
        "is gone.",
    ),
    "renew": Policy("now", "keep", True, "Our token for the provider has expired; a new one is made."),
    "slow_down": Policy(
        "again",
        "keep",
        False,
        "Too much, or the provider has trouble: 429 or 5xx, and any other answer of a webhook's receiver.",
    ),
    "unreachable": Policy("again", "keep", False, "No connection, or no answer in time."),
    "refused": Policy(
        "dead", "keep", True, "A private address, a redirect, or a receiver that wants no more."
    ),
    "our_fault": Policy(
        "dead", "keep", True, "The provider says the request is wrong: a setting, or a fault of ours."
    ),
}


class Deliver:
    """One loop for each sender. Use as an async context manager. `made` is set by whoever adds pushes."""

    def __init__(
        self,
        deliveries: Deliveries,
        directory: Directory,
        senders: Sequence[Sender],
        wording: Wording,
        catalogue: Catalogue,
        clock: Clock,
        metrics: Metrics,
        made: asyncio.Event,
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._deliveries = deliveries
        self._directory = directory
        self._senders = senders
        self._wording = wording
        self._names = catalogue.names
        self._like = catalogue.codes.get("like", 0)
        self._clock = clock
        self._metrics = metrics
        self._made = made
        self._look_every_s = look_every_s
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()
        self._flying = Counter[tuple[str, str, str]]()  # pushes under way, by channel and provider or owner
        self._waiting: Mapping[str, int] = {}
        self._wakers: list[asyncio.Event] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._metrics.gauge(
            "plaudit_pushes_waiting", lambda: sum(n for name, n in self._waiting.items() if name != "dead")
        )
        self._metrics.gauge("plaudit_dead_letters", lambda: self._waiting.get("dead", 0))
        for sender in self._senders:
            waker = asyncio.Event()
            self._wakers.append(waker)
            self._tasks.append(asyncio.create_task(self._run(sender, waker)))
        self._tasks.append(asyncio.create_task(self._look()))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait a moment for what is under way; what is not back by then is tried again at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(self) -> None:
        """Wake the loops when there are new pushes, and now and then for what has become due; keep the gauges."""
        count_at_s = 0.0
        while True:
            try:
                async with asyncio.timeout(self._look_every_s):
                    await self._made.wait()
            except TimeoutError:
                pass
            self._made.clear()
            for waker in self._wakers:
                waker.set()
            if self._clock.monotonic_s() < count_at_s:
                continue
            count_at_s = self._clock.monotonic_s() + COUNT_EVERY_S
            try:
                self._waiting = await self._deliveries.waiting()
            except PlauditError as error:
                log.warning("pushes cannot be counted: %s", error)
            except Exception:
                log.exception("pushes cannot be counted")

    async def _run(self, sender: Sender, waker: asyncio.Event) -> None:
        flights = _Flights(waker)
        settling: asyncio.Task[None] | None = None  # one lot; what lands meanwhile is the next
        try:
            while True:
                try:
                    if settling is not None and settling.done():
                        ended, settling = settling, None
                        ended.result()
                    if flights.landed and settling is None:
                        settling = asyncio.create_task(self._deliveries.settle(flights.taken()))
                        settling.add_done_callback(lambda _: waker.set())
                    if len(flights.landed) < sender.at_once:
                        flights.begin(await self._sent(sender, len(flights.under_way)))
                    await waker.wait()
                    waker.clear()
                except PlauditError as error:
                    log.warning("pushes over %s wait and will go on: %s", sender.channel, error)
                    await asyncio.sleep(RETRY_S)
                except Exception:
                    log.exception("pushes over %s wait and will go on", sender.channel)
                    await asyncio.sleep(RETRY_S)
        finally:
            await self._land(flights, settling)

    async def _land(self, flights: "_Flights", settling: asyncio.Task[None] | None) -> None:
        """When stopping: wait a moment for what is under way, so that it is not sent again at the next start."""
        if flights.under_way:
            _, late = await asyncio.wait(flights.under_way, timeout=LAND_WITHIN_S)
            for flight in late:
                flight.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        lots = [self._deliveries.settle(flights.taken()), *([settling] if settling is not None else [])]
        try:
            async with asyncio.timeout(LAND_WITHIN_S):
                # One that fails takes none of the others with it.
                failed = next(filter(None, await asyncio.gather(*lots, return_exceptions=True)), None)
        except TimeoutError as error:
            failed = error
        if failed is not None:
            log.warning("pushes that were made are made again at the next start: %s", failed)

    async def _sent(self, sender: Sender, flying: int) -> list[Coroutine[None, None, Settled]]:
        """Pushes that are due, to be sent, as far as there is room."""
        room = self._room(sender, flying)
        if not room:
            return []
        parcels = await self._deliveries.claim(sender.channel, self._clock.now_us(), LEASE_S, room)
        profiles = await self._profiles(parcels)
        return [self._send(sender, parcel, profiles) for parcel in parcels]

    def _room(self, sender: Sender, flying: int) -> int:
        """How many more pushes may be under way. Half of the room is waited for, so that not each has its own claim."""
        alone = self._breakers.get(
            sender.channel
        )  # of a channel with one provider, which is named as the channel
        if alone is not None and alone.wait_s(self._clock.monotonic_s()) > 0:
            return 0
        if alone is not None and alone.tripped:
            return 0 if flying else 1
        return sender.at_once - flying if flying <= sender.at_once // 2 else 0

    async def _profiles(self, parcels: Sequence[Parcel]) -> dict[str, Profile]:
        people = {parcel.notification.owner for parcel in parcels}
        people.update(user for parcel in parcels for user, _ in parcel.notification.sample[:NAMED])
        return await self._directory.profiles(sorted(people)) if people else {}

    async def _send(self, sender: Sender, parcel: Parcel, profiles: Mapping[str, Profile]) -> Settled:
        """Try once, or twice where the reason says so at once."""
        push = self._push(parcel, profiles)
        provider = sender.provider(push)
        breaker = self._breaker(provider)
        now_s = self._clock.monotonic_s()
        if (wait_s := breaker.wait_s(now_s)) > 0:
            due = self._clock.now_us() + round(wait_s * SECOND)
            return Settled(parcel=parcel, reason=parcel.reason or "slow_down", due=due)
        shares = self._shares(sender, provider, push.owner)
        if any(self._flying[key] >= most for key, most in shares.items()):
            return Settled(parcel=parcel, reason="", due=self._clock.now_us() + CROWDED_US)
        if shares:
            self._flying.update(shares.keys())
        sent_at = self._clock.now_us()
        try:
            verdict = await self._try(sender, push)
            if POLICY[verdict.reason].push == "now":
                verdict = await self._try(sender, push)
        finally:
            if shares:
                self._flying.subtract(shares.keys())
                self._flying = +self._flying  # without those that have landed
        if POLICY[verdict.reason].well or verdict.only_device:
            breaker.well()
        else:
            breaker.unwell(now_s, self._clock.monotonic_s(), verdict.retry_after_s)
        return self._settled(parcel, verdict, sent_at)

    def _shares(self, sender: Sender, provider: str, owner: str) -> dict[tuple[str, str, str], int]:
        """How many pushes may be under way to this provider and for this owner, or one of them with many dead devices
        would hold all places while each try takes its time. What is over waits in the store, and that is no try.

        A provider that answers gives places back soon: it may have as many as leave room for a claim. A channel with
        one provider has all places for it.
        """
        if provider == sender.channel:
            return {}
        share = max(1, sender.at_once // SHARE)
        breaker = self._breaker(provider)
        most = 1 if breaker.tripped else max(share, sender.at_once // 2) if breaker.answers else share
        return {(sender.channel, "provider", provider): most, (sender.channel, "owner", owner): share}

    async def _try(self, sender: Sender, push: Push) -> Verdict:
        try:
            verdict = await sender.send(push)
        except Exception as error:
            log.exception("the sender for %s failed", sender.channel)
            verdict = Verdict(reason="our_fault", detail=type(error).__name__)
        self._metrics.pushed(verdict.reason)
        if verdict.reason != "delivered":
            log.info("%s %s: %s", sender.channel, verdict.reason, verdict.detail)
        return verdict

    def _settled(self, parcel: Parcel, verdict: Verdict, sent_at: int) -> Settled:
        policy, now = POLICY[verdict.reason], self._clock.now_us()
        device = policy.device
        if device == "suspect" and parcel.device is not None and parcel.device.suspect + 1 >= SUSPECT_MOST:
            device = "gone"
        again = policy.push in {"again", "now"}
        wait_s = verdict.retry_after_s
        if wait_s is None:
            wait_s = min(MAX_BACKOFF_S, BACKOFF_S * 2.0 ** min(20, parcel.tries))
            wait_s *= 0.5 + random.random() / 2  # noqa: S311 - so that they do not all come back at once
        due = now + round(wait_s * SECOND)
        late = again and due > parcel.created_at + KEEP
        return Settled(
            parcel=parcel,
            reason=verdict.reason,
            due=due if again and not late else None,
            dead=policy.push == "dead" or late,
            device=device,
            # A provider that names no time speaks of what was sent: not of a token registered again meanwhile.
            gone_at=verdict.gone_at if verdict.gone_at is not None else sent_at,
        )

    def _push(self, parcel: Parcel, profiles: Mapping[str, Profile]) -> Push:
        message = parcel.notification
        owner = profiles.get(message.owner)
        sample = tuple(
            Person(user, (its := profiles.get(user, _NOBODY)).name or user, its.avatar_url)
            for user, _ in message.sample[:NAMED]
        )
        names = [person.name for person in sample]
        words = self._wording.words(
            owner.locale if owner else None,
            target_type=message.type,
            title=message.title,
            names=names,
            total=message.total,
            all_likes=list(message.split) == [self._like],
        )
        return Push(
            id=message.id,
            owner=message.owner,
            title=words.title,
            body=words.body,
            locale=words.locale,
            target=message.target,
            type=message.type,
            target_title=message.title,
            sample=sample,
            others=others(names, message.total),
            total=message.total,
            reactions={self._names[code] or "": count for code, count in sorted(message.split.items())},
            at=message.at,
            expires_at=parcel.created_at + KEEP,
            device=parcel.device,
        )

    def _breaker(self, provider: str) -> Breaker:
        breaker = self._breakers.get(provider)
        if breaker is None:
            breaker = self._breakers[provider] = Breaker()
            while len(self._breakers) > PROVIDERS:
                self._breakers.popitem(last=False)
        else:
            self._breakers.move_to_end(provider)
        return breaker


class _Flights:
    """Pushes under way, and what came of those that have landed. Each that lands sets `waker`."""

    def __init__(self, waker: asyncio.Event) -> None:
        self._waker = waker
        self.under_way: set[asyncio.Task[Settled]] = set()
        self.landed: list[Settled] = []

    def begin(self, pushes: Iterable[Coroutine[None, None, Settled]]) -> None:
        """Send these."""
        for push in pushes:
            flight = asyncio.create_task(push)
            self.under_way.add(flight)
            flight.add_done_callback(self._land)

    def taken(self) -> list[Settled]:
        """What has landed; it is the caller's now."""
        landed, self.landed = self.landed, []
        return landed

    def _land(self, flight: asyncio.Task[Settled]) -> None:
        """One that failed for a reason of ours is left to the end of its lease."""
        self.under_way.discard(flight)
        self._waker.set()
        if flight.cancelled():
            return
        if (error := flight.exception()) is not None:
            log.error("a push could not be made", exc_info=error)
        else:
            self.landed.append(flight.result())
