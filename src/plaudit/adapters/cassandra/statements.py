"""Prepared statements by their text: what every adapter of a few tables needs."""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from typing import Any, Self, TypeVar

from plaudit.adapters.cassandra.session import Session

T = TypeVar("T")

AT_ONCE = 64
# Partitions that one statement reads, or a batch writes: a tenth of what a request for each costs here, and half of it
# in Cassandra. With more, Cassandra warns of a batch, and of one with more bytes, unless it is of one partition.
PARTITIONS = 10
BATCH_BYTES = 4_096

Write = tuple[Any, ...]
"""A statement's query and its values."""


class Statements:
    """An adapter's statements; base of async context managers that live inside an open session. At most `AT_ONCE` of
    them are under way together."""

    queries: Sequence[str] = ()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._prepared: dict[str, Any] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    async def __aenter__(self) -> Self:
        """Prepare every statement. Raises `Unavailable`, also where the schema is not there."""
        for query in self.queries:
            self._prepared[query] = await self._session.prepare(query)
        return self

    async def __aexit__(self, *_: object) -> None:
        """The session is closed by whoever opened it."""

    async def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        async with self._room:
            result = await self._session.read(self._bound(query, *values))
        return [row.as_tuple() for row in result.all()]

    async def _write(self, query: str, *values: Any) -> None:
        async with self._room:
            await self._session.write(self._bound(query, *values))

    async def _of_all(self, query: str, keys: Iterable[Any]) -> list[tuple[Any, ...]]:
        """The rows of all these partitions, in no order; `query` has one mark, after IN."""
        found = await all_of(self._rows(query, some) for some in tens(keys))
        return [row for rows in found for row in rows]

    async def _write_all(self, writes: Iterable[Write]) -> None:
        """Make plain writes of any partitions: together, in no order. Of those that fail some may be there."""
        await self._write_groups([write] for write in writes)

    async def _write_groups(self, groups: Iterable[Sequence[Write]]) -> None:
        """The same, of writes to one partition each: to Cassandra, which takes a partition for a thing to do, they are
        one. All of a group are there, or none."""
        await all_of(map(self._written, _batches(groups)))

    async def _written(self, writes: Sequence[Write]) -> None:
        if len(writes) == 1:
            await self._write(*writes[0])
        else:
            await self._commit(self._bound(*write) for write in writes)

    async def _commit(self, statements: Iterable[Any]) -> Any:
        """One batch, with one timestamp."""
        async with self._room:
            return await self._session.commit(list(statements))

    def _bound(self, query: str, *values: Any) -> Any:
        return self._prepared[query].bind(list(values))


async def all_of(work: Iterable[Awaitable[T]]) -> list[T]:
    """All results, once all have ended: nothing goes on behind the back of who has been told of an error."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


def tens(keys: Iterable[T]) -> Iterator[list[T]]:
    """Different ones of these keys, so many at a time as one statement reads."""
    unique = list(dict.fromkeys(keys))
    for start in range(0, len(unique), PARTITIONS):
        yield unique[start : start + PARTITIONS]


def _batches(groups: Iterable[Sequence[Write]]) -> Iterator[list[Write]]:
    """The writes in batches: of few partitions and few bytes, or of one group alone."""
    batch, partitions, bytes_ = list[Write](), 0, 0
    for group in groups:
        size = sum(
            len(value) if isinstance(value, str | bytes) else 8 for write in group for value in write[1:]
        )
        if batch and (partitions == PARTITIONS or bytes_ + size > BATCH_BYTES):
            yield batch
            batch, partitions, bytes_ = [], 0, 0
        batch += group
        partitions += 1
        bytes_ += size
    if batch:
        yield batch
