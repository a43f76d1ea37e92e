"""The cell store in Cassandra: one partition per cell, one conditional batch per commit.

The condition is `seq` (null: there is nothing yet) and `lanes` (null: not split), both of the header's row, so that a
commit proves all that it was made from. Of cells that are not split neither `lanes` nor `base` is ever written.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Self

from plaudit.adapters.cassandra.packed import (
    pack_header,
    pack_registration,
    unpack_header,
    unpack_registration,
)
from plaudit.adapters.cassandra.session import SERIAL, Session
from plaudit.adapters.cassandra.statements import Statements
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Row
from plaudit.domain.errors import Corrupt
from plaudit.ports.cells import CellKey, CellState, Proposal

HEADER = ""  # the header's place among the users

READ = """
SELECT user, seq, lanes, header, registration, reaction, created_at, updated_at, ops, base FROM $keyspace.cell
WHERE target = ? AND bucket = ? AND user IN ?
"""
WRITTEN = "SELECT target FROM $keyspace.cell WHERE target IN ? AND bucket = 0 AND user = ''"
COMMIT = """
UPDATE $keyspace.cell SET seq = ?, header = ? WHERE target = ? AND bucket = ? AND user = '' IF seq = ? AND lanes = ?
"""
COMMIT_LANES = """
UPDATE $keyspace.cell SET seq = ?, header = ?, lanes = ? WHERE target = ? AND bucket = ? AND user = ''
IF seq = ? AND lanes = ?
"""
PAGE = """
SELECT user, reaction, created_at, updated_at, ops, base FROM $keyspace.cell
WHERE target = ? AND bucket = ? AND user > ? LIMIT ?
"""
REMOVE_ROW = "DELETE FROM $keyspace.cell WHERE target = ? AND bucket = ? AND user = ?"
# One tombstone however many rows, and each step's covers that of the step before. Never the header: its user is ''.
REMOVE_THROUGH = "DELETE FROM $keyspace.cell WHERE target = ? AND bucket = ? AND user > '' AND user <= ?"
REGISTER = "UPDATE $keyspace.cell SET registration = ? WHERE target = ? AND bucket = ? AND user = ''"
WRITE_ROW = """
UPDATE $keyspace.cell SET reaction = ?, created_at = ?, updated_at = ?, ops = ?
WHERE target = ? AND bucket = ? AND user = ?
"""
WRITE_LANE_ROW = """
UPDATE $keyspace.cell SET reaction = ?, created_at = ?, updated_at = ?, ops = ?, base = ?
WHERE target = ? AND bucket = ? AND user = ?
"""


class CassandraCells(Statements):
    """See `plaudit.ports.cells` (all three of it); use as an async context manager inside an open session.

    Commits, and what is read for them, wait for no room: a target's taps do not queue behind those of 64 others.
    """

    queries = (
        *(READ, WRITTEN, COMMIT, COMMIT_LANES, WRITE_ROW, WRITE_LANE_ROW),
        *(REGISTER, REMOVE_ROW, REMOVE_THROUGH, PAGE),
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._settle: Any = None

    async def __aenter__(self) -> Self:
        """Prepare every statement. Raises `Unavailable`, also where the schema is not there."""
        await super().__aenter__()
        self._settle = await self._session.prepare(READ, SERIAL)
        return self

    async def read(self, key: CellKey, users: Iterable[str]) -> CellState:
        return await self._state(self._prepared[READ], key, users)

    async def settle(self, key: CellKey, users: Iterable[str]) -> CellState:
        return await self._state(self._settle, key, users)

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        target, bucket = key
        bind, write_row = self._bound, self._prepared[WRITE_ROW].bind
        statements = [
            self._header(key, proposal),
            *(
                write_row([row.reaction, row.created_at, row.updated_at, row.ops, target, bucket, user])
                if row.base is None
                else bind(
                    WRITE_LANE_ROW,
                    *(row.reaction, row.created_at, row.updated_at, row.ops, row.base, target, bucket, user),
                )
                for user, row in proposal.rows.items()
            ),
            *(bind(REMOVE_ROW, target, bucket, user) for user in proposal.gone),
        ]
        if proposal.gone_through:
            statements.append(bind(REMOVE_THROUGH, target, bucket, proposal.gone_through))
        if proposal.registration is not None:
            statements.append(bind(REGISTER, pack_registration(proposal.registration), target, bucket))
        elif proposal.unregister:
            statements.append(bind(REGISTER, None, target, bucket))
        result = await self._session.commit(statements)
        # The first column is [applied]; of a refusal, which may name several rows, every row says the same.
        return bool(result.first().as_tuple()[0])

    def _header(self, key: CellKey, proposal: Proposal) -> Any:
        """The statement with the condition."""
        header, lanes = proposal.header, proposal.lanes
        condition = (proposal.seq or None, lanes if lanes > 1 else None)
        if header.lanes == lanes:
            return self._bound(COMMIT, header.seq, pack_header(header), *key, *condition)
        return self._bound(COMMIT_LANES, header.seq, pack_header(header), header.lanes, *key, *condition)

    async def page(self, key: CellKey, after: str, limit: int) -> dict[str, Row]:
        lines = await self._rows(PAGE, key.target, key.bucket, after, limit)
        return {user: _row(key, *values) for user, *values in lines}

    async def unwritten(self, targets: Sequence[str]) -> set[str]:
        return set(targets).difference(target for (target,) in await self._rows(WRITTEN, list(targets)))

    async def _state(self, statement: Any, key: CellKey, users: Iterable[str]) -> CellState:
        result = await self._session.read(statement.bind([key.target, key.bucket, [HEADER, *users]]))
        header: Header | None = None
        registration: Registration | None = None
        rows: dict[str, Row] = {}
        for line in result.all():
            user, seq, lanes, packed, registered, *values = line.as_tuple()
            if user == HEADER:
                header = unpack_header(packed or b"", seq or 0, lanes)
                registration = unpack_registration(registered)
            else:
                rows[user] = _row(key, *values)
        if rows and header is None:
            raise Corrupt(f"rows without a header in cell {key}")
        return CellState(header, registration, rows)


def _row(
    key: CellKey,
    reaction: int | None,
    created_at: int | None,
    updated_at: int | None,
    ops: bytes | None,
    base: int | None,
) -> Row:
    if reaction is None or created_at is None or updated_at is None:
        raise Corrupt(f"half a row in cell {key}")
    return Row(reaction, created_at, updated_at, ops or b"", base)
