"""Prepared statements by their text: what every adapter of a few tables needs."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, Self, TypeVar

from plaudit.adapters.cassandra.session import Session

T = TypeVar("T")

AT_ONCE = 64


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
