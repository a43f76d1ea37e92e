"""The cell store in Cassandra: one partition per cell, one conditional batch per commit.

The condition is `seq` (null: there is nothing yet) and `lanes` (null: not split), both of the header's row, so that a
commit proves all that it was made from.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Self

from plaudit.adapters.cassandra.packed import (
    pack_header,
    pack_registration,
    unpack_header,
    unpack_registration,
)
from plaudit.adapters.cassandra.session import SERIAL, Session
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Row
from plaudit.domain.errors import Corrupt
from plaudit.ports.cells import CellKey, CellState, Proposal

HEADER = ""  # the header's place among the users

READ = """
SELECT user, seq, lanes, header, registration, reaction, created_at, updated_at, ops FROM $keyspace.cell
WHERE target = ? AND bucket = ? AND user IN ?
"""
COMMIT = """
UPDATE $keyspace.cell SET seq = ?, header = ? WHERE target = ? AND bucket = ? AND user = '' IF seq = ? AND lanes = null
"""
REGISTER = "UPDATE $keyspace.cell SET registration = ? WHERE target = ? AND bucket = ? AND user = ''"
WRITE_ROW = """
UPDATE $keyspace.cell SET reaction = ?, created_at = ?, updated_at = ?, ops = ?
WHERE target = ? AND bucket = ? AND user = ?
"""


class CassandraCells:
    """See `plaudit.ports.cells.Cells`; use as an async context manager inside an open session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._read: Any = None
        self._settle: Any = None
        self._commit: Any = None
        self._register: Any = None
        self._write_row: Any = None

    async def __aenter__(self) -> Self:
        """Prepare every statement. Raises `Unavailable`, also where the schema is not there."""
        prepare = self._session.prepare
        self._read, self._settle, self._commit, self._register, self._write_row = await asyncio.gather(
            prepare(READ), prepare(READ, SERIAL), prepare(COMMIT), prepare(REGISTER), prepare(WRITE_ROW)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """The session is closed by whoever opened it."""

    async def read(self, key: CellKey, users: Iterable[str]) -> CellState:
        return await self._state(self._read, key, users)

    async def settle(self, key: CellKey, users: Iterable[str]) -> CellState:
        return await self._state(self._settle, key, users)

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        target, bucket = key
        header = proposal.header
        write_row = self._write_row.bind
        statements = [
            self._commit.bind([header.seq, pack_header(header), target, bucket, proposal.seq or None]),
            *(
                write_row([row.reaction, row.created_at, row.updated_at, row.ops, target, bucket, user])
                for user, row in proposal.rows.items()
            ),
        ]
        if proposal.registration is not None:
            statements.append(self._register.bind([pack_registration(proposal.registration), target, bucket]))
        result = await self._session.commit(statements)
        # The first column is [applied]; of a refusal, which may name several rows, every row says the same.
        return bool(result.first().as_tuple()[0])

    async def _state(self, statement: Any, key: CellKey, users: Iterable[str]) -> CellState:
        result = await self._session.read(statement.bind([key.target, key.bucket, [HEADER, *users]]))
        header: Header | None = None
        registration: Registration | None = None
        rows: dict[str, Row] = {}
        for line in result.all():
            user, seq, lanes, packed, registered, reaction, created_at, updated_at, ops = line.as_tuple()
            if user == HEADER:
                header = unpack_header(packed or b"", seq or 0, lanes)
                registration = unpack_registration(registered)
            elif reaction is None or created_at is None or updated_at is None:
                raise Corrupt(f"half a row in cell {key}")
            else:
                rows[user] = Row(reaction, created_at, updated_at, ops or b"")
        if rows and header is None:
            raise Corrupt(f"rows without a header in cell {key}")
        return CellState(header, registration, rows)
