"""Notify: follows the log, keeps a watch per target, and makes a message of every window that has ended.

Nobody's tap waits for this: it reads what taps wrote, in turns short enough that the event loop does not notice, and
stores what it learns in small transactions. It follows and closes in one task, so it never races itself; where another
process has been faster, the version of a watch says so and the work is done again. Every step can be repeated, so after
a crash it simply goes on: events guard themselves by `seq`, a message by its collapse id.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, tzinfo
from functools import lru_cache
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Deleted
from plaudit.domain.errors import Corrupt, PlauditError
from plaudit.domain.events import Committed, decode
from plaudit.domain.quiet import Wishes, quiet_until
from plaudit.domain.windows import (
    Draft,
    Pace,
    Watch,
    checked,
    close,
    collapse_id,
    follow,
    forget_at,
    postpone,
)
from plaudit.ports.batches import Batches, Change, Stored
from plaudit.ports.clock import Clock
from plaudit.ports.directory import Directory, Profile
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Counters, Reactions
from plaudit.ports.log import EventLog
from plaudit.ports.notifications import Address, Audience, Channel, Inbox, Notification
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.notify")

CONSUMER = "notify"
EVENTS_AT_ONCE = 2_000
SAVED_AT_ONCE = 50  # a tap may wait behind one such transaction
SAVED_USERS_AT_ONCE = 5_000  # to pack so many takes 1 ms, and half as much again to hand them over
CLOSED_AT_ONCE = 100
FORGOTTEN_AT_ONCE = 500
TURN_S = 0.001  # of the event loop; a tap waits no longer for us than for another tap
LEASE_S = 30.0
RETRY_S = 1.0
FORGET_EVERY_S = 60.0

Ended = tuple[str, Stored, Target]
_NO_WISHES, _NO_PROFILE = Wishes(), Profile()


class Notify:
    """The notifier. Use as an async context manager, or call `follow` and `close` yourself.

    `channels` are those without devices (webhook, console) and the kinds of devices that have a sender. `made` is set
    whenever there are new pushes.
    """

    def __init__(
        self,
        events: EventLog,
        batches: Batches,
        counters: Counters,
        reactions: Reactions,
        directory: Directory,
        audience: Audience,
        inbox: Inbox,
        clock: Clock,
        metrics: Metrics,
        *,
        pace: Pace,
        channels: Sequence[Channel] = (),
        made: asyncio.Event | None = None,
        every_s: float = 0.5,
    ) -> None:
        self._events = events
        self._batches = batches
        self._counters = counters
        self._reactions = reactions
        self._directory = directory
        self._audience = audience
        self._inbox = inbox
        self._clock = clock
        self._metrics = metrics
        self._pace = pace
        self._channels = frozenset(channels)
        self._made = made
        self._every_s = every_s
        self._read_up_to = 0
        self._behind = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._events.acknowledge(CONSUMER, 0)  # from now on the log keeps what we have not seen
        self._metrics.gauge("plaudit_notifier_behind", lambda: self._behind)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop between two steps; the next start goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        forget_s = 0.0
        while True:
            try:
                more = await self.follow()
                more |= await self.close()
                if not more and self._clock.monotonic_s() >= forget_s:
                    forget_s = self._clock.monotonic_s() + FORGET_EVERY_S
                    while await self._batches.forget(self._clock.now_us(), FORGOTTEN_AT_ONCE):
                        pass
                await asyncio.sleep(0 if more else self._every_s)
            except PlauditError as error:
                log.warning("notifications wait and will go on: %s", error)
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("notifications wait and will go on")
                await asyncio.sleep(RETRY_S)

    async def follow(self) -> bool:
        """Take the next events into watches; whether there are more."""
        asked = self._clock.now_us()
        found = await self._events.read(CONSUMER, EVENTS_AT_ONCE)
        if not found:
            self._read_up_to, self._behind = asked, 0
            return False
        turn = _Turn()
        by_target: dict[str, list[Committed]] = {}
        newest = 0
        for _, body in found:
            event = self._decode(body)
            if event is not None and (event.transitions or event.cause == "delete"):
                by_target.setdefault(event.target, []).append(event)
                newest = max([newest, *(transition.at for transition in event.transitions)])
            await turn.over()
        if await self._take(by_target, turn):
            return True  # somebody else was faster: read the same again
        await self._events.acknowledge(CONSUMER, found[-1][0])
        more = len(found) == EVENTS_AT_ONCE
        self._read_up_to = max(self._read_up_to, min(newest, asked)) if more else asked
        self._behind = await self._events.behind(CONSUMER) if more else 0
        return more

    def _decode(self, body: bytes) -> Committed | None:
        try:
            return decode(body)
        except Corrupt as error:
            self._metrics.unreadable += 1
            log.error("an event cannot be read: %s", error)
            return None

    async def _take(self, by_target: dict[str, list[Committed]], turn: "_Turn") -> bool:
        """Fold these events into watches and save those that changed; whether any had been changed by others."""
        names = list(by_target)
        stored = await self._batches.load(names)
        targets = await self._counters.targets(names)
        now, changes = self._clock.now_us(), list[Change]()
        for name, events in by_target.items():
            owner = _owner(targets.get(name))
            there = stored.get(name, Stored())
            if owner is None and not there.version:
                self._metrics.notified("unowned", sum(len(event.transitions) for event in events))
                continue
            watch = there.watch
            for event in events:
                watch = follow(watch, (event,), owner or "", now, self._pace)
                await turn.over()
            if watch is not there.watch:
                changes.append(self._change(name, there, watch))
        return bool(await self._save(changes, turn))

    async def _save(self, changes: Sequence[Change], turn: "_Turn") -> list[str]:
        """Save in portions that hold up neither taps nor the event loop; the targets that others had changed."""
        lost, start, users = list[str](), 0, 0
        for n, change in enumerate(changes):
            users += change.watch.users
            if n + 1 == len(changes) or n + 1 - start == SAVED_AT_ONCE or users >= SAVED_USERS_AT_ONCE:
                lost += await self._batches.save(changes[start : n + 1])
                start, users = n + 1, 0
                await turn.over()
        return lost

    async def close(self) -> bool:
        """Make messages of windows that have ended; whether there may be more."""
        until = min(self._read_up_to, self._clock.now_us())
        due = await self._batches.claim(until, LEASE_S, CLOSED_AT_ONCE)
        if not due:
            return False
        targets = await self._counters.targets([name for name, _ in due])
        ended = [(name, stored, targets.get(name, Target())) for name, stored in due]
        owners = sorted({owner for *_, target in ended if (owner := _owner(target))})
        wishes = await self._audience.wishes(owners)
        profiles = await self._directory.profiles(owners)
        changes: list[Change] = []
        drafts: list[tuple[str, Registration, str, Draft]] = []
        now, turn = self._clock.now_us(), _Turn()
        for name, stored, target in ended:
            await turn.over()
            owner, registration = _owner(target), target.registration
            its = wishes.get(owner or "", _NO_WISHES)
            until_quiet = quiet_until(its.quiet, _zone(profiles.get(owner or "", _NO_PROFILE).time_zone), now)
            if owner is not None and until_quiet is not None and its.enabled:
                changes.append(self._change(name, stored, postpone(stored.watch, until_quiet)))
                continue
            draft, watch = close(stored.watch, owner or "", now)
            changes.append(self._change(name, stored, watch))
            if draft is None or owner is None or registration is None:
                self._metrics.notified("nothing")
            elif not its.enabled or name in its.muted:
                self._metrics.notified("muted")
            else:
                drafts.append((name, registration, owner, draft))
        messages = await self._checked(drafts, now)
        await self._inbox.put(messages, await self._addresses(messages), now)
        lost = await self._save(changes, turn)
        self._metrics.notified("told", len(messages))
        if lost:
            log.info("%s windows were closed by another notifier, or are open again", len(lost))
        if messages and self._made is not None:
            self._made.set()
        return True

    async def _checked(
        self, drafts: list[tuple[str, Registration, str, Draft]], now: int
    ) -> list[Notification]:
        """The messages of these drafts, as the ledger has their samples now."""
        pairs = [(name, user) for name, _, _, draft in drafts for user, _ in draft.sample]
        current = await self._reactions.reactions(pairs)
        messages = []
        for name, registration, owner, draft in drafts:
            mine = {user: current.get((name, user), 0) for user, _ in draft.sample}
            found = checked(draft, mine)
            if found is None:
                self._metrics.notified("nothing")
                continue
            messages.append(
                Notification(
                    id=collapse_id(name, owner, draft.window),
                    owner=owner,
                    at=now,
                    target=name,
                    type=registration.type,
                    title=registration.title,
                    total=found.total,
                    split=found.split,
                    sample=found.sample,
                )
            )
        return messages

    async def _addresses(self, messages: Sequence[Notification]) -> list[Address]:
        """The pushes to be made of these messages."""
        if not self._channels:
            return []
        devices = await self._audience.devices(sorted({message.owner for message in messages}))
        everybody: list[Channel] = [c for c in ("webhook", "console") if c in self._channels]
        return [
            address
            for message in messages
            for address in (
                *(Address(message.id, channel) for channel in everybody),
                *(
                    Address(message.id, device.kind, device.id)
                    for device in devices.get(message.owner, ())
                    if device.kind in self._channels
                ),
            )
        ]

    def _change(self, name: str, stored: Stored, watch: Watch) -> Change:
        due = watch.window.closes_at if watch.window is not None else None
        now = self._clock.now_us()
        return Change(name, stored.version, watch, due, forget_at(watch, now, self._pace))


class _Turn:
    """Gives the event loop back whenever a turn is over."""

    def __init__(self) -> None:
        self._end_s = time.perf_counter() + TURN_S

    async def over(self) -> None:
        """Wait for everybody else if the turn is over."""
        if time.perf_counter() >= self._end_s:
            await asyncio.sleep(0)
            self._end_s = time.perf_counter() + TURN_S


def _owner(target: Target | None) -> str | None:
    """Whom to tell of a target: nobody of one without an owner, or that is deleted."""
    if target is None or target.registration is None:
        return None
    if target.header is not None and target.header.deleted != Deleted.NO:
        return None
    return target.registration.owner


@lru_cache(1_000)
def _zone(name: str | None) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):  # the machine's time zones are older than the profile
        return UTC
