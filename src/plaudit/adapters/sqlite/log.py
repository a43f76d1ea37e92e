"""The event log in SQLite: the table that every commit appends to in its own transaction."""

import apsw

from plaudit.adapters.sqlite.database import Database

_READ = """
SELECT position, body FROM event
WHERE position > coalesce((SELECT position FROM consumer WHERE name = ?1), 0) ORDER BY position LIMIT ?2
"""

_ACKNOWLEDGE = """
INSERT INTO consumer (name, position) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET position = max(position, excluded.position)
"""

_TRIM = """
DELETE FROM event WHERE position IN (
    SELECT position FROM event WHERE position <= (SELECT min(position) FROM consumer) ORDER BY position LIMIT ?1)
"""


class SqliteLog:
    """See `plaudit.ports.log.EventLog`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, consumer: str, limit: int) -> list[tuple[int, bytes]]:
        """Events this consumer has not acknowledged, oldest first."""

        def work(connection: apsw.Connection) -> list[tuple[int, bytes]]:
            return [(position, body) for position, body in connection.execute(_READ, (consumer, limit))]

        return await self._database.read(work)

    async def acknowledge(self, consumer: str, position: int) -> None:
        """This consumer is done with everything up to `position`."""

        def work(connection: apsw.Connection) -> None:
            connection.execute(_ACKNOWLEDGE, (consumer, position))

        await self._database.write(work)

    async def trim(self, limit: int) -> int:
        """Forget events that every consumer has acknowledged."""

        def work(connection: apsw.Connection) -> int:
            connection.execute(_TRIM, (limit,))
            return connection.changes()

        return await self._database.write(work)

    async def end(self) -> int:
        """The position of the newest event."""

        def work(connection: apsw.Connection) -> int:
            found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").get
            return int(found or 0)

        return await self._database.read(work)
