"""What is read from Cassandra without Redis, and the lists derived from the events.

Derived entries are written USING TIMESTAMP = the ledger row's `updated_at`: of two writes to one entry the one with the
newer timestamp wins, whichever came first, and of an insert and a delete at the same timestamp the delete. The ledger
never makes both for one entry at one time: a user has at most one transition per commit.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, Self, TypeVar

from plaudit.adapters.cassandra.packed import unpack_header, unpack_registration
from plaudit.adapters.cassandra.session import Session
from plaudit.domain.catalogue import MAX_CODE, NONE
from plaudit.domain.cell import Transition
from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.domain.events import Committed
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Entry

T = TypeVar("T")

AT_ONCE = 64
NEWEST = (2**63 - 1, "")

ADD_REACTOR = """
INSERT INTO $keyspace.reactors (target, bucket, reaction, created_at, user) VALUES (?, 0, ?, ?, ?) USING TIMESTAMP ?
"""
DROP_REACTOR = """
DELETE FROM $keyspace.reactors USING TIMESTAMP ?
WHERE target = ? AND bucket = 0 AND reaction = ? AND created_at = ? AND user = ?
"""
REACTORS = """
SELECT user, created_at FROM $keyspace.reactors
WHERE target = ? AND bucket = 0 AND reaction = ? AND (created_at, user) < (?, ?) LIMIT ?
"""
ADD_REACTED = """
INSERT INTO $keyspace.reactions_by_user (user, created_at, target, reaction) VALUES (?, ?, ?, ?) USING TIMESTAMP ?
"""
DROP_REACTED = """
DELETE FROM $keyspace.reactions_by_user USING TIMESTAMP ? WHERE user = ? AND created_at = ? AND target = ?
"""
REACTED = """
SELECT target, reaction, created_at FROM $keyspace.reactions_by_user
WHERE user = ? AND (created_at, target) < (?, ?) LIMIT ?
"""
MINE = "SELECT reaction FROM $keyspace.cell WHERE target = ? AND bucket = 0 AND user = ?"
MINE_OF_MANY = "SELECT user, reaction FROM $keyspace.cell WHERE target = ? AND bucket = 0 AND user IN ?"
TARGET = "SELECT seq, lanes, header, registration FROM $keyspace.cell WHERE target = ? AND bucket = 0 AND user = ''"


class CassandraLists:
    """See `plaudit.ports.lists` (all four) and `plaudit.ports.index.Index`; use as an async context manager.

    Lists are of targets that are not split: bucket 0.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._prepared: dict[str, Any] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    async def __aenter__(self) -> Self:
        """Prepare every statement. Raises `Unavailable`, also where the schema is not there."""
        for query in (
            ADD_REACTOR,
            DROP_REACTOR,
            REACTORS,
            ADD_REACTED,
            DROP_REACTED,
            REACTED,
            MINE,
            MINE_OF_MANY,
            TARGET,
        ):
            self._prepared[query] = await self._session.prepare(query)
        return self

    async def __aexit__(self, *_: object) -> None:
        """The session is closed by whoever opened it."""

    async def apply(self, events: Iterable[Committed]) -> None:
        writes = [write for event in events for t in event.transitions for write in _writes(event.target, t)]
        # Return only when all have ended: nobody is to apply newer events beside these.
        results = await asyncio.gather(*(self._write(*write) for write in writes), return_exceptions=True)
        for result in results:
            if isinstance(result, OutcomeUnknown):
                raise Unavailable("some entries may not be written; apply the events again") from result
            if isinstance(result, BaseException):
                raise result

    async def reactors(
        self, target: str, reactions: Sequence[int], before: tuple[int, str] | None, limit: int
    ) -> list[Entry]:
        async def of(reaction: int) -> list[Entry]:
            lines = await self._rows(REACTORS, target, reaction, *(before or NEWEST), limit)
            return [Entry(user, reaction, created_at) for user, created_at in lines]

        pages = await _all(map(of, dict.fromkeys(reactions)))
        # Who is switching may stand in two lists for a moment, at the same place in both.
        found = {(entry.created_at, entry.key): entry for page in pages for entry in page}
        return [found[place] for place in sorted(found, reverse=True)[:limit]]

    async def reacted(self, user: str, before: tuple[int, str] | None, limit: int) -> list[Entry]:
        lines = await self._rows(REACTED, user, *(before or NEWEST), limit)
        return [Entry(target, reaction, created_at) for target, reaction, created_at in lines]

    async def mine(self, user: str, targets: Sequence[str]) -> dict[str, int]:
        async def on(target: str) -> int:
            lines = await self._rows(MINE, target, user)
            return lines[0][0] or NONE if lines else NONE

        targets = list(dict.fromkeys(targets))
        found = zip(targets, await _all(map(on, targets)), strict=True)
        return {target: reaction for target, reaction in found if reaction}

    async def reactions(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        async def on(target: str, users: list[str]) -> list[tuple[tuple[str, str], int]]:
            lines = await self._rows(MINE_OF_MANY, target, users)
            return [((target, user), reaction) for user, reaction in lines if reaction]

        by_target: dict[str, list[str]] = {}
        for target, user in dict.fromkeys(pairs):
            by_target.setdefault(target, []).append(user)
        found = await _all(on(target, users) for target, users in by_target.items())
        return dict(line for lines in found for line in lines)

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        async def one(target: str) -> Target | None:
            for seq, lanes, header, registration in await self._rows(TARGET, target):
                return Target(
                    unpack_header(header or b"", seq or 0, lanes), unpack_registration(registration)
                )
            return None

        ids = list(dict.fromkeys(ids))
        found = zip(ids, await _all(map(one, ids)), strict=True)
        return {target: state for target, state in found if state is not None}

    async def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        async with self._room:
            result = await self._session.read(self._prepared[query].bind(list(values)))
        return [row.as_tuple() for row in result.all()]

    async def _write(self, query: str, *values: Any) -> None:
        async with self._room:
            await self._session.write(self._prepared[query].bind(list(values)))


def _writes(target: str, t: Transition) -> list[tuple[Any, ...]]:
    """The writes of one transition: the entry that is, and no other. Where the one before is not known, all others."""
    others = range(1, MAX_CODE + 1) if t.before is None else (t.before,)
    writes: list[tuple[Any, ...]] = [
        (DROP_REACTOR, t.at, target, code, t.created_at, t.user)
        for code in others
        if code not in (NONE, t.after)
    ]
    if t.after:
        writes.append((ADD_REACTOR, target, t.after, t.created_at, t.user, t.at))
        writes.append((ADD_REACTED, t.user, t.created_at, target, t.after, t.at))
    else:
        writes.append((DROP_REACTED, t.at, t.user, t.created_at, target))
    return writes


async def _all(work: Iterable[Awaitable[T]]) -> list[T]:
    return list(await asyncio.gather(*work))
