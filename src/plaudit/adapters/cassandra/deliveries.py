"""Pushes under way and dead letters in Cassandra.

Which process may claim a push is decided by shard (`shares`), which of its own it has claimed already it remembers
itself: a claim writes nothing. A push that is put off is written to its new slice before it goes from the old one, so
one that is doubled by a crash is possible and one that is lost is not.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from plaudit.adapters.cassandra.audience import CassandraAudience
from plaudit.adapters.cassandra.fresh import Known
from plaudit.adapters.cassandra.inbox import CassandraInbox
from plaudit.adapters.cassandra.pushes import SECOND, Line, Place, Pushes, hour_of
from plaudit.adapters.cassandra.session import Session
from plaudit.adapters.cassandra.shares import Shares
from plaudit.adapters.cassandra.statements import Statements, all_of
from plaudit.ports.clock import Clock
from plaudit.ports.notifications import Channel, Notification, Parcel, Settled

LOOK_EVERY_S = 1.0  # for pushes of others, while there are some of ours, which need not be looked for
# A push is there before its message, which comes within moments. If its writer dies in between, whoever makes the
# message makes pushes of their own. So what has waited for long is looked at less and less.
ORPHAN_US, ORPHAN_S = 120 * SECOND, 1.0
CLAIM_ROUNDS = 10  # where some have no messages
RESCAN_S = 10.0  # so long a push may be overlooked that came in late, before what was read already
LATE_US = 5 * SECOND
NEVER = 2**63
PAGE = 500
COUNT_AT_MOST = 0.05  # of the time may go into counting

BURY = """
INSERT INTO $keyspace.dead_letter (hour, no, message, device, channel, owner, at, created_at, tries, reason)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
OPEN_HOUR = "INSERT INTO $keyspace.dead_hour (all_, hour) VALUES (0, ?)"
HOURS = "SELECT hour FROM $keyspace.dead_hour WHERE all_ = 0 AND hour >= ?"
DEAD = """
SELECT channel, no, message, device, owner, at, created_at, tries, reason, writetime(reason) FROM $keyspace.dead_letter
WHERE hour = ? AND no > ? LIMIT ?
"""
DEAD_BY_NO = """
SELECT channel, no, message, device, owner, at, created_at, tries, reason, writetime(reason) FROM $keyspace.dead_letter
WHERE hour = ? AND no = ?
"""
COUNT_DEAD = "SELECT count(*) FROM $keyspace.dead_letter WHERE hour = ?"
DISCARD = "DELETE FROM $keyspace.dead_letter WHERE hour = ? AND no = ? AND message = ? AND device = ?"
# What was read, and not what a worker that was quick buried anew since the push is there again.
RAISE = """
DELETE FROM $keyspace.dead_letter USING TIMESTAMP ? WHERE hour = ? AND no = ? AND message = ? AND device = ?
"""


class _Dead(NamedTuple):
    """A dead letter, and the timestamp that it was written with."""

    line: Line
    written_at: int


class _Look:
    """When to look for pushes of a channel: whenever there is room for some; now and then while there are some of ours,
    and when one is due that was put off here."""

    def __init__(self) -> None:
        self.ours_until_s = 0.0
        self._again_s = 0.0
        self._due = NEVER

    def is_due(self, now: int, now_s: float) -> bool:
        return now_s >= min(self._again_s, self.ours_until_s) or now >= self._due

    def expect(self, due: int) -> None:
        """There is one that will be due then."""
        self._due = min(self._due, due)

    def was(self, now: int, again_s: float) -> None:
        """All that were due have been seen; more at `again_s`."""
        self._again_s = again_s
        if now >= self._due:
            self._due = NEVER


class CassandraDeliveries(Statements):
    """See `plaudit.ports.notifications.Deliveries`; use as an async context manager inside an open session.

    `dead` and `resend` need no shares, so the command line may use them beside running workers.
    """

    queries = (BURY, OPEN_HOUR, HOURS, DEAD, DEAD_BY_NO, COUNT_DEAD, DISCARD, RAISE)

    def __init__(
        self,
        session: Session,
        pushes: Pushes,
        inbox: CassandraInbox,
        audience: CassandraAudience,
        shares: Shares,
        clock: Clock,
    ) -> None:
        super().__init__(session)
        self._pushes = pushes
        self._inbox = inbox
        self._audience = audience
        self._shares = shares
        self._clock = clock
        self._leases: dict[Place, float] = {}  # when a claim ends, in monotonic seconds
        self._since: dict[tuple[str, int, int], int] = {}  # nothing is due in a slice before this
        self._rescan_s = 0.0
        self._looks: dict[str, _Look] = {}  # by channel
        self._counted: tuple[float, dict[str, int]] = (float("-inf"), {})

    async def claim(self, channel: Channel, now: int, lease_s: float, limit: int) -> list[Parcel]:
        """Of many that are due, an equal part of each shard. Those that this process has just written are not read.
        Those whose messages are not there leave their places to others."""
        parcels: list[Parcel] = []
        try:
            for _ in range(CLAIM_ROUNDS):
                lines, known = await self._claimed(channel, now, lease_s, limit - len(parcels))
                some = await self._parcels(lines, known, now)
                parcels += some
                if len(some) == len(lines) or len(parcels) >= limit:
                    break
        except BaseException:
            for parcel in parcels:
                self._leases.pop(_line(parcel).place, None)
            raise
        return parcels

    async def _claimed(
        self, channel: Channel, now: int, lease_s: float, limit: int
    ) -> tuple[list[Line], list[Notification]]:
        """Pushes that are the caller's now, and those of their messages that are known."""
        now_s, fresh = self._clock.monotonic_s(), self._inbox.fresh
        held = await self._shares.held()
        fresh.hold(held)
        known = {its.place: its for its in fresh.take(channel, now, limit)}
        self._leases |= dict.fromkeys(known, now_s + lease_s)
        found = [its.line for its in known.values()]
        look = self._looks.setdefault(channel, _Look())
        if known:
            look.ours_until_s = now_s + LOOK_EVERY_S
        try:
            if look.is_due(now, now_s):
                found += await self._look(channel, held, now, now_s, limit)
        except BaseException:
            self._release(known.values())
            raise
        found.sort(key=lambda line: (line.due, line.no))
        mine = found[:limit]
        self._leases |= {line.place: now_s + lease_s for line in mine}
        self._release(known.pop(line.place) for line in found[limit:] if line.place in known)
        return mine, [its.message for its in known.values()]

    def _release(self, known: Iterable[Known]) -> None:
        """These are claimed another time."""
        known = list(known)
        for its in known:
            self._leases.pop(its.place, None)
        self._inbox.fresh.give_back(known)

    async def _look(
        self, channel: Channel, held: Sequence[int], now: int, now_s: float, limit: int
    ) -> list[Line]:
        """Those that are due and free, in no order."""
        self._leases = {place: end for place, end in self._leases.items() if end > now_s}
        if now_s >= self._rescan_s:
            self._since, self._rescan_s = {}, now_s + RESCAN_S
        part = min(limit, 2 * -(-limit // max(1, len(held))) + 8)
        before = {*self._leases}  # also what is settled while we read
        found = await all_of(self._free(channel, shard, now, part) for shard in held)
        # Another claim of this process may have been quicker.
        free = [
            line
            for lines in found
            for line in lines
            if line.place not in before and self._is_free(line.place)
        ]
        self._looks[channel].was(now, 0.0 if free else now_s + LOOK_EVERY_S)
        return free

    def _is_free(self, place: Place) -> bool:
        return place not in self._leases and place not in self._inbox.fresh

    async def _free(self, channel: Channel, shard: int, now: int, limit: int) -> list[Line]:
        found: list[Line] = []
        for slice_ in await self._pushes.slices(channel, shard, now):
            key = (channel, shard, slice_)
            since = self._since.get(key, 0)
            claimed = sum(place[:3] == key for place in self._leases)
            lines = await self._pushes.due(channel, shard, slice_, since, now, limit + claimed)
            self._since[key] = lines[0].place.due if lines else max(since, now - LATE_US)
            if not lines and not since:
                await self._pushes.close(channel, shard, slice_, now)
            found += [line for line in lines if self._is_free(line.place)]
            if len(found) >= limit:
                break
        return found[:limit]

    async def settle(self, results: Sequence[Settled]) -> None:
        done = [result for result in results if _is_done(result)]
        await all_of(
            [self._done(done), *(self._settle(result) for result in results if not _is_done(result))]
        )

    async def _done(self, results: Sequence[Settled]) -> None:
        places = [_line(result.parcel).place for result in results]
        await self._pushes.drop(places)
        for place in places:
            self._leases.pop(place, None)

    async def _settle(self, result: Settled) -> None:
        parcel = result.parcel
        before = _line(parcel)
        tried = bool(result.reason)
        after = before._replace(
            due=result.due, tries=before.tries + tried, reason=result.reason or before.reason
        )
        if result.dead:
            await self._bury(after)
        elif result.due is not None:
            await self._pushes.add([after])
            self._looks.setdefault(before.channel, _Look()).expect(result.due)
        if result.due is None or after.place != before.place:
            await self._pushes.drop([before.place])
        if parcel.device is not None and result.device != "keep":
            await self._audience.settle(parcel.device, result.device, result.gone_at)
        self._leases.pop(before.place, None)

    async def dead(self, after: int, limit: int) -> list[Parcel]:
        parcels: list[Parcel] = []
        while len(parcels) < limit:
            lines = [dead.line for dead in await self._dead_lines(after, limit - len(parcels))]
            parcels += await self._parcels(lines, [], self._clock.now_us())
            if not lines:
                break
            after = lines[-1].no
        return parcels

    async def resend(self, numbers: Sequence[int] | None, now: int) -> int:
        if numbers is not None:
            found = await all_of(self._rows(DEAD_BY_NO, hour_of(no), no) for no in dict.fromkeys(numbers))
            return await self._raise([_dead(row) for rows in found for row in rows], now)
        resent, after = 0, 0
        while letters := await self._dead_lines(after, PAGE):
            resent += await self._raise(letters, now)
            after = letters[-1].line.no
        return resent

    async def waiting(self) -> Mapping[str, int]:
        """Those of the shards that are this process's; dead letters are counted by who has the first shard. A count
        that took long is kept for a while."""
        until_s, found = self._counted
        began_s = time.monotonic()
        if self._clock.monotonic_s() < until_s:
            return found
        held = await self._shares.held()
        found = await self._pushes.count(held)
        dead = await self._count_dead() if 0 in held else 0
        took_s = time.monotonic() - began_s
        if took_s >= 1:
            self._counted = (self._clock.monotonic_s() + took_s / COUNT_AT_MOST, {**found, "dead": dead})
        return {**found, "dead": dead}

    async def _count_dead(self) -> int:
        hours = [hour for (hour,) in await self._rows(HOURS, 0)]
        return sum([number for hour in hours for (number,) in await self._rows(COUNT_DEAD, hour)])

    async def _dead_lines(self, after: int, limit: int) -> list[_Dead]:
        letters: list[_Dead] = []
        for (hour,) in await self._rows(HOURS, hour_of(after)):
            rows = await self._rows(DEAD, hour, after, limit - len(letters))
            letters += [_dead(row) for row in rows]
            if len(letters) >= limit:
                break
        return letters

    async def _bury(self, line: Line) -> None:
        await self._write(OPEN_HOUR, line.hour)
        values = (line.channel, line.owner, line.at, line.created_at, line.tries, line.reason)
        await self._write(BURY, line.hour, line.no, line.message, line.device, *values)

    async def _raise(self, letters: Sequence[_Dead], now: int) -> int:
        lines = [letter.line for letter in letters]
        await self._pushes.add(
            line._replace(due=now, created_at=now, tries=0, reason="resent") for line in lines
        )
        for line in lines:
            self._looks.setdefault(line.channel, _Look()).expect(now)
        await self._write_all(
            (RAISE, written_at, line.hour, line.no, line.message, line.device) for line, written_at in letters
        )
        return len(lines)

    async def _parcels(self, lines: Sequence[Line], known: Sequence[Notification], now: int) -> list[Parcel]:
        """These pushes with their messages, of which some are `known`, and devices. One that will not have both is
        done with."""
        here = {message.id for message in known}
        read = ((line.owner, line.at, line.message) for line in lines if line.message not in here)
        messages = {**await self._inbox.to_show(known), **await self._inbox.read(read)}
        devices = await self._audience.by_id([line.device for line in lines if line.device])
        parcels: list[Parcel] = []
        gone: list[Line] = []
        for line in lines:
            message, device = messages.get(line.message), devices.get(line.device)
            if message is not None and message.at != line.at:
                message = None  # it came after another attempt, with pushes of its own
            age_us = now - line.created_at
            if message is None and line.due is not None and age_us < ORPHAN_US:
                wait_s = max(ORPHAN_S, min(age_us / 2, ORPHAN_US - age_us) / SECOND)
                self._leases[line.place] = self._clock.monotonic_s() + wait_s
                continue
            if message is None or (line.device and (device is None or device.owner != message.owner)):
                gone.append(line)
                continue
            parcels.append(
                Parcel(
                    no=line.no,
                    channel=line.channel,
                    notification=message,
                    device=device,
                    created_at=line.created_at,
                    due=line.due,
                    tries=line.tries,
                    reason=line.reason,
                )
            )
        await self._write_all(
            (DISCARD, line.hour, line.no, line.message, line.device) for line in gone if line.due is None
        )
        await self._pushes.drop(line.place for line in gone if line.due is not None)
        return parcels


def _line(parcel: Parcel) -> Line:
    message, device = parcel.notification, parcel.device
    return Line(
        parcel.channel,
        parcel.due,
        parcel.no,
        message.id,
        device.id if device is not None else "",
        message.owner,
        message.at,
        parcel.created_at,
        parcel.tries,
        parcel.reason,
    )


def _is_done(result: Settled) -> bool:
    """Whether the push goes, and that is all."""
    device = result.parcel.device
    fine = result.device == "keep" or (result.device == "fine" and not (device and device.suspect))
    return fine and result.due is None and not result.dead


def _dead(row: tuple[Any, ...]) -> _Dead:
    channel, *rest, written_at = row
    return _Dead(Line(channel, None, *rest), written_at)
