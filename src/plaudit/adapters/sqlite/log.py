"""The event log in SQLite: the table that every commit appends to in its own transaction.

A line of the table holds all events of one transaction; to a consumer they are single events with growing positions.
"""

import apsw
import msgspec

from plaudit.adapters.sqlite.database import Database
from plaudit.adapters.sqlite.rows import EVENTS_PER_LINE
from plaudit.adapters.sqlite.work import DAMAGED

_bodies = msgspec.msgpack.Decoder(list[bytes])

_ACKNOWLEDGED = "SELECT coalesce((SELECT position FROM consumer WHERE name = ?), -1)"

_READ = "SELECT no, bodies FROM event WHERE no >= ? ORDER BY no"

_NEXT = "SELECT no FROM event WHERE no >= ? ORDER BY no LIMIT 1"

_NEWEST = "SELECT seq FROM sqlite_sequence WHERE name = 'event'"

_ACKNOWLEDGE = """
INSERT INTO consumer (name, position) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET position = max(position, excluded.position)
"""

# Whole lines only, the oldest first, until they hold `?2` events. What is no number there must not keep the log.
_TRIM = """
DELETE FROM event WHERE no <= (
    SELECT max(no) FROM (
        SELECT no, sum(events) OVER (ORDER BY no) - events AS before FROM (
            SELECT no, events FROM event WHERE no * ?1 + events - 1 <= (SELECT min(position) FROM consumer)
            ORDER BY no LIMIT ?2))
    WHERE before < ?2)
RETURNING CAST(events AS INTEGER)
"""

_LEAST = "SELECT coalesce(min(position), -1) FROM consumer"

# The first `?4` lines by the events in them, the others as one event each: there may be millions.
_BEHIND = """
SELECT coalesce(sum(events - max(0, min(events, ?2 + 1 - no * ?1))), 0) + coalesce(?3 / ?1 - max(no), 0)
FROM (SELECT no, events FROM event WHERE no BETWEEN ?2 / ?1 AND ?3 / ?1 ORDER BY no LIMIT ?4)
"""
LINES_COUNTED = 10_000


class SqliteLog:
    """See `plaudit.ports.log.EventLog`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._goes_on: dict[
            int, int
        ] = {}  # after which position a place is damaged, and the last position in it

    async def read(self, consumer: str, limit: int) -> list[tuple[int, bytes]]:
        """Events this consumer has not acknowledged, oldest first. Of a line that cannot be read nobody knows them: it
        comes as one event that cannot be read either, and so do lines in a damaged place, once that has been told."""

        def work(connection: apsw.Connection) -> list[tuple[int, bytes]]:
            seen = connection.execute(_ACKNOWLEDGED, (consumer,)).get
            if seen in self._goes_on:
                return [(self._goes_on[seen], b"")]
            found: list[tuple[int, bytes]] = []
            try:
                for no, bodies in connection.execute(_READ, (seen // EVENTS_PER_LINE,)):
                    found += [(at, body) for at, body in _events(no, bodies) if at > seen]
                    if len(found) >= limit:
                        break
            except DAMAGED:
                if not found:
                    self._goes_on[seen] = _beyond(connection, seen)
                    raise
            return found[:limit]

        return await self._database.read(work)

    async def acknowledge(self, consumer: str, position: int) -> None:
        """This consumer is done with everything up to `position`."""

        def work(connection: apsw.Connection) -> None:
            connection.execute(_ACKNOWLEDGE, (consumer, position))

        await self._database.write(work)

    async def trim(self, limit: int) -> int:
        """Forget events that every consumer has acknowledged."""

        def work(connection: apsw.Connection) -> int:
            return sum(events for (events,) in connection.execute(_TRIM, (EVENTS_PER_LINE, limit)))

        return await self._database.write(work)

    async def behind(self, consumer: str | None, end: int) -> int:
        """How many events up to there this consumer, or the slowest one, has not acknowledged."""
        asked = (_LEAST, ()) if consumer is None else (_ACKNOWLEDGED, (consumer,))

        def work(connection: apsw.Connection) -> int:
            seen = connection.execute(*asked).get
            return int(connection.execute(_BEHIND, (EVENTS_PER_LINE, seen, end, LINES_COUNTED)).get)

        return await self._database.read(work)

    async def end(self) -> int:
        """The position of the newest event, or a little beyond."""

        def work(connection: apsw.Connection) -> int:
            no = connection.execute(_NEWEST).get
            return 0 if no is None else int(no) * EVENTS_PER_LINE + EVENTS_PER_LINE - 1

        return await self._database.read(work)


def _events(no: int, bodies: bytes) -> list[tuple[int, bytes]]:
    """The events of a line by position."""
    first = no * EVENTS_PER_LINE
    try:
        return list(enumerate(_bodies.decode(bodies), first))
    except (msgspec.MsgspecError, TypeError):  # as a NULL or a number is damage, too
        return [(first + EVENTS_PER_LINE - 1, b"")]


def _beyond(connection: apsw.Connection, seen: int) -> int:
    """The last position before the next line that can be read, or before the end: found by ever larger steps."""
    newest = int(connection.execute(_NEWEST).get or 0)
    no, step = seen // EVENTS_PER_LINE + 2, 1
    while no <= newest:
        try:
            found = connection.execute(_NEXT, (no,)).get
            return (no if found is None else int(found)) * EVENTS_PER_LINE - 1
        except DAMAGED:
            no, step = no + step, 2 * step
    return newest * EVENTS_PER_LINE + EVENTS_PER_LINE - 1
