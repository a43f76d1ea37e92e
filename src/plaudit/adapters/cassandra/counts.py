"""Flushed totals in Cassandra: table `reaction_counts`, written USING TIMESTAMP = version."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Self

from plaudit.adapters.cassandra.session import Session
from plaudit.domain.cell import Header
from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.ports.flushed import Touched
from plaudit.ports.ledger import Target

AT_ONCE = 64

PUT = """
INSERT INTO $keyspace.reaction_counts (target, type, counts, total, rows, version, last_at)
VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?
"""
TOUCHED = """
SELECT token(target), target, version, last_at FROM $keyspace.reaction_counts
WHERE token(target) > ? AND token(target) <= ? LIMIT ?
"""
GET = "SELECT type, counts, rows, version FROM $keyspace.reaction_counts WHERE target = ?"


class CassandraCounts:
    """See `plaudit.ports.flushed` (both); use as an async context manager inside an open session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._put: Any = None
        self._get: Any = None
        self._touched: Any = None
        self._room = asyncio.Semaphore(AT_ONCE)

    async def __aenter__(self) -> Self:
        """Prepare every statement. Raises `Unavailable`, also where the schema is not there."""
        self._put = await self._session.prepare(PUT)
        self._get = await self._session.prepare(GET)
        self._touched = await self._session.prepare(TOUCHED)
        return self

    async def __aexit__(self, *_: object) -> None:
        """The session is closed by whoever opened it."""

    async def get(self, ids: Sequence[str]) -> dict[str, Target]:
        ids = list(dict.fromkeys(ids))
        found = await asyncio.gather(*map(self._read, ids))
        return {target: state for target, state in zip(ids, found, strict=True) if state is not None}

    async def put(self, states: Mapping[str, Target]) -> None:
        writes = [
            self._write(target, state.header)
            for target, state in states.items()
            if state.header is not None and state.header.seq  # a timestamp of 0 is none
        ]
        for result in await asyncio.gather(*writes, return_exceptions=True):
            if isinstance(result, OutcomeUnknown):
                raise Unavailable("some totals may not be written; write them again") from result
            if isinstance(result, BaseException):
                raise result

    async def touched(self, above: int, upto: int, limit: int) -> list[tuple[int, Touched]]:
        async with self._room:
            result = await self._session.read(self._touched.bind([above, upto, limit]))
        lines = (row.as_tuple() for row in result.all())
        return [(token, Touched(target, version or 0, at or 0)) for token, target, version, at in lines]

    async def _read(self, target: str) -> Target | None:
        async with self._room:
            result = await self._session.read(self._get.bind([target]))
        for row in result.all():
            type_name, counts, rows, version = row.as_tuple()
            return Target(Header(version or 0, type_name or "", tuple(counts or ()), rows or 0))
        return None

    async def _write(self, target: str, header: Header) -> None:
        values = [target, header.type, list(header.counts), header.total, header.rows, header.seq]
        async with self._room:
            await self._session.write(self._put.bind([*values, header.last_at, header.seq]))
