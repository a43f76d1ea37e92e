"""Whom owners were told of, in Cassandra: each watch as its last message left it, for a day."""

import logging
from collections.abc import Mapping, Sequence

from plaudit.adapters.cassandra.statements import Statements, all_of
from plaudit.domain.errors import Corrupt
from plaudit.domain.windows import Watch, pack, unpack

log = logging.getLogger("plaudit.cassandra")

TOLD = "SELECT watch FROM $keyspace.told WHERE target = ?"
REMEMBER = "INSERT INTO $keyspace.told (target, watch) VALUES (?, ?)"


class CassandraTold(Statements):
    """See `plaudit.ports.batches.Told`; use as an async context manager inside an open session."""

    queries = (TOLD, REMEMBER)

    async def told(self, targets: Sequence[str]) -> dict[str, Watch]:
        async def of(target: str) -> Watch | None:
            for (watch,) in await self._rows(TOLD, target):
                try:
                    return unpack(watch)
                except Corrupt as error:
                    log.error("whom the owner of %s was told of cannot be read: %s", target, error)
            return None

        targets = list(dict.fromkeys(targets))
        found = zip(targets, await all_of(map(of, targets)), strict=True)
        return {target: watch for target, watch in found if watch is not None}

    async def remember(self, watches: Mapping[str, Watch]) -> None:
        await all_of(self._write(REMEMBER, target, pack(watch)) for target, watch in watches.items())
