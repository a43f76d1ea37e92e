"""Going through the tables by token, and entry by entry: what auditing and rebuilding need of Cassandra."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from plaudit.adapters.cassandra.cells import HEADER
from plaudit.adapters.cassandra.index import DROP_REACTED, DROP_REACTOR, LIST_BUCKETS
from plaudit.adapters.cassandra.lists import NEWEST
from plaudit.adapters.cassandra.packed import unpack_header, unpack_registration
from plaudit.adapters.cassandra.statements import Statements, all_of
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Row
from plaudit.domain.errors import Corrupt, OutcomeUnknown, Unavailable
from plaudit.ports.cells import CellKey
from plaudit.ports.sweep import CellPage, Indexed, Listed

PER_READ = 5_000

# Two partitions of one token that a page ends between would hide one of them: once in 10^11 pages of 10^9 targets.
CELLS = """
SELECT DISTINCT token(target, bucket), target, bucket FROM $keyspace.cell
WHERE token(target, bucket) > ? AND token(target, bucket) <= ? LIMIT ?
"""
USERS = """
SELECT DISTINCT token(user), user FROM $keyspace.reactions_by_user WHERE token(user) > ? AND token(user) <= ? LIMIT ?
"""
# The empty user is the header and comes first, so that it is on the first page.
FROM_HEADER = """
SELECT user, seq, lanes, header, registration, reaction, created_at, updated_at, base, writetime(header)
FROM $keyspace.cell WHERE target = ? AND bucket = ? LIMIT ?
"""
AFTER = """
SELECT user, seq, lanes, header, registration, reaction, created_at, updated_at, base, writetime(header)
FROM $keyspace.cell WHERE target = ? AND bucket = ? AND user > ? LIMIT ?
"""
LISTED = """
SELECT user, created_at FROM $keyspace.reactors
WHERE target = ? AND bucket = ? AND reaction = ? AND (created_at, user) < (?, ?) LIMIT ?
"""
INDEXED = """
SELECT reaction, writetime(reaction) FROM $keyspace.reactions_by_user WHERE user = ? AND created_at = ? AND target = ?
"""
OF_USER = """
SELECT target, reaction, created_at, writetime(reaction) FROM $keyspace.reactions_by_user
WHERE user = ? AND (created_at, target) < (?, ?) LIMIT ?
"""
REACHED = "SELECT arc, place FROM $keyspace.sweep_place WHERE task = ?"
REACH = "INSERT INTO $keyspace.sweep_place (task, arc, place) VALUES (?, ?, ?)"
RESTART = "DELETE FROM $keyspace.sweep_place WHERE task = ?"

DERIVED = ("reactors", "reactions_by_user", "reaction_counts")


class CassandraSweep(Statements):
    """See `plaudit.ports.sweep` (all of it); use as an async context manager inside an open session."""

    queries = (
        *(CELLS, USERS, FROM_HEADER, AFTER, LISTED, INDEXED, OF_USER),
        *(DROP_REACTOR, DROP_REACTED, REACHED, REACH, RESTART),
    )

    async def cells(self, above: int, upto: int, limit: int) -> list[tuple[int, CellKey]]:
        lines = await self._rows(CELLS, above, upto, limit)
        return [(token, CellKey(target, bucket)) for token, target, bucket in lines]

    async def users(self, above: int, upto: int, limit: int) -> list[tuple[int, str]]:
        return [(token, user) for token, user in await self._rows(USERS, above, upto, limit)]

    async def page(self, key: CellKey, after: str | None, limit: int) -> CellPage:
        if after is None:
            lines = await self._rows(FROM_HEADER, key.target, key.bucket, limit + 1)
        else:
            lines = await self._rows(AFTER, key.target, key.bucket, after, limit)
        header: Header | None = None
        registration: Registration | None = None
        changed_at = 0
        rows: dict[str, Row] = {}
        for user, seq, lanes, packed, registered, *values, base, written_at in lines:
            reaction, created_at, updated_at = values
            if user == HEADER:
                header = unpack_header(packed or b"", seq or 0, lanes)
                registration, changed_at = unpack_registration(registered), written_at or 0
            elif reaction is None or created_at is None or updated_at is None:
                raise Corrupt(f"half a row in cell {key}")
            else:
                rows[user] = Row(reaction, created_at, updated_at, base=base)
        if after is None and rows and header is None:
            raise Corrupt(f"rows without a header in cell {key}")
        full = len(lines) == (limit + 1 if after is None else limit)
        return CellPage(header, registration, changed_at, rows, not full)

    async def reached(self, task: str) -> dict[int, int]:
        return dict(await self._rows(REACHED, task))

    async def reach(self, task: str, arc: int, token: int) -> None:
        await self._write(REACH, task, arc, token)

    async def restart(self, task: str) -> None:
        await self._write(RESTART, task)

    async def listed(
        self, target: str, reactions: Sequence[int], limit: int, *, split: bool = False
    ) -> list[Listed]:
        async def of(bucket: int, reaction: int) -> list[Listed]:
            found: list[Listed] = []
            before = NEWEST
            while len(found) < limit:
                some = min(PER_READ, limit - len(found))
                lines = await self._rows(LISTED, target, bucket, reaction, *before, some)
                found += [Listed(user, reaction, created_at) for user, created_at in lines]
                if len(lines) < some:
                    break
                before = found[-1].created_at, found[-1].user
            return found

        places = product(range(LIST_BUCKETS + 1 if split else 1), reactions)
        return [entry for page in await all_of(of(*place) for place in places) for entry in page]

    async def indexed(self, target: str, places: Mapping[str, int]) -> dict[str, Indexed]:
        async def one(user: str, created_at: int) -> Indexed | None:
            for reaction, written_at in await self._rows(INDEXED, user, created_at, target):
                return Indexed(target, reaction or 0, created_at, written_at or 0)
            return None

        found = await all_of(one(*place) for place in places.items())
        return {user: entry for user, entry in zip(places, found, strict=True) if entry is not None}

    async def of_user(self, user: str, before: tuple[int, str] | None, limit: int) -> list[Indexed]:
        lines = await self._rows(OF_USER, user, *(before or NEWEST), limit)
        return [
            Indexed(target, reaction or 0, created_at, written_at or 0)
            for target, reaction, created_at, written_at in lines
        ]

    async def unlist(self, target: str, entries: Sequence[Listed], at: int, *, split: bool = False) -> None:
        await self._delete(
            (DROP_REACTOR, at, target, bucket, entry.reaction, entry.created_at, entry.user)
            for entry in entries
            for bucket in range(LIST_BUCKETS + 1 if split else 1)
        )

    async def unindex(self, user: str, entries: Sequence[Indexed]) -> None:
        await self._delete(
            (DROP_REACTED, entry.written_at, user, entry.created_at, entry.target) for entry in entries
        )

    async def empty(self) -> None:
        for table in DERIVED:
            await self._session.change_schema(f"TRUNCATE {self._session.config.keyspace}.{table}")

    async def _delete(self, deletes: Iterable[tuple[Any, ...]]) -> None:
        try:
            await all_of(self._write(*delete) for delete in deletes)
        except OutcomeUnknown as error:
            raise Unavailable("some entries may not be deleted; delete them again") from error
