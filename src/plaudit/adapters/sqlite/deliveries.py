"""Pushes under way in SQLite. Leases live in this process, as those of `batches`."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import apsw
import msgspec

from plaudit.adapters.files import forbidden, trouble
from plaudit.adapters.sqlite.damaged import Damaged
from plaudit.adapters.sqlite.database import FILE_NAME, Database, check_ours, close, connect
from plaudit.adapters.sqlite.inbox import Line, decode_devices, notifications, remove_devices
from plaudit.adapters.sqlite.work import DAMAGED, failure_of
from plaudit.domain.errors import Unavailable
from plaudit.ports.clock import Clock
from plaudit.ports.notifications import Channel, Parcel, Settled

log = logging.getLogger("plaudit.sqlite")

_lines = msgspec.json.Decoder(list[tuple[int, Channel, str, int, int | None, int, str, Line | None]])
_encode = msgspec.json.Encoder().encode
T = TypeVar("T")

# Pushes whose message has gone come back with none, to be cleared away.
_LINES = """
SELECT json_group_array(json_array(d.no, d.channel, d.device, d.created_at, d.due, d.tries, d.reason,
    json((SELECT json_array(n.id, n.owner, n.at, n.target, n.type, n.title, n.total, json(n.split),
                            json(n.sample), n.read)
     FROM notification AS n WHERE n.id = d.message))))
FROM ($these) AS d
"""

_CLAIM = _LINES.replace(
    "$these",
    """SELECT * FROM delivery WHERE no IN (
    SELECT no FROM delivery WHERE channel = ?1 AND due <= ?2 AND no NOT IN (SELECT value FROM json_each(?4))
    ORDER BY due LIMIT ?3) ORDER BY due""",
)

_DEAD = _LINES.replace("$these", "SELECT * FROM delivery WHERE due IS NULL AND no > ?1 ORDER BY no LIMIT ?2")

_ONE = _LINES.replace("$these", "SELECT * FROM delivery WHERE no = ?1")

# Of the index alone.
_DUE_NUMBERS = """
SELECT no FROM delivery INDEXED BY delivery_due WHERE channel = ?1 AND due <= ?2 ORDER BY due LIMIT ?3
"""

_DEVICES = """
SELECT json_group_array(json_array(id, owner, kind, token, json(more), registered_at, suspect)) FROM device
WHERE id IN (SELECT value FROM json_each(?1))
"""

_DELETE = "DELETE FROM delivery WHERE no IN (SELECT value FROM json_each(?1))"
# Without a reason there was no try: the push waits on as it was.
_KEEP = """
UPDATE delivery SET due = ?2, tries = tries + (?3 <> ''), reason = CASE ?3 WHEN '' THEN reason ELSE ?3 END WHERE no = ?1
"""
_GONE = "SELECT id FROM device WHERE id = ?1 AND (?2 IS NULL OR registered_at <= ?2)"
_RESEND = """
UPDATE delivery SET due = ?1, created_at = ?1, tries = 0, reason = 'resent'
WHERE due IS NULL AND (?2 IS NULL OR no IN (SELECT value FROM json_each(?2)))
"""

_WAITING = """
SELECT json_group_object(channel, n) FROM (SELECT channel, count(*) AS n FROM delivery WHERE due IS NOT NULL GROUP BY 1)
"""


class SqliteDeliveries:
    """See `plaudit.ports.notifications.Deliveries`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._leases: dict[int, float] = {}  # delivery -> when it ends, in monotonic seconds
        self._damaged = Damaged(clock)

    async def claim(self, channel: Channel, now: int, lease_s: float, limit: int) -> list[Parcel]:
        """Pushes that are due, but those that are claimed. Raises `Corrupt` for damaged ones, which are left out then;
        see `damaged`."""
        now_s = self._clock.monotonic_s()
        self._leases = {no: end for no, end in self._leases.items() if end > now_s}
        held = {*self._leases}  # also what is settled while we read
        most = limit + len(held)

        def work(connection: apsw.Connection) -> tuple[list[Parcel], list[int]]:
            damaged = self._damaged.numbers()
            values = (channel, now, most, _encode(damaged).decode())
            try:
                return _parcels(connection, str(connection.execute(_CLAIM, values).get))
            except DAMAGED:
                numbers = connection.execute(_DUE_NUMBERS, (channel, now, most + len(damaged))).fetchall()
                self._damaged.add(_unreadable(connection, {int(str(no)) for (no,) in numbers} - damaged))
                raise

        parcels, gone = await self._database.read(work)
        if gone:
            await self._database.write(lambda connection: _delete(connection, gone))
        free = [p for p in parcels if p.no not in held and p.no not in self._leases][:limit]
        self._leases.update((parcel.no, now_s + lease_s) for parcel in free)
        return free

    async def settle(self, results: Sequence[Settled]) -> None:
        """Store what came of tries."""
        done = [result.parcel.no for result in results if result.due is None and not result.dead]
        kept = [(r.parcel.no, r.due, r.reason) for r in results if r.due is not None or r.dead]

        def work(connection: apsw.Connection) -> None:
            if done:
                _delete(connection, done)
            connection.executemany(_KEEP, kept)
            for result in results:
                if result.parcel.device is not None and result.device != "keep":
                    _settle_device(connection, result.parcel.device.id, result)

        if results:
            # One that is refused is forgotten, and its push goes out once more.
            await self._database.write(work, patient=True)
        for result in results:
            self._leases.pop(result.parcel.no, None)

    async def dead(self, after: int, limit: int) -> list[Parcel]:
        """Dead letters, the oldest first."""
        return await self._database.read(lambda connection: _dead(connection, after, limit))

    async def resend(self, numbers: Sequence[int] | None, now: int) -> int:
        """Make dead letters due again."""
        return await self._database.write(lambda connection: _resend(connection, numbers, now))

    async def waiting(self) -> Mapping[str, int]:
        """How many pushes are under way, and how many are dead."""

        def work(connection: apsw.Connection) -> dict[str, int]:
            found = msgspec.json.decode(connection.execute(_WAITING).get, type=dict[str, int])
            dead = connection.execute("SELECT count(*) FROM delivery WHERE due IS NULL").get
            return {**found, "dead": int(dead)}

        return await self._database.read(work)


class SqliteDeadLetters:
    """The dead letters of a folder that a server may be running on, for the command line."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    def dead(self, after: int, limit: int) -> list[Parcel]:
        """Dead letters with a number above `after`, the oldest first. Raises `Unavailable`, `Corrupt`."""
        return self._on(apsw.SQLITE_OPEN_READONLY, lambda connection: _dead(connection, after, limit))

    def resend(self, numbers: Sequence[int] | None, now: int) -> int:
        """Make them due again, in one short transaction beside a running server's; the number is returned.

        The server's next look finds them. Raises `Unavailable`, `Corrupt`.
        """

        def work(connection: apsw.Connection) -> int:
            connection.pragma("synchronous", 2)
            connection.pragma("wal_autocheckpoint", 0)  # the server does that
            connection.execute("BEGIN IMMEDIATE")
            found = _resend(connection, numbers, now)
            connection.execute("COMMIT")
            return found

        return self._on(apsw.SQLITE_OPEN_READWRITE, work)

    def _on(self, flags: int, work: Callable[[apsw.Connection], T]) -> T:
        if not os.path.exists(self._path):
            raise Unavailable(forbidden(self._path) or f"{self._path} does not exist.")
        try:
            connection = connect(self._path, flags)
            try:
                check_ours(connection)
                return work(connection)
            finally:
                close(connection)
        except DAMAGED as error:
            raise failure_of(error) from error
        except apsw.Error as error:
            raise Unavailable(f"{self._path} cannot be used: {trouble(self._path, error)}") from error


def _dead(connection: apsw.Connection, after: int, limit: int) -> list[Parcel]:
    return _parcels(connection, str(connection.execute(_DEAD, (after, limit)).get))[0]


def _resend(connection: apsw.Connection, numbers: Sequence[int] | None, now: int) -> int:
    connection.execute(_RESEND, (now, None if numbers is None else _encode(numbers).decode()))
    return connection.changes()


def _parcels(connection: apsw.Connection, text: str) -> tuple[list[Parcel], list[int]]:
    """The pushes with their messages and devices, and the numbers of those that lack one."""
    lines = _lines.decode(text)
    ids = _encode(sorted({device for _, _, device, *_ in lines if device})).decode()
    devices = {device.id: device for device in decode_devices(str(connection.execute(_DEVICES, (ids,)).get))}
    messages = {m.id: m for m in notifications(connection, [line[-1] for line in lines if line[-1]])}
    parcels: list[Parcel] = []
    gone: list[int] = []
    for no, channel, device, created_at, due, tries, reason, line in lines:
        its = devices.get(device)
        message = messages.get(line.id) if line else None
        if message is None or (device and (its is None or its.owner != message.owner)):
            gone.append(no)
            continue
        parcels.append(
            Parcel(
                no=no,
                channel=channel,
                notification=message,
                device=its,
                created_at=created_at,
                due=due,
                tries=tries,
                reason=reason,
            )
        )
    return parcels, gone


def _unreadable(connection: apsw.Connection, numbers: Iterable[int]) -> set[int]:
    """Those of these pushes that cannot be read, or whose message or device cannot."""
    found = set()
    for no in numbers:
        try:
            _parcels(connection, str(connection.execute(_ONE, (no,)).get))
        except DAMAGED as error:
            found.add(no)
            log.error("push no. %s cannot be read, and is not made: %s", no, error)
    return found


def _delete(connection: apsw.Connection, numbers: Sequence[int]) -> None:
    connection.execute(_DELETE, (_encode(numbers).decode(),))


def _settle_device(connection: apsw.Connection, device: str, result: Settled) -> None:
    if result.device == "gone":
        found = connection.execute(_GONE, (device, result.gone_at)).fetchall()
        remove_devices(connection, [str(id_) for (id_,) in found])
    elif result.device == "suspect":
        connection.execute("UPDATE device SET suspect = suspect + 1 WHERE id = ?", (device,))
    else:
        connection.execute("UPDATE device SET suspect = 0 WHERE id = ? AND suspect > 0", (device,))
