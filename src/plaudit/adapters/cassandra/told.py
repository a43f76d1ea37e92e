"""Whom owners were told of, in Cassandra: each watch as its last message left it, for a day."""

import logging
from collections.abc import Mapping, Sequence

from plaudit.adapters.cassandra.statements import Statements
from plaudit.domain.errors import Corrupt
from plaudit.domain.watch import Watch, pack, unpack

log = logging.getLogger("plaudit.cassandra")

TOLD = "SELECT target, watch FROM $keyspace.told WHERE target IN ?"
FORGET = "DELETE FROM $keyspace.told WHERE target = ?"
REMEMBER = "INSERT INTO $keyspace.told (target, watch) VALUES (?, ?)"


class CassandraTold(Statements):
    """See `plaudit.ports.batches.Told`; use as an async context manager inside an open session."""

    queries = (TOLD, REMEMBER, FORGET)

    async def told(self, targets: Sequence[str]) -> dict[str, Watch]:
        found = dict[str, Watch]()
        for target, watch in await self._of_all(TOLD, targets):
            try:
                found[target] = unpack(watch)
            except Corrupt as error:
                log.error("whom the owner of %s was told of cannot be read: %s", target, error)
        return found

    async def remember(self, watches: Mapping[str, Watch]) -> None:
        await self._write_all((REMEMBER, target, pack(watch)) for target, watch in watches.items())

    async def forget(self, target: str) -> None:
        """The target was deleted. Idempotent. Raises `Unavailable` and `OutcomeUnknown`."""
        await self._write(FORGET, target)
