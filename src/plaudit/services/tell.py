"""Tell: takes events into the watches of their targets, and makes a message of every window that has ended.

Both profiles tell alike; where the events come from, and how far they have been read, is for others to know. Every step
can be repeated: events guard themselves by `seq`, a message by its collapse id, a watch by its version. A message is in
the inbox before its window is over, so whoever dies in between leaves it to another, who finds it there.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Deleted
from plaudit.domain.errors import Unavailable
from plaudit.domain.events import Committed
from plaudit.domain.quiet import Wishes, quiet_until
from plaudit.domain.watch import Watch
from plaudit.domain.windows import (
    Draft,
    Pace,
    checked,
    close,
    collapse_id,
    ended,
    follow,
    forget_at,
    latest_end,
    newest,
    on_time,
    postpone,
    retold,
    without,
)
from plaudit.ports.batches import Batches, Change, Stored, Told
from plaudit.ports.clock import Clock
from plaudit.ports.directory import Directory, Profile
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Counters, Reactions
from plaudit.ports.notifications import Address, Audience, Channel, Device, Inbox, Notification
from plaudit.services.aside import Aside
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.notify")

SAVED_USERS_AT_ONCE = 5_000  # to pack so many takes 1 ms, and half as much again to hand them over
TAKEN_AT_ONCE = 500  # targets; the watch of each may have 50 KB, and six times that in memory
CLOSED_AT_ONCE, SAVED_AT_ONCE = 100, 50  # a tap may wait behind one such transaction
TIDIED_AT_ONCE = 500
TURN_S = 0.001  # of the event loop; a tap waits no longer for us than for another tap
LEASE_S = 30.0
# So long after a look at its target a message is put; then the target may be deleted, and nobody takes it back.
PUT_WITHIN_S = 60.0

_NO_WISHES, _NO_PROFILE = Wishes(), Profile()


class Sources(NamedTuple):
    """What is asked about targets and owners. `told`: where watches may be lost, what their last messages left."""

    counters: Counters
    reactions: Reactions
    directory: Directory
    audience: Audience
    told: Told | None = None


class _Ready(NamedTuple):
    """A window that is to become a message, and the watch before and after that."""

    target: str
    stored: Stored
    registration: Registration
    owner: str
    draft: Draft
    before: Watch
    after: Watch


class Tell:
    """See the module. `channels` are those without devices (webhook, console) and the kinds of devices that have a
    sender. `made` is set whenever there are new pushes. `at_once` windows are closed together, and `saved_at_once`
    watches saved."""

    def __init__(
        self,
        batches: Batches,
        sources: Sources,
        inbox: Inbox,
        clock: Clock,
        metrics: Metrics,
        *,
        pace: Pace,
        channels: Sequence[Channel] = (),
        made: asyncio.Event | None = None,
        at_once: int = CLOSED_AT_ONCE,
        saved_at_once: int = SAVED_AT_ONCE,
    ) -> None:
        self._batches = batches
        self._counters, self._reactions, self._directory, self._audience, self._told = sources
        self._inbox = inbox
        self._clock = clock
        self._metrics = metrics
        self._pace = pace
        self._channels = frozenset(channels)
        self._made = made
        self._at_once = at_once
        self._saved_at_once = saved_at_once
        self._aside = Aside[tuple[str, Stored]]("notify", lambda due: f"the window of {due[0]}", metrics)

    async def take(self, events: Iterable[Committed]) -> bool:
        """Fold these events into watches and save those that changed; whether any had been changed by others
        meanwhile: then the same events have to be taken again."""
        by_target: dict[str, list[Committed]] = {}
        for event in events:
            if event.transitions or event.cause == "delete":
                by_target.setdefault(event.target, []).append(event)
        targets, lost = list(by_target), False
        for start in range(0, len(targets), TAKEN_AT_ONCE):
            some = targets[start : start + TAKEN_AT_ONCE]
            lost |= await self._take({name: by_target[name] for name in some})
        return lost

    async def _take(self, by_target: dict[str, list[Committed]]) -> bool:
        turn = Turn()
        owners = await self._owners(by_target)
        followed, now = dict[str, Watch](), self._clock.now_us()
        for name in [name for name, those in by_target.items() if owners[name] is None and _are_taps(those)]:
            # Nobody to tell, and nothing that a watch of before would have to forget.
            self._metrics.notified("unowned", sum(len(event.transitions) for event in by_target.pop(name)))
        stored = await self._batches.load(list(by_target))
        for name, those in by_target.items():
            there = stored.get(name, Stored())
            if owners[name] is None and not there.version:
                self._metrics.notified("unowned", sum(len(event.transitions) for event in those))
                continue
            watch = await self._followed(there.watch, those, owners[name], now, turn)
            if watch is not there.watch:
                followed[name] = watch
        # What is new here may only be forgotten here.
        new = {name: owner for name in followed if name not in stored and (owner := owners[name])}
        for name, told in (await self._recalled(new)).items():
            followed[name] = await self._followed(told, by_target[name], owners[name], now, turn)
        changes = [self._change(name, stored.get(name, Stored()), watch) for name, watch in followed.items()]
        return bool(await self._save(changes, turn))

    async def close(self, until: int) -> bool:
        """Make messages of windows that ended by `until` (microseconds UTC); whether there may be more."""
        due = await self._batches.claim(until, LEASE_S, self._at_once)
        if due and (untold := await self._aside.sift(due, lambda some: self._end(some, until))):
            await self._save([self._change(name, s, ended(s.watch)) for name, s in untold], Turn())
        return bool(due)

    async def _end(self, due: Sequence[tuple[str, Stored]], until: int) -> None:
        """Make messages of these windows, but those that turn out to be open for longer."""
        now, until_s = self._clock.now_us(), self._clock.monotonic_s() + PUT_WITHIN_S
        asked = {name: newest(stored.watch) for name, stored in due}
        targets, current = await self._reactions.seen(asked)
        by_target = {name: owner for name in asked if (owner := owner_of(targets.get(name)))}
        owners = sorted({*by_target.values()})
        told, wishes, profiles = await asyncio.gather(
            self._recalled(by_target), self._audience.wishes(owners), self._directory.profiles(owners)
        )
        changes: list[Change] = []
        ready: list[_Ready] = []
        turn = Turn()
        for name, stored in due:
            await turn.over()
            target = targets.get(name, Target())
            owner, registration, watch = owner_of(target), target.registration, stored.watch
            if name in told:
                watch = retold(watch, told[name], now, self._pace)
            if watch.window is not None and watch.window.closes_at > until:
                changes.append(
                    self._change(name, stored, watch)
                )  # who came since the message; it is not their time
                continue
            its = wishes.get(owner or "", _NO_WISHES)
            until_quiet = quiet_until(its.quiet, _zone(profiles.get(owner or "", _NO_PROFILE).time_zone), now)
            if owner is not None and until_quiet is not None and its.enabled:
                changes.append(self._change(name, stored, postpone(watch, until_quiet)))
                continue
            draft, after = close(watch, owner or "", now)
            if draft is None or owner is None or registration is None:
                self._metrics.notified("nothing")
            elif not its.enabled or name in its.muted:
                self._metrics.notified("muted")
            else:
                ready.append(_Ready(name, stored, registration, owner, draft, watch, after))
                continue
            changes.append(self._change(name, stored, ended(watch)))
        unasked = [
            (its.target, user)
            for its in ready
            for user, _ in its.draft.sample
            if user not in asked[its.target]
        ]
        if unasked:
            current |= await self._reactions.reactions(unasked)
        messages, remembered = self._checked(ready, current, now)
        changes += [self._change(its.target, its.stored, remembered[its.target]) for its in ready]
        await self._tell(messages, remembered, changes, now, until_s, turn)

    async def tidy(self) -> bool:
        """End some windows that a clock which was ahead made end too late, and remove some watches that have nothing to
        remember any more; whether there may be more."""
        now = self._clock.now_us()
        late = await self._batches.ending_after(latest_end(now, self._pace), TIDIED_AT_ONCE)
        hastened = [self._change(name, s, on_time(s.watch, now, self._pace)) for name, s in late]
        await self._save(hastened, Turn())
        return await self._batches.forget(now, TIDIED_AT_ONCE) > 0 or bool(late)

    async def _tell(
        self,
        messages: Sequence[Notification],
        after: Mapping[str, Watch],
        changes: Sequence[Change],
        now: int,
        until_s: float,
        turn: "Turn",
    ) -> None:
        addresses = await self._addresses(messages)
        if self._clock.monotonic_s() > until_s:
            raise Unavailable("messages took too long to make; their windows are closed again")
        await self._inbox.put(messages, addresses, now, after)
        lost = await self._save(changes, turn)
        self._metrics.notified("told", len(messages))
        if lost:
            log.info("%s windows were closed by another notifier, or are open again", len(lost))
        if messages and self._made is not None:
            self._made.set()

    async def _owners(self, by_target: Mapping[str, Sequence[Committed]]) -> dict[str, str | None]:
        """Whom to tell of these targets: as their newest events say, and where those say nothing, as is known now.

        A commit of a target that is not split says whether it is registered; others may leave that out.
        """
        newest = {name: max(events, key=lambda event: event.seq) for name, events in by_target.items()}
        owners = {
            name: event.registration.owner if event.registration is not None and not event.deleted else None
            for name, event in newest.items()
            if event.registration is not None or (event.cause == "tap" and event.lanes == 1)
        }
        unsaid = [name for name in newest if name not in owners]
        targets = await self._counters.targets(unsaid) if unsaid else {}
        return owners | {name: owner_of(targets.get(name)) for name in unsaid}

    async def _recalled(self, owners: Mapping[str, str]) -> dict[str, Watch]:
        """What the last messages to these owners, by target, left."""
        return await self._told.told(owners) if self._told is not None and owners else {}

    async def _followed(
        self, watch: Watch, events: Sequence[Committed], owner: str | None, now: int, turn: "Turn"
    ) -> Watch:
        for event in events:
            watch = follow(watch, (event,), owner or "", now, self._pace)
            await turn.over()
        return watch

    async def _save(self, changes: Sequence[Change], turn: "Turn") -> list[str]:
        """Save in portions that hold up neither taps nor the event loop; the targets that others had changed."""
        lost, start, users = list[str](), 0, 0
        for n, change in enumerate(changes):
            users += change.watch.users
            if n + 1 == len(changes) or n + 1 - start == self._saved_at_once or users >= SAVED_USERS_AT_ONCE:
                lost += await self._batches.save(changes[start : n + 1])
                start, users = n + 1, 0
                await turn.over()
        return lost

    def _checked(
        self, ready: Sequence[_Ready], current: Mapping[tuple[str, str], int], now: int
    ) -> tuple[list[Notification], dict[str, Watch]]:
        """The messages of these drafts, as the ledger has their samples now, and what is remembered then: of whom no
        message tells, nothing."""
        messages, after = list[Notification](), dict[str, Watch]()
        for name, _, registration, owner, draft, before, told in ready:
            mine = {user: current.get((name, user), 0) for user, _ in draft.sample}
            found = checked(draft, mine)
            if found is None:
                self._metrics.notified("nothing")
                after[name] = ended(before)
                continue
            after[name] = without(told, [user for user, code in mine.items() if not code])
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
        return messages, after

    async def _addresses(self, messages: Sequence[Notification]) -> list[Address]:
        """The pushes to be made of these messages."""
        if not self._channels or not messages:
            return []
        everybody: list[Channel] = [c for c in ("webhook", "console") if c in self._channels]
        devices: dict[str, list[Device]] = {}
        if len(everybody) < len(self._channels):
            devices = await self._audience.devices(sorted({message.owner for message in messages}))
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


class Turn:
    """Gives the event loop back whenever a turn is over."""

    def __init__(self) -> None:
        self._end_s = time.perf_counter() + TURN_S

    async def over(self) -> None:
        """Wait for everybody else if the turn is over."""
        if time.perf_counter() >= self._end_s:
            await asyncio.sleep(0)
            self._end_s = time.perf_counter() + TURN_S


def _are_taps(events: Iterable[Committed]) -> bool:
    return all(event.cause in ("tap", "late") for event in events)


def owner_of(target: Target | None) -> str | None:
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
