"""Registrations and profiles in SQLite."""

from collections.abc import Collection, Sequence

import apsw
import msgspec

from plaudit.adapters.sqlite import rows as sql
from plaudit.adapters.sqlite.database import Database
from plaudit.adapters.sqlite.ledger import Numbers, write_commit
from plaudit.domain import removal
from plaudit.domain.catalogue import Registration
from plaudit.domain.errors import Conflict
from plaudit.ports.directory import Profile
from plaudit.ports.ledger import Target

_profiles = msgspec.json.Decoder(list[tuple[str, str | None, str | None, str | None, str | None]])

REGISTER = "UPDATE target SET registered = 1, owner = ?, title = ?, closed = ?, allowed = ? WHERE no = ?"

_PUT_PROFILE = """
INSERT INTO user (id, name, avatar_url, locale, time_zone) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, avatar_url = excluded.avatar_url, locale = excluded.locale,
                               time_zone = excluded.time_zone
"""

_PROFILES = """
SELECT json_group_array(json_array(id, name, avatar_url, locale, time_zone)) FROM user
WHERE erased_at IS NULL AND id IN (SELECT value FROM json_each(?1))
"""


class SqliteDirectory:
    """See `plaudit.ports.directory.Directory`."""

    def __init__(self, database: Database, numbers: Numbers) -> None:
        self._database = database
        self._numbers = numbers

    async def register(self, target: str, registration: Registration, kept: Collection[str] = ()) -> Target:
        """Create or replace a registration."""
        told = registration

        def work(connection: apsw.Connection) -> Target:
            line = sql.read_targets(connection, [target]).get(target)
            registration = told.keeping(kept, line.registration, line.type) if line else told
            if line is not None and line.registration == registration:
                return line.target
            no = line.no if line else self._numbers.next(connection)
            old = line.header if line else self._numbers.unseen(connection)
            header = removal.register(old, registration.type)
            write_commit(connection, no, target, header, "repair", registration=registration)
            values = (registration.owner, registration.title, int(registration.closed), registration.allowed)
            connection.execute(REGISTER, (*values, no))
            return Target(header, registration)

        return await self._database.write(work)

    async def registered(self, target: str) -> Target:
        """The target as it is."""

        def work(connection: apsw.Connection) -> Target:
            line = sql.read_targets(connection, [target]).get(target)
            return line.target if line else Target()

        return await self._database.read(work)

    async def put_profile(self, user: str, profile: Profile) -> None:
        """Create or replace a profile."""

        def work(connection: apsw.Connection) -> None:
            if connection.execute("SELECT erased_at FROM user WHERE id = ?", (user,)).get is not None:
                raise Conflict(f"user {user} was erased; an erased id is never used again")
            connection.execute(_PUT_PROFILE, (user, *msgspec.structs.astuple(profile)))

        await self._database.write(work)

    async def profiles(self, users: Sequence[str]) -> dict[str, Profile]:
        """The profiles that exist."""

        def work(connection: apsw.Connection) -> dict[str, Profile]:
            found = connection.execute(_PROFILES, (msgspec.json.encode(users).decode(),)).get
            return {
                user: Profile(name=name, avatar_url=avatar_url, locale=locale, time_zone=time_zone)
                for user, name, avatar_url, locale, time_zone in _profiles.decode(found)
            }

        return await self._database.read(work)
