"""Leases in Cassandra: a row each, taken by a conditional write that ends by itself."""

from typing import Any

from plaudit.adapters.cassandra.session import Session
from plaudit.adapters.cassandra.statements import Statements

# Where nobody has it. (Not INSERT: its row would end with the first TTL, whatever is written later.)
TAKE = "UPDATE $keyspace.lease USING TTL ? SET owner = ? WHERE name = ? IF owner = null"
RENEW = "UPDATE $keyspace.lease USING TTL ? SET owner = ? WHERE name = ? IF owner = ?"
RELEASE = "DELETE owner FROM $keyspace.lease WHERE name = ? IF owner = ?"


class CassandraLeases(Statements):
    """See `plaudit.ports.leases.Leases`; use as an async context manager inside an open session. Leases that we
    have when it is left end by themselves.

    `owner`: a name that nobody else has: no other process, not even the next one in the same place, and nobody in this
    process who works beside.
    """

    queries = (TAKE, RENEW, RELEASE)

    def __init__(self, session: Session, owner: str) -> None:
        super().__init__(session)
        self._owner = owner

    async def claim(self, name: str, ttl_s: int) -> bool:
        taken, owner = await self._change(TAKE, ttl_s, self._owner, name)
        if owner == self._owner:
            taken, _ = await self._change(RENEW, ttl_s, self._owner, name, self._owner)
        return taken

    async def release(self, name: str) -> None:
        await self._change(RELEASE, name, self._owner)

    async def _change(self, query: str, *values: Any) -> tuple[bool, str | None]:
        """Whether it was applied, and if not, who has the lease."""
        result = await self._commit([self._bound(query, *values)])
        said = result.first().as_dict()
        return bool(said["[applied]"]), said.get("owner")
