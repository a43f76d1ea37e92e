"""Who delivers which shards: every process has a seat, and as many of the shards as are its fair share.

A share is a lease: it ends by itself when its holder dies, and whoever was too slow may find another at the same
pushes, which then go out twice under one collapse id.
"""

import logging
from typing import Any, NamedTuple

from plaudit.adapters.cassandra.pushes import SHARDS
from plaudit.adapters.cassandra.session import Session
from plaudit.adapters.cassandra.statements import Statements
from plaudit.domain.errors import OutcomeUnknown
from plaudit.ports.clock import Clock

log = logging.getLogger("plaudit.cassandra")

LEASE_S = 30
ROUND_S = 10.0
MARGIN_S = 5.0  # before the end of a lease it is not relied on any more

SIT = "INSERT INTO $keyspace.push_share (all_, name, owner) VALUES (0, ?, ?) USING TTL ?"
LEAVE = "DELETE FROM $keyspace.push_share WHERE all_ = 0 AND name = ?"
SEATED = "SELECT name, owner FROM $keyspace.push_share WHERE all_ = 0"
TAKE = "UPDATE $keyspace.push_share USING TTL ? SET owner = ? WHERE all_ = 0 AND name = ? IF owner = null"
RENEW = "UPDATE $keyspace.push_share USING TTL ? SET owner = ? WHERE all_ = 0 AND name = ? IF owner = ?"
GIVE = "DELETE owner FROM $keyspace.push_share WHERE all_ = 0 AND name = ? IF owner = ?"


class Wanted(NamedTuple):
    """What a process should have: shards to go on with, to take, and to give back."""

    keep: list[int]
    take: list[int]
    give: list[int]


def fair(owners: dict[int, str], seats: set[str], me: str) -> Wanted:
    """My share of the shards, where `owners` have theirs and all in `seats` want some."""
    mine = sorted(shard for shard, owner in owners.items() if owner == me)
    free = [shard for shard in range(SHARDS) if shard not in owners]
    most = -(-SHARDS // max(1, len(seats | {me})))
    # Who comes second begins elsewhere.
    place = sorted(seats | {me}).index(me) * most
    free.sort(key=lambda shard: (shard - place) % SHARDS)
    return Wanted(mine[:most], free[: max(0, most - len(mine))], mine[most:])


class Shares(Statements):
    """The shares of one process; use as an async context manager inside an open session. `owner`: a name that no other
    process has, not even the next one in the same place."""

    queries = (SIT, LEAVE, SEATED, TAKE, RENEW, GIVE)

    def __init__(self, session: Session, clock: Clock, owner: str) -> None:
        super().__init__(session)
        self._clock = clock
        self._me = owner
        self._held: list[int] = []
        self._leaving: list[int] = []
        self._until_s = float("-inf")
        self._round_s = float("-inf")
        self._sat = False

    async def __aexit__(self, *_: object) -> None:
        """Give everything back, so that nobody waits for the lease to end."""
        if self._sat:
            try:
                await self._write(LEAVE, self._seat)
                await self._change([(GIVE, _name(n), self._me) for n in {*self._held, *self._leaving}])
            except Exception as error:
                log.warning("shares of pushes end by themselves: %s", error)

    async def held(self) -> list[int]:
        """The shards that are mine now. Raises `Unavailable`."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._round_s:
            await self._go_round(now_s)
        return self._held if now_s < self._until_s else []

    async def _go_round(self, now_s: float) -> None:
        self._round_s = now_s + ROUND_S / 10  # after a failure soon again
        self._sat = True
        await self._write(SIT, self._seat, self._me, LEASE_S)
        # What was to be given up has had a round's time for the pushes that were on their way.
        if await self._change([(GIVE, _name(n), self._me) for n in self._leaving]):
            self._leaving = []
        for _ in range(2):  # once more if somebody was quicker
            rows = await self._rows(SEATED)
            owners = {int(name): owner for name, owner in rows if name.isdigit() and owner is not None}
            seats = {owner for name, owner in rows if not name.isdigit() and owner is not None}
            wanted = fair(owners, seats, self._me)
            changes: list[tuple[Any, ...]] = [
                (RENEW, LEASE_S, self._me, _name(n), self._me) for n in [*wanted.keep, *wanted.give]
            ]
            changes += [(TAKE, LEASE_S, self._me, _name(n)) for n in wanted.take]
            if await self._change(changes):
                self._held, self._leaving = sorted([*wanted.keep, *wanted.take]), wanted.give
                self._until_s, self._round_s = now_s + LEASE_S - MARGIN_S, now_s + ROUND_S
                return

    async def _change(self, changes: list[tuple[Any, ...]]) -> bool:
        """Make all of these changes or none; whether they were made."""
        if not changes:
            return True
        try:
            result = await self._commit(self._bound(query, *values) for query, *values in changes)
        except OutcomeUnknown as error:
            log.warning("shares of pushes are looked at again: %s", error)
            return False
        return bool(result.first().as_tuple()[0])

    @property
    def _seat(self) -> str:
        return f"seat {self._me}"


def _name(shard: int) -> str:
    return str(shard)
