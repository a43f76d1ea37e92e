"""Flushed totals in Cassandra: table `reaction_counts`, written USING TIMESTAMP = version."""

import asyncio
from collections.abc import Mapping, Sequence

from plaudit.adapters.cassandra.statements import Statements
from plaudit.domain.cell import Header
from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.ports.flushed import Touched
from plaudit.ports.ledger import Target

PUT = """
INSERT INTO $keyspace.reaction_counts (target, type, counts, total, rows, version, last_at)
VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?
"""
TOUCHED = """
SELECT token(target), target, version, last_at FROM $keyspace.reaction_counts
WHERE token(target) > ? AND token(target) <= ? LIMIT ?
"""
GET = "SELECT type, counts, rows, version FROM $keyspace.reaction_counts WHERE target = ?"


class CassandraCounts(Statements):
    """See `plaudit.ports.flushed` (both); use as an async context manager inside an open session."""

    queries = (PUT, TOUCHED, GET)

    async def get(self, ids: Sequence[str]) -> dict[str, Target]:
        ids = list(dict.fromkeys(ids))
        found = await asyncio.gather(*map(self._read, ids))
        return {target: state for target, state in zip(ids, found, strict=True) if state is not None}

    async def put(self, states: Mapping[str, Target]) -> None:
        writes = [
            self._put(target, state.header)
            for target, state in states.items()
            if state.header is not None and state.header.seq  # a timestamp of 0 is none
        ]
        for result in await asyncio.gather(*writes, return_exceptions=True):
            if isinstance(result, OutcomeUnknown):
                raise Unavailable("some totals may not be written; write them again") from result
            if isinstance(result, BaseException):
                raise result

    async def touched(self, above: int, upto: int, limit: int) -> list[tuple[int, Touched]]:
        lines = await self._rows(TOUCHED, above, upto, limit)
        return [(token, Touched(target, version or 0, at or 0)) for token, target, version, at in lines]

    async def _read(self, target: str) -> Target | None:
        for type_name, counts, rows, version in await self._rows(GET, target):
            return Target(Header(version or 0, type_name or "", tuple(counts or ()), rows or 0))
        return None

    async def _put(self, target: str, header: Header) -> None:
        values = [target, header.type, list(header.counts), header.total, header.rows, header.seq]
        await self._write(PUT, *values, header.last_at, header.seq)
