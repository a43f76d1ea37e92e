"""Reads from SQLite: totals, own state, and the two lists, each one statement however many targets are asked for."""

from collections.abc import Mapping, Sequence

import apsw
import msgspec

from plaudit.adapters.sqlite import rows as sql
from plaudit.adapters.sqlite.database import Database
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Entry

_pairs = msgspec.json.Decoder(list[tuple[str, int]])
_triples = msgspec.json.Decoder(list[tuple[str, str, int]])
_entries = msgspec.json.Decoder(list[tuple[str, int, int]])
_pages = msgspec.json.Decoder(list[list[tuple[str, int, int]]])

_MINE = """
SELECT json_group_array(json_array(t.id, r.reaction))
FROM json_each(?2) AS wanted
CROSS JOIN target AS t ON t.id = wanted.value
CROSS JOIN reaction_row AS r ON r.target = t.no AND r.user = ?1
WHERE r.reaction > 0 AND t.deleted = 0
"""

# A target with few rows is sorted as a whole. Of a big one, one indexed read per reaction (SQLite would sort the whole
# target for `reaction IN (...)`). One statement all the same: in two of them somebody who switched in between would be
# seen twice or not at all.
_REACTORS = f"""
SELECT CASE WHEN t.rows > {sql.LISTED_ABOVE} THEN (
    SELECT json_group_array(json((SELECT json_group_array(json_array(user, reaction, created_at)) FROM (
        SELECT user, reaction, created_at FROM reaction_row
        WHERE target = t.no AND reaction = code.value AND listed = 1 AND reaction > 0
            AND (created_at, user) < (?3, ?4)
        ORDER BY created_at DESC, user DESC LIMIT ?5)))) FROM json_each(?2) AS code)
ELSE json_array(json((
    SELECT json_group_array(json_array(user, reaction, created_at)) FROM (
        SELECT user, reaction, created_at FROM reaction_row
        WHERE target = t.no AND reaction IN (SELECT value FROM json_each(?2)) AND reaction > 0
            AND (created_at, user) < (?3, ?4)
        ORDER BY created_at DESC, user DESC LIMIT ?5)))) END
FROM target AS t WHERE t.id = ?1 AND t.deleted = 0
"""  # noqa: S608 - a constant

_REACTIONS = """
SELECT json_group_array(json_array(t.id, r.user, r.reaction))
FROM json_each(?1) AS pair
CROSS JOIN target AS t ON t.id = pair.value ->> 0
CROSS JOIN reaction_row AS r ON r.target = t.no AND r.user = pair.value ->> 1
WHERE r.reaction > 0 AND t.deleted = 0
"""

_REACTED = """
SELECT json_group_array(json_array(id, reaction, created_at)) FROM (
    SELECT t.id, r.reaction, r.created_at
    FROM reaction_row AS r INDEXED BY reacted CROSS JOIN target AS t ON t.no = r.target
    WHERE r.user = ?1 AND r.created_at <= ?2 AND (r.created_at < ?2 OR t.id < ?3) AND r.reaction > 0 AND t.deleted = 0
    ORDER BY r.created_at DESC, t.id DESC LIMIT ?4)
"""

_START = (1 << 62, "")  # later than any time: the newest entry comes after it


class SqliteLists:
    """See `Counters`, `OwnState`, `Reactors` and `Reactions` in `plaudit.ports.lists`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        """The targets that exist."""

        def work(connection: apsw.Connection) -> dict[str, Target]:
            return {id_: line.target for id_, line in sql.read_targets(connection, ids).items()}

        return await self._database.read(work)

    async def mine(self, user: str, targets: Sequence[str]) -> dict[str, int]:
        """This user's reactions on those of `targets` where there is one."""
        ids = msgspec.json.encode(targets).decode()

        def work(connection: apsw.Connection) -> dict[str, int]:
            return dict(_pairs.decode(connection.execute(_MINE, (user, ids)).get))

        return await self._database.read(work) if targets else {}

    async def reacted(self, user: str, before: tuple[int, str] | None, limit: int) -> list[Entry]:
        """What this user reacted to, newest first."""
        at, target = before or _START

        def work(connection: apsw.Connection) -> list[Entry]:
            found = connection.execute(_REACTED, (user, at, target, limit)).get
            return [Entry(*entry) for entry in _entries.decode(found)]

        return await self._database.read(work)

    async def reactors(
        self,
        target: str,
        reactions: Sequence[int],
        before: tuple[int, str] | None,
        limit: int,
        *,
        split: bool = False,  # no target of one file is
    ) -> list[Entry]:
        """Who reacted, newest first: the newest of each reaction, merged."""
        at, user = before or _START
        codes = msgspec.json.encode(sorted(set(reactions))).decode()

        def work(connection: apsw.Connection) -> list[Entry]:
            pages = _pages.decode(
                connection.execute(_REACTORS, (target, codes, at, user, limit)).get or b"[]"
            )
            found = [Entry(*entry) for page in pages for entry in page]
            found.sort(key=lambda entry: (entry.created_at, entry.key), reverse=True)
            return found[:limit]

        return await self._database.read(work)

    async def seen(
        self, users: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, Target], dict[tuple[str, str], int]]:
        """These targets, and the reactions of these users on them."""
        pairs = [(target, user) for target, its in users.items() for user in its]
        return await self.targets(list(users)), await self.reactions(pairs)

    async def reactions(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """The reactions of these (target, user)."""
        wanted = msgspec.json.encode(pairs).decode()

        def work(connection: apsw.Connection) -> dict[tuple[str, str], int]:
            found = _triples.decode(connection.execute(_REACTIONS, (wanted,)).get)
            return {(target, user): reaction for target, user, reaction in found}

        return await self._database.read(work) if pairs else {}
