"""Profiles and the marks of erased users in Cassandra: plain writes, one partition a user."""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

from plaudit.adapters.cassandra.packed import pack_profile, unpack_profile
from plaudit.adapters.cassandra.session import Session
from plaudit.adapters.cassandra.statements import Statements
from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.ports.clock import Clock
from plaudit.ports.directory import Profile

PAGE = 5_000
SLICE_S = 3600
# A profile that is being put while its user is marked goes by a clock that may be ahead of ours.
AHEAD_US = 60_000_000

PUT = "UPDATE $keyspace.profile USING TIMESTAMP ? SET profile = ? WHERE user = ?"
GET = "SELECT user, profile FROM $keyspace.profile WHERE user IN ?"
DROP = "DELETE FROM $keyspace.profile USING TIMESTAMP ? WHERE user = ?"
MARK = "INSERT INTO $keyspace.erased_user (user, erased_at, elsewhere_at) VALUES (?, ?, ?)"
MARKED = "SELECT erased_at FROM $keyspace.erased_user WHERE user = ?"
WALK = "SELECT user, profile FROM $keyspace.profile"
WALK_MARKS = "SELECT user, erased_at, elsewhere_at FROM $keyspace.erased_user"
NOTE = "INSERT INTO $keyspace.erased_lately (slice, at, user) VALUES (?, ?, ?)"
SINCE = "SELECT user FROM $keyspace.erased_lately WHERE slice = ? AND at >= ?"


class CassandraUsers(Statements):
    """See `plaudit.ports.users` (`Profiles` and `Marks`); use as an async context manager inside an open session."""

    queries = (PUT, GET, DROP, MARK, MARKED, WALK, WALK_MARKS, NOTE, SINCE)

    def __init__(self, session: Session, clock: Clock) -> None:
        super().__init__(session)
        self._clock = clock

    async def put(self, user: str, profile: Profile, at: int) -> None:
        await self._write(PUT, at, pack_profile(profile), user)

    async def get(self, users: Collection[str]) -> dict[str, Profile]:
        profiles = {user: unpack_profile(profile) for user, profile in await self._of_all(GET, users)}
        return {user: profile for user, profile in profiles.items() if profile is not None}

    async def walk(self) -> AsyncIterator[dict[str, Profile]]:
        async for lines in self._pages(WALK):
            found = {user: unpack_profile(profile) for user, profile in lines}
            yield {user: profile for user, profile in found.items() if profile is not None}

    async def mark(self, user: str, erased_at: int | None = None) -> None:
        at = self._clock.now_us()
        await self._write(NOTE, at // 1_000_000 // SLICE_S, at, user)
        try:
            await self._write(DROP, at + AHEAD_US, user)
            # Last, so that whoever finds the mark knows that the note was there by then.
            if await self.marked_at(user) is None:
                await self._write(MARK, user, self._clock.now_us(), erased_at)
        except Unavailable as error:
            raise OutcomeUnknown("the user is marked in part") from error

    async def marked_at(self, user: str) -> int | None:
        lines = await self._rows(MARKED, user)
        return int(lines[0][0]) if lines else None

    async def walk_marks(self) -> AsyncIterator[dict[str, int]]:
        async for lines in self._pages(WALK_MARKS):
            yield {user: elsewhere_at or erased_at for user, erased_at, elsewhere_at in lines}

    async def since(self, at: int) -> list[str]:
        first, last = at // 1_000_000 // SLICE_S, self._clock.now_us() // 1_000_000 // SLICE_S
        # One more: the clock of whoever marked may be ahead.
        slices = await asyncio.gather(*(self._rows(SINCE, slice_, at) for slice_ in range(first, last + 2)))
        return [user for lines in slices for (user,) in lines]

    async def _pages(self, query: str) -> AsyncIterator[list[tuple[Any, ...]]]:
        state: bytes | None = None
        while True:
            statement = self._prepared[query].bind([], page_size=PAGE, page_state=state)
            result = await self._session.read(statement)
            yield [row.as_tuple() for row in result.all()]
            if not result.has_more_pages():
                return
            state = result.page_state()
