"""Deletion, erasure and their jobs in SQLite. One target or a few rows per transaction, so that taps go on between."""

import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

import apsw
import msgspec

from plaudit.adapters.sqlite import rows as sql
from plaudit.adapters.sqlite.database import Database
from plaudit.adapters.sqlite.inbox import FORGET_OWNER, forget_owner, take_back
from plaudit.adapters.sqlite.ledger import Numbers, write_commit
from plaudit.domain.catalogue import DEFAULT_TYPE
from plaudit.domain.cell import Deleted
from plaudit.domain.errors import AWAY, Corrupt
from plaudit.domain.events import committed
from plaudit.domain.removal import begin_purge, erase, purge, told_before
from plaudit.ports.clock import Clock
from plaudit.ports.ledger import Target
from plaudit.ports.removals import Job, JobKind, Stays, what_stays

log = logging.getLogger("plaudit.sqlite")

MOST_UNREADABLE = 100  # in a row, without one that works: a damaged page holds fewer

_PURGE = """
DELETE FROM reaction_row
WHERE target = ?1 AND user IN (SELECT user FROM reaction_row WHERE target = ?1 ORDER BY user LIMIT ?2)
"""
_PURGE_FROM_THE_END = _PURGE.replace("ORDER BY user", "ORDER BY user DESC")

# Of one index alone, all of which is read, so for few rows only: beside a damaged page nothing else says who is there.
_USERS_OF = """
SELECT json_group_array(user) FROM (SELECT user FROM reaction_row INDEXED BY reacted WHERE target = ?1 LIMIT ?2)
"""
_PURGE_THESE = "DELETE FROM reaction_row WHERE target = ?1 AND user IN (SELECT value FROM json_each(?2))"
# Looked for where the rows were, for behind a damaged page that is met SQLite writes nothing more in a transaction.
_ANY_LEFT = {
    _PURGE: "SELECT min(user) IS NOT NULL FROM reaction_row WHERE target = ?",
    _PURGE_FROM_THE_END: "SELECT max(user) IS NOT NULL FROM reaction_row WHERE target = ?",
}

MARK = """
INSERT INTO user (id, erased_at) VALUES (?1, ?2)
ON CONFLICT (id) DO UPDATE SET name = NULL, avatar_url = NULL, locale = NULL, time_zone = NULL,
                               erased_at = coalesce(erased_at, excluded.erased_at)
"""

_ROWS_OF = """
SELECT json_group_array(target) FROM (
    SELECT target FROM reaction_row INDEXED BY reacted WHERE user = ?1 LIMIT ?2)
"""

_ROWS_IN = """
SELECT json_group_array(t.id)
FROM json_each(?2) AS n CROSS JOIN reaction_row AS r ON r.target = n.value AND r.user = ?1
     CROSS JOIN target AS t ON t.no = r.target
"""

_SAVE_JOB = """
REPLACE INTO job (id, kind, subject, state, created_at, finished_at, removed, note) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)
"""

_COUNT = """
UPDATE job SET removed = json_set(removed, '$.' || ?2, coalesce(removed ->> ?2, 0) + ?3) WHERE id = ?1
"""

_FORGET = """
DELETE FROM job WHERE id IN (SELECT id FROM job WHERE finished_at IS NOT NULL AND finished_at < ?1 LIMIT ?2)
"""

# Ids come as bytes and go as bytes, for one may be no UTF-8 any more; these two go through an index alone.
_RUNNING = "SELECT CAST(id AS BLOB) FROM job WHERE state = 'running' ORDER BY created_at"
_LATEST = "SELECT CAST(id AS BLOB) FROM job WHERE kind = ? AND subject = ? ORDER BY created_at DESC"
_FIELDS = ("id", "kind", "subject", "state", "created_at", "finished_at", "note")
_JOB = """
SELECT id, kind, subject, state, created_at, finished_at, note, removed FROM job WHERE id = CAST(?1 AS TEXT)
"""


class SqliteRemovals:
    """See `plaudit.ports.removals.Removals`."""

    def __init__(self, database: Database, clock: Clock, numbers: Numbers) -> None:
        self._database = database
        self._clock = clock
        self._numbers = numbers
        self._unreadable: dict[str, set[int]] = {}  # by user, the numbers of targets
        self._unpurged: dict[str, set[str]] = {}  # the other way round, of targets with damage at both ends

    async def begin_purge(self, target: str, job: Job) -> Target:
        """Close the target for ever."""

        def work(connection: apsw.Connection) -> Target:
            save_job(connection, job)
            line = sql.read_targets(connection, [target]).get(target)
            no = line.no if line else self._numbers.next(connection)
            unseen = msgspec.structs.replace(self._numbers.unseen(connection), type=DEFAULT_TYPE)
            old = line.header if line else unseen
            header = begin_purge(old, old.type)
            if header is not old:
                write_commit(connection, no, target, header, "delete")
                connection.execute(
                    "UPDATE target SET registered = 0, owner = NULL, title = NULL, closed = 0, allowed = NULL"
                    " WHERE no = ?",
                    (no,),
                )
            return Target(header, None)

        return await self._database.write(work)

    async def purge_some(self, target: str, limit: int, job_id: str = "") -> int:
        """Remove up to `limit` rows of a target that is being purged; before a damaged page from the other end on, and
        then those around it."""
        if target not in self._unpurged:
            for statement in (_PURGE, _PURGE_FROM_THE_END):
                with suppress(Corrupt):
                    return await self._database.write(partial(self._purge, target, statement, limit, job_id))
        if removed := await self._purge_around(target, limit, job_id):
            return removed
        del self._unpurged[target]  # asked again, all are tried again
        with suppress(Corrupt):  # it may have been read wrong once
            return await self._database.write(partial(self._purge, target, _PURGE, limit, job_id))
        stored = await self._database.read(lambda connection: sql.read_targets(connection, [target]))
        raise Stays(f"{stored[target].rows:,} of its rows")

    async def _purge_around(self, target: str, limit: int, job_id: str) -> int:
        """The same with rows of users whom one index knows, in ever smaller parts around those that cannot be read."""
        unreadable, removed = self._unpurged.setdefault(target, set()), 0
        try:
            users = await self._database.read(partial(_users_of, target, limit + len(unreadable)))
        except Corrupt:
            return 0
        parts = [[user for user in users if user not in unreadable][:limit]]
        while parts:
            part = parts.pop()
            these = msgspec.json.encode(part).decode()
            try:
                removed += await self._database.write(
                    partial(self._purge, target, _PURGE_THESE, these, job_id)
                )
            except Corrupt as error:
                if len(part) > 1:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
                    continue
                log.error("a row of target %s is not removed: %s", target, error)
                unreadable.update(part)
        return removed

    def _purge(
        self, target: str, statement: str, which: int | str, job_id: str, connection: apsw.Connection
    ) -> int:
        line = sql.read_targets(connection, [target]).get(target)
        if line is None or line.header.deleted != Deleted.PURGING:
            return 0
        connection.execute(statement, (line.no, which))
        removed = connection.changes()
        look = _ANY_LEFT.get(statement)
        more = look is None or connection.execute(look, (line.no,)).get
        # The rows decide when it is over, even if the header had miscounted them.
        header = purge(line.header, min(removed, line.rows - 1) if more else line.rows)
        write_commit(connection, line.no, target, header, "delete")
        connection.execute(_COUNT, (job_id, "rows", removed))
        return removed

    async def take_back(self, target: str, job_id: str = "", *, last: bool) -> int:
        """Remove what owners were told of a target that was deleted."""

        def work(connection: apsw.Connection) -> int:
            line = sql.read_targets(connection, [target]).get(target)
            removed = take_back(connection, target, told_before(line.header if line else None))
            if removed:
                connection.execute(_COUNT, (job_id, "messages", removed))
            return removed

        return await self._database.write(work)

    async def mark_erased(self, user: str, job: Job) -> None:
        """Refuse this user's taps from now on and forget the profile."""
        now = self._clock.now_us()

        def mark(connection: apsw.Connection) -> None:
            connection.execute(MARK, (user, now))
            save_job(connection, job)

        def work(connection: apsw.Connection) -> None:
            mark(connection)
            forget_owner(connection, user)

        try:
            await self._database.write(work)
        except Corrupt:
            await self._database.write(mark)  # the job forgets what can be

    async def erase_some(self, user: str, limit: int, job_id: str = "") -> dict[str, Target]:
        """Remove up to `limit` rows of a marked user. What cannot be read is passed over, and raised at the end."""
        unreadable, tried = self._unreadable.setdefault(user, set()), list[int]()
        while True:
            numbers = await self._database.read(partial(_rows_of, user, limit + len(unreadable)))
            left = [no for no in numbers if no not in unreadable][:limit]
            if left == tried:  # nothing is left, or what only the index has
                break
            if erased := await self._erase(user, left, unreadable, job_id):
                return erased
            tried = left
        del self._unreadable[user]
        if what := what_stays(len({*unreadable, *left}), forgotten=await self._forget(user)):
            raise Stays(what)
        return {}

    async def _forget(self, user: str) -> bool:
        """What is left of this user beside reactions; whether that is all."""
        forgotten = True
        for forget in FORGET_OWNER:
            try:
                await self._database.write(partial(forget, owner=user))
            except Corrupt as error:
                log.error("something that is kept of an erased user cannot be forgotten: %s", error)
                forgotten = False
        return forgotten

    async def _erase(
        self, user: str, numbers: list[int], unreadable: set[int], job_id: str
    ) -> dict[str, Target]:
        """All of these at once, or in ever smaller parts around those that cannot be read."""
        before, erased = len(unreadable), dict[str, Target]()
        parts = [numbers]
        while parts:
            part = parts.pop()
            try:
                erased |= await self._database.write(partial(self._erase_from, user, part, job_id))
            except AWAY:
                if not erased:
                    raise
                break  # the next step meets it again
            except Corrupt as error:
                if len(part) > 1:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
                    continue
                log.error("a reaction to the target with the number %d is not erased: %s", part[0], error)
                unreadable.add(part[0])
                if not erased and len(unreadable) - before >= MOST_UNREADABLE:
                    del self._unreadable[user]  # asked again, all are tried again
                    raise
        return erased

    def _erase_from(
        self, user: str, numbers: list[int], job_id: str, connection: apsw.Connection
    ) -> dict[str, Target]:
        values = (user, msgspec.json.encode(numbers).decode())
        ids = msgspec.json.decode(connection.execute(_ROWS_IN, values).get, type=list[str])
        stored = sql.read_targets(connection, ids)
        rows = sql.read_rows(connection, [(line.no, user) for line in stored.values()])
        after: dict[str, Target] = {}
        for target, line in stored.items():
            header, transition = erase(line.header, user, rows[line.no, user], self._clock.now_us())
            event = committed(target, header, "erase", [transition], 0, line.registration)
            write_commit(connection, line.no, target, header, "erase", event)
            connection.execute("DELETE FROM reaction_row WHERE target = ? AND user = ?", (line.no, user))
            after[target] = Target(header, line.registration)
        connection.execute(_COUNT, (job_id, "rows", len(after)))
        return after


def _rows_of(user: str, limit: int, connection: apsw.Connection) -> list[int]:
    """The numbers of targets of which this user has rows, as one index has them."""
    return msgspec.json.decode(connection.execute(_ROWS_OF, (user, limit)).get, type=list[int])


def _users_of(target: str, limit: int, connection: apsw.Connection) -> list[str]:
    """Users who have rows of this target, as the same index has them."""
    line = sql.read_targets(connection, [target])[target]
    return msgspec.json.decode(connection.execute(_USERS_OF, (line.no, limit)).get, type=list[str])


class SqliteJobs:
    """See `plaudit.ports.removals.Jobs`.

    A job that cannot be read holds up nobody: it is logged and passed over, and stays for whoever can read it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, job: Job) -> None:
        """Create or replace the job with this id."""
        await self._database.write(lambda connection: save_job(connection, job))

    async def get(self, job_id: str) -> Job | None:
        """The job, or None."""
        return await self._get(job_id.encode())

    async def unfinished(self) -> list[Job]:
        """Jobs that a stopped process left running, oldest first."""
        return [job async for job in self._readable(_RUNNING, ())]

    async def latest(self, kind: JobKind, subject: str) -> Job | None:
        """The newest job of this kind on this subject, or None."""
        return await anext(self._readable(_LATEST, (kind, subject)), None)

    async def forget(self, ended_before: int, limit: int) -> int:
        """Forget receipts; writes only if there are any."""

        def look(connection: apsw.Connection) -> bool:
            statement = "SELECT EXISTS (SELECT 1 FROM job WHERE finished_at IS NOT NULL AND finished_at < ?)"
            return bool(connection.execute(statement, (ended_before,)).get)

        def work(connection: apsw.Connection) -> int:
            connection.execute(_FORGET, (ended_before, limit))
            return connection.changes()

        return await self._database.write(work) if await self._database.read(look) else 0

    async def _readable(self, statement: str, values: tuple[str, ...]) -> AsyncIterator[Job]:
        """Jobs whose ids an index has, each read by itself."""
        for (id_,) in await self._database.read(
            lambda connection: list(connection.execute(statement, values))
        ):
            try:
                job = await self._get(id_)
            except Corrupt as error:
                log.error(
                    "job %s cannot be read, and is passed over: %s", id_.decode(errors="replace"), error
                )
                continue
            if job is not None:
                yield job

    async def _get(self, job_id: bytes) -> Job | None:
        def work(connection: apsw.Connection) -> Job | None:
            for *fields, removed in connection.execute(_JOB, (job_id,)):
                its = dict(zip(_FIELDS, fields, strict=True), removed=msgspec.json.decode(removed))
                return msgspec.convert(its, Job)
            return None

        return await self._database.read(work)


def save_job(connection: apsw.Connection, job: Job) -> None:
    """Create or replace the job with this id."""
    values = (job.id, job.kind, job.subject, job.state, job.created_at, job.finished_at)
    connection.execute(_SAVE_JOB, (*values, msgspec.json.encode(job.removed).decode(), job.note))
