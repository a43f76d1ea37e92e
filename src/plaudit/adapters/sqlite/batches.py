"""Watches in SQLite. A lease lives in this process and no longer: whoever holds the folder's lock is the only notifier,
and a dead one holds neither, so that nothing has to be waited for after a crash."""

import logging
from collections.abc import Sequence

import apsw
import msgspec

from plaudit.adapters.sqlite.damaged import Damaged
from plaudit.adapters.sqlite.database import Database
from plaudit.adapters.sqlite.work import DAMAGED
from plaudit.domain.errors import Corrupt
from plaudit.domain.watch import UNSEEN, pack, unpack
from plaudit.ports.batches import Change, Stored
from plaudit.ports.clock import Clock

log = logging.getLogger("plaudit.sqlite")

_loaded = msgspec.json.Decoder(list[tuple[str, int, str]])
_stands = msgspec.json.Decoder(dict[str, tuple[int, int | None]])
_encode = msgspec.json.Encoder().encode

_LOAD = """
SELECT json_group_array(json_array(t.id, w.version, hex(w.state)))
FROM json_each(?1) AS wanted
CROSS JOIN target AS t ON t.id = wanted.value
CROSS JOIN watch AS w ON w.target = t.no
"""

_SAVE = """
INSERT INTO watch (target, version, due, forget_at, state)
SELECT t.no, line.value ->> 1, line.value ->> 2, line.value ->> 3, unhex(line.value ->> 4)
FROM json_each(?1) AS line CROSS JOIN target AS t ON t.id = line.value ->> 0
WHERE true
ON CONFLICT (target) DO UPDATE SET version = excluded.version, due = excluded.due, forget_at = excluded.forget_at,
                                   state = excluded.state
"""

_STANDS = """
SELECT json_group_object(t.id, json_array(coalesce(w.version, 0), w.due))
FROM json_each(?1) AS wanted
CROSS JOIN target AS t ON t.id = wanted.value
LEFT JOIN watch AS w ON w.target = t.no
"""

_DUE = """
SELECT json_group_array(json_array(id, version, state)) FROM (
    SELECT t.id, w.version, hex(w.state) AS state FROM watch AS w CROSS JOIN target AS t ON t.no = w.target
    WHERE w.due <= ?1 AND w.target NOT IN (SELECT value FROM json_each(?3)) ORDER BY w.due LIMIT ?2)
"""

# This and the next one go through the index alone.
_NEXT_DUE = """
SELECT due FROM watch WHERE due IS NOT NULL AND target NOT IN (SELECT value FROM json_each(?1)) ORDER BY due LIMIT 1
"""

_DUE_NUMBERS = "SELECT target FROM watch WHERE due <= ?1 ORDER BY due LIMIT ?2"

_ONE = (
    "SELECT json_group_array(json_array(t.id, w.version, hex(w.state)))"
    " FROM watch AS w CROSS JOIN target AS t ON t.no = w.target WHERE w.target = ?"
)

_ENDING_AFTER = """
SELECT json_group_array(json_array(id, version, state)) FROM (
    SELECT t.id, w.version, hex(w.state) AS state FROM watch AS w CROSS JOIN target AS t ON t.no = w.target
    WHERE w.due > ?1 LIMIT ?2)
"""

_FORGET = """
DELETE FROM watch WHERE target IN (SELECT target FROM watch WHERE due IS NULL AND forget_at <= ?1 LIMIT ?2)
"""


class SqliteBatches:
    """See `plaudit.ports.batches.Batches` and `Due`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._leases: dict[str, float] = {}  # target -> when it ends, in monotonic seconds
        self._damaged = Damaged(clock)  # by the numbers of their targets

    async def load(self, targets: Sequence[str]) -> dict[str, Stored]:
        """Those that are stored."""
        ids = _encode(targets).decode()

        def work(connection: apsw.Connection) -> dict[str, Stored]:
            found = _loaded.decode(connection.execute(_LOAD, (ids,)).get)
            return {id_: _stored(id_, version, state) for id_, version, state in found}

        return await self._database.read(work) if targets else {}

    async def save(self, changes: Sequence[Change]) -> list[str]:
        """Store those whose versions have not moved on."""
        lines = {
            c.target: (c.target, c.version + 1, c.due, c.forget_at, pack(c.watch).hex()) for c in changes
        }
        if len(lines) != len(changes):
            raise ValueError("a target is saved once per call")
        ids = _encode(list(lines)).decode()

        def work(connection: apsw.Connection) -> tuple[list[str], list[str]]:
            stands = _stands.decode(connection.execute(_STANDS, (ids,)).get)
            lost, ended = list[str](), list[str]()
            for target, version, due in [(c.target, c.version, c.due) for c in changes]:
                known, before = stands.get(target, (None, None))
                if known != version:
                    lost.append(target)
                    del lines[target]
                elif due is None or before is None or due > before:
                    ended.append(target)
            connection.execute(_SAVE, (_encode(list(lines.values())).decode(),))
            return lost, ended

        lost, ended = await self._database.write(work) if changes else ([], [])
        for target in ended:
            self._leases.pop(target, None)
        return lost

    async def claim(self, until: int, lease_s: float, limit: int) -> list[tuple[str, Stored]]:
        """Watches whose windows have ended, but those that are claimed. Raises `Corrupt` for damaged ones, which are
        left out then; see `damaged`."""
        now_s = self._clock.monotonic_s()
        self._leases = {target: end for target, end in self._leases.items() if end > now_s}
        leased = frozenset(self._leases)

        def work(connection: apsw.Connection) -> list[tuple[str, Stored]]:
            most, damaged = limit + len(leased), self._damaged.numbers()
            try:
                found = _loaded.decode(connection.execute(_DUE, (until, most, _encode(damaged).decode())).get)
            except DAMAGED:
                self._damaged.add(_unreadable(connection, until, most + len(damaged)))
                raise
            free = [line for line in found if line[0] not in leased][:limit]
            return [(id_, _stored(id_, version, state)) for id_, version, state in free]

        found = await self._database.read(work)
        free = [(id_, stored) for id_, stored in found if id_ not in self._leases]  # claimed meanwhile
        self._leases.update((id_, now_s + lease_s) for id_, _ in free)
        return free

    async def next_due(self) -> int | None:
        """When the window that ends first ends."""
        damaged = _encode(self._damaged.numbers()).decode()

        def work(connection: apsw.Connection) -> int | None:
            found = connection.execute(_NEXT_DUE, (damaged,)).get
            return None if found is None else int(found)

        return await self._database.read(work)

    async def ending_after(self, due: int, limit: int) -> list[tuple[str, Stored]]:
        """Watches whose windows end later than that."""

        def work(connection: apsw.Connection) -> list[tuple[str, Stored]]:
            found = _loaded.decode(connection.execute(_ENDING_AFTER, (due, limit)).get)
            return [(id_, _stored(id_, version, state)) for id_, version, state in found]

        return await self._database.read(work)

    async def forget(self, now: int, limit: int) -> int:
        """Remove watches without a window whose time has come."""

        def look(connection: apsw.Connection) -> bool:
            sql = "SELECT EXISTS (SELECT 1 FROM watch WHERE due IS NULL AND forget_at <= ?)"
            return bool(connection.execute(sql, (now,)).get)

        def work(connection: apsw.Connection) -> int:
            connection.execute(_FORGET, (now, limit))
            return connection.changes()

        return await self._database.write(work) if await self._database.read(look) else 0


def _unreadable(connection: apsw.Connection, until: int, limit: int) -> set[int]:
    """The numbers of those that are due and cannot be read."""
    found = set()
    for (no,) in connection.execute(_DUE_NUMBERS, (until, limit)):
        try:
            _loaded.decode(connection.execute(_ONE, (no,)).get)  # as `claim` reads them all
        except DAMAGED:
            found.add(no)
            log.error("the watch of target no. %s cannot be read; its owner is not told until it can", no)
    return found


def _stored(target: str, version: int, state: str) -> Stored:
    """The watch; one that cannot be read begins anew, or no window would ever be closed after it."""
    try:
        return Stored(unpack(bytes.fromhex(state)), version)
    except Corrupt as error:
        log.error("the watch of %s begins anew: %s", target, error)
        return Stored(UNSEEN, version)
