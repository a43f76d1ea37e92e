"""Whom owners were told of, in Cassandra: each watch as its last message left it, for a day. It is written with the
message, by the inbox."""

import logging
import time
from collections.abc import Collection, Mapping
from typing import Any, Self

from plaudit.adapters.cassandra.session import Session
from plaudit.adapters.cassandra.statements import Statements, all_of, tens
from plaudit.domain.errors import Corrupt
from plaudit.domain.watch import Watch, unpack

log = logging.getLogger("plaudit.cassandra")

TOLD = "SELECT owner, target, watch FROM $keyspace.told_of WHERE owner IN ? AND target IN ?"
FORGET = "DELETE FROM $keyspace.told_of WHERE owner = ? AND target = ?"
REMEMBER = "INSERT INTO $keyspace.told_of (owner, target, watch) VALUES (?, ?, ?)"

# What was told before migration 12 is kept by target, and ends within a day of it.
TOLD_BEFORE = "SELECT target, watch FROM $keyspace.told WHERE target IN ?"
FORGET_BEFORE = "DELETE FROM $keyspace.told WHERE target = ?"
MIGRATIONS = "SELECT version, toUnixTimestamp(applied_at), toUnixTimestamp(now()) FROM $keyspace.migration"
FIRST, MOVED = 7, 12
AT_ONCE_MS = (
    600_000  # migrations so near to each other are of one run, and nobody was told anything in between
)
BEFORE_FOR_MS = 25 * 3_600_000


class CassandraTold(Statements):
    """See `plaudit.ports.batches.Told`; use as an async context manager inside an open session."""

    queries = (TOLD, FORGET, TOLD_BEFORE, FORGET_BEFORE, MIGRATIONS)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._before_until_s = float("-inf")  # on the monotonic clock

    async def __aenter__(self) -> Self:
        """Raises `Unavailable`."""
        await super().__aenter__()
        rows = await self._rows(MIGRATIONS)
        applied, now = {version: at for version, at, _ in rows}, max((now for _, _, now in rows), default=0)
        moved = applied.get(MOVED, now)  # or it is being applied
        if moved - applied.get(FIRST, moved) > AT_ONCE_MS:
            self._before_until_s = time.monotonic() + (moved + BEFORE_FOR_MS - now) / 1000
        return self

    async def told(self, owners: Mapping[str, str]) -> dict[str, Watch]:
        found = dict[str, Watch]()
        if self._before:
            found |= dict(_unpacked(await self._of_all(TOLD_BEFORE, owners)))
        lots = await all_of(
            self._rows(TOLD, list({owners[target] for target in some}), some) for some in tens(owners)
        )
        its = [(target, watch) for rows in lots for owner, target, watch in rows if owners[target] == owner]
        for target, watch in _unpacked(its):
            if target not in found or found[target].message_at <= watch.message_at:
                found[target] = watch
        return found

    async def forget(self, target: str, owners: Collection[str]) -> None:
        """The target was deleted; these were its owners. Idempotent. Raises `Unavailable` and `OutcomeUnknown`."""
        if self._before:
            await self._write(FORGET_BEFORE, target)
        await self._write_all((FORGET, owner, target) for owner in owners)

    @property
    def _before(self) -> bool:
        return time.monotonic() < self._before_until_s


def _unpacked(rows: list[tuple[Any, ...]]) -> list[tuple[str, Watch]]:
    found = list[tuple[str, Watch]]()
    for target, watch in rows:
        try:
            found.append((target, unpack(watch)))
        except Corrupt as error:
            log.error("whom the owner of %s was told of cannot be read: %s", target, error)
    return found
