"""The inbox, wishes and devices in SQLite."""

from collections.abc import Iterable, Mapping, Sequence

import apsw
import msgspec

from plaudit.adapters.sqlite import rows as sql
from plaudit.adapters.sqlite.database import Database
from plaudit.adapters.sqlite.ledger import ERASED
from plaudit.domain.errors import Conflict
from plaudit.domain.quiet import Wishes
from plaudit.domain.watch import Watch
from plaudit.ports.notifications import Address, Device, Notification

KEEP = 500
DEVICES = 20

_NOTHING: Mapping[str, Watch] = {}


class Line(msgspec.Struct, array_like=True, frozen=True):
    """A line of the table `notification`."""

    id: str
    owner: str
    at: int
    target: str
    type: str
    title: str | None
    total: int
    split: tuple[tuple[int, int], ...]
    sample: tuple[tuple[str, int], ...]
    read: int

    def notification(self, erased: set[str]) -> Notification:
        """What the ports know of it, without erased users."""
        return Notification(
            id=self.id,
            owner=self.owner,
            at=self.at,
            target=self.target,
            type=self.type,
            title=self.title,
            total=self.total,
            split=dict(self.split),
            sample=tuple(pair for pair in self.sample if pair[0] not in erased),
            read=bool(self.read),
        )


_encode = msgspec.json.Encoder().encode
_strings = msgspec.json.Decoder(list[str])
_lines = msgspec.json.Decoder(list[Line])
_wishes = msgspec.json.Decoder(list[tuple[str, Wishes]])
_devices = msgspec.json.Decoder(list[tuple[str, str, str, str, dict[str, str], int, int]])

# These take all lines at once, as JSON: one step of SQLite however many there are.
_PUT = """
INSERT INTO notification (id, owner, at, target, type, title, total, split, sample)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value -> 7, value -> 8
FROM json_each(?1) WHERE true
ON CONFLICT (id) DO UPDATE SET title = excluded.title, total = excluded.total, split = excluded.split,
                               sample = excluded.sample
"""

_ADDRESS = """
INSERT INTO delivery (message, channel, device, created_at, due)
SELECT value ->> 0, value ->> 1, value ->> 2, ?2, ?2 FROM json_each(?1) WHERE true
ON CONFLICT (message, channel, device) DO NOTHING
"""

_MANY = """
SELECT json_group_array(owner) FROM (
    SELECT owner FROM notification WHERE owner IN (SELECT value FROM json_each(?1)) GROUP BY owner HAVING count(*) > ?2)
"""

_DELETED = """
SELECT json_group_array(id) FROM target WHERE deleted > 0 AND id IN (SELECT value FROM json_each(?1))
"""

_OF_TARGET = "SELECT id FROM notification WHERE target = ?1 AND (?2 IS NULL OR at < ?2)"

_OLD = "SELECT id FROM notification WHERE owner = ?1 ORDER BY at DESC, id DESC LIMIT -1 OFFSET ?2"

_PAGE = """
SELECT json_group_array(json(line)) FROM (
    SELECT json_array(n.id, n.owner, n.at, n.target, n.type, n.title, n.total, json(n.split), json(n.sample), n.read)
           AS line
    FROM notification AS n WHERE n.owner = ?1 AND (n.at, n.id) < (?2, ?3) ORDER BY n.at DESC, n.id DESC LIMIT ?4)
"""

_UNREAD = "SELECT count(*) FROM (SELECT 1 FROM notification WHERE owner = ?1 AND read = 0 LIMIT ?2)"

_READ = """
UPDATE notification SET read = 1 WHERE owner = ?1 AND read = 0 AND id IN (SELECT value FROM json_each(?2))
"""

_READ_UP_TO = """
UPDATE notification SET read = 1 WHERE owner = ?1 AND read = 0
    AND (at, id) <= (SELECT at, id FROM notification WHERE id = ?2 AND owner = ?1)
"""

_WISHES = """
SELECT json_group_array(json_array(owner, json(wishes))) FROM wish WHERE owner IN (SELECT value FROM json_each(?1))
"""

_PUT_WISHES = "INSERT INTO wish (owner, wishes) VALUES (?1, ?2) ON CONFLICT (owner) DO UPDATE SET wishes = ?2"

_DEVICES = """
SELECT json_group_array(json_array(id, owner, kind, token, json(more), registered_at, suspect)) FROM (
    SELECT * FROM device WHERE owner IN (SELECT value FROM json_each(?1)) ORDER BY registered_at, id)
"""

_PUT_DEVICE = """
INSERT INTO device (id, owner, kind, token, more, registered_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (id) DO UPDATE SET owner = ?2, more = ?5, registered_at = ?6, suspect = 0
"""

_OLD_DEVICES = """
SELECT id FROM device WHERE owner = ?1 ORDER BY registered_at DESC, id DESC LIMIT -1 OFFSET ?2
"""

_IS_ERASED = "SELECT erased_at IS NOT NULL FROM user WHERE id = ?"
_START = (1 << 62, "")


class SqliteInbox:
    """See `plaudit.ports.notifications.Inbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self,
        messages: Sequence[Notification],
        addresses: Sequence[Address],
        now: int,
        after: Mapping[str, Watch] = _NOTHING,  # no watch is lost that is in the file
    ) -> None:
        """Store messages with the pushes that are to be made of them."""
        lines = [_line(message) for message in messages]

        def work(connection: apsw.Connection) -> None:
            owners = sorted({message.owner for message in messages})
            erased = set(sql.read_strings(connection, ERASED, owners))
            # Whoever made the message may have seen the target before it was deleted; nobody looks for it any more.
            targets = _encode(sorted({message.target for message in messages})).decode()
            deleted = set(_strings.decode(connection.execute(_DELETED, (targets,)).get))
            gone = {m.id for m in messages if m.owner in erased or m.target in deleted}
            connection.execute(_PUT, (_encode([line for line in lines if line[0] not in gone]).decode(),))
            pushes = [(a.message, a.channel, a.device) for a in addresses if a.message not in gone]
            if pushes:
                connection.execute(_ADDRESS, (_encode(pushes).decode(), now))
            many = connection.execute(_MANY, (_encode(owners).decode(), KEEP)).get
            for owner in _strings.decode(many):
                old = connection.execute(_OLD, (owner, KEEP)).fetchall()
                _remove(connection, [str(id_) for (id_,) in old])

        if messages:
            await self._database.write(work)

    async def page(self, owner: str, before: tuple[int, str] | None, limit: int) -> list[Notification]:
        """An owner's messages, newest first."""
        at, id_ = before or _START

        def work(connection: apsw.Connection) -> list[Notification]:
            return notifications(
                connection, _lines.decode(connection.execute(_PAGE, (owner, at, id_, limit)).get)
            )

        return await self._database.read(work)

    async def unread(self, owner: str, most: int) -> int:
        """How many messages have no read mark."""

        def work(connection: apsw.Connection) -> int:
            return int(connection.execute(_UNREAD, (owner, most)).get)

        return await self._database.read(work)

    async def mark_read(self, owner: str, ids: Sequence[str], up_to: str | None) -> int:
        """Mark these, and all that are not newer than `up_to`."""

        def work(connection: apsw.Connection) -> int:
            connection.execute(_READ, (owner, _encode(ids).decode()))
            marked = connection.changes()
            if up_to is not None:
                connection.execute(_READ_UP_TO, (owner, up_to))
                marked += connection.changes()
            return marked

        return await self._database.write(work)


class SqliteAudience:
    """See `plaudit.ports.notifications.Audience`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def wishes(self, owners: Sequence[str]) -> dict[str, Wishes]:
        """Of those who have said something."""
        ids = _encode(owners).decode()

        def work(connection: apsw.Connection) -> dict[str, Wishes]:
            return dict(_wishes.decode(connection.execute(_WISHES, (ids,)).get))

        return await self._database.read(work) if owners else {}

    async def put_wishes(self, owner: str, wishes: Wishes) -> None:
        """Replace them."""

        def work(connection: apsw.Connection) -> None:
            _refuse_erased(connection, owner)
            connection.execute(_PUT_WISHES, (owner, _encode(wishes).decode()))

        await self._database.write(work)

    async def devices(self, owners: Sequence[str]) -> dict[str, list[Device]]:
        """Of those who have any."""
        ids = _encode(owners).decode()

        def work(connection: apsw.Connection) -> dict[str, list[Device]]:
            found: dict[str, list[Device]] = {}
            for device in decode_devices(str(connection.execute(_DEVICES, (ids,)).get)):
                found.setdefault(device.owner, []).append(device)
            return found

        return await self._database.read(work) if owners else {}

    async def put_device(self, device: Device) -> None:
        """Register it, or again."""
        line = (
            device.id,
            device.owner,
            device.kind,
            device.token,
            _encode(device.more).decode(),
            device.registered_at,
        )

        def work(connection: apsw.Connection) -> None:
            _refuse_erased(connection, device.owner)
            whose = connection.execute("SELECT owner FROM device WHERE id = ?", (device.id,)).get
            if whose is not None and whose != device.owner:
                remove_devices(connection, [device.id])  # with the pushes that were meant for somebody else
            connection.execute(_PUT_DEVICE, line)
            old = connection.execute(_OLD_DEVICES, (device.owner, DEVICES)).fetchall()
            remove_devices(connection, [str(id_) for (id_,) in old])

        await self._database.write(work)

    async def remove_device(self, owner: str, device_id: str) -> bool:
        """Forget it, with the pushes to it."""

        def work(connection: apsw.Connection) -> bool:
            whose = connection.execute("SELECT owner FROM device WHERE id = ?", (device_id,)).get
            if whose != owner:
                return False
            remove_devices(connection, [device_id])
            return True

        return await self._database.write(work)


def notifications(connection: apsw.Connection, lines: Sequence[Line]) -> list[Notification]:
    """These lines as the ports know them: erased users are in no sample."""
    users = sorted({user for line in lines for user, _ in line.sample})
    erased = set(sql.read_strings(connection, ERASED, users))
    return [line.notification(erased) for line in lines]


def decode_devices(text: str) -> list[Device]:
    """Devices out of a JSON array of their lines."""
    return [
        Device(
            id=id_,
            owner=owner,
            kind=kind,  # type: ignore[arg-type] # nothing else was ever stored
            token=token,
            more=more,
            registered_at=registered_at,
            suspect=suspect,
        )
        for id_, owner, kind, token, more, registered_at, suspect in _devices.decode(text)
    ]


def remove_devices(connection: apsw.Connection, ids: Iterable[str]) -> None:
    """Forget devices, with the pushes to them."""
    for id_ in ids:
        connection.execute("DELETE FROM device WHERE id = ?", (id_,))
        connection.execute("DELETE FROM delivery WHERE device = ? AND device <> ''", (id_,))


def _forget_messages(connection: apsw.Connection, owner: str) -> None:
    found = connection.execute("SELECT id FROM notification WHERE owner = ?", (owner,)).fetchall()
    _remove(connection, [str(id_) for (id_,) in found])


def _forget_devices(connection: apsw.Connection, owner: str) -> None:
    devices = connection.execute("SELECT id FROM device WHERE owner = ?", (owner,)).fetchall()
    remove_devices(connection, [str(id_) for (id_,) in devices])


def _forget_wishes(connection: apsw.Connection, owner: str) -> None:
    connection.execute("DELETE FROM wish WHERE owner = ?", (owner,))


# What is to be done about everything an erased user was told, wished, and was reached by.
FORGET_OWNER = (_forget_messages, _forget_devices, _forget_wishes)


def forget_owner(connection: apsw.Connection, owner: str) -> None:
    """All of it."""
    for forget in FORGET_OWNER:
        forget(connection, owner)


def take_back(connection: apsw.Connection, target: str, before: int | None) -> int:
    """Remove what was told of a target before that time (microseconds UTC; None: all of it); returns how much."""
    found = connection.execute(_OF_TARGET, (target, before)).fetchall()
    _remove(connection, [str(id_) for (id_,) in found])
    return len(found)


def _remove(connection: apsw.Connection, ids: Sequence[str]) -> None:
    for id_ in ids:
        connection.execute("DELETE FROM delivery WHERE message = ?", (id_,))
        connection.execute("DELETE FROM notification WHERE id = ?", (id_,))


def _line(m: Notification) -> tuple[object, ...]:
    return (m.id, m.owner, m.at, m.target, m.type, m.title, m.total, list(m.split.items()), m.sample)


def _refuse_erased(connection: apsw.Connection, user: str) -> None:
    if connection.execute(_IS_ERASED, (user,)).get:
        raise Conflict(f"user {user} was erased; an erased id is never used again")
