"""Who owned targets before, in Cassandra: a short partition for each target that changed hands. For inboxes, which are
found by their owners alone."""

from collections.abc import Collection

from plaudit.adapters.cassandra.statements import Statements

NOTE = "INSERT INTO $keyspace.former_owner (target, owner) VALUES (?, ?)"
OF = "SELECT owner FROM $keyspace.former_owner WHERE target = ?"
FORGET = "DELETE FROM $keyspace.former_owner WHERE target = ? AND owner = ?"


class CassandraOwners(Statements):
    """Use as an async context manager inside an open session. All raise `Unavailable` and, where they write, which is
    idempotent, `OutcomeUnknown`."""

    queries = (NOTE, OF, FORGET)

    async def note(self, target: str, owner: str) -> None:
        """The owner will not be it any more, or may not."""
        await self._write(NOTE, target, owner)

    async def of(self, target: str) -> list[str]:
        """Everybody who was noted and not forgotten."""
        return [owner for (owner,) in await self._rows(OF, target)]

    async def forget(self, target: str, owners: Collection[str]) -> None:
        """Nobody will ask for these any more."""
        await self._write_all((FORGET, target, owner) for owner in owners)
