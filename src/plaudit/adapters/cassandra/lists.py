"""What is read from Cassandra without Redis, and the lists derived from the events.

Derived entries are written USING TIMESTAMP = the ledger row's `updated_at`: of two writes to one entry the one with the
newer timestamp wins, whichever came first, and of an insert and a delete at the same timestamp the delete. The ledger
never makes both for one entry at one time: a user has at most one transition per commit.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, product
from typing import Any
from zlib import crc32

from plaudit.adapters.cassandra.packed import unpack_header, unpack_registration
from plaudit.adapters.cassandra.session import Session
from plaudit.adapters.cassandra.statements import AT_ONCE, PARTITIONS, Statements, all_of, tens
from plaudit.domain.catalogue import MAX_CODE, NONE, Registration
from plaudit.domain.cell import Header, Transition
from plaudit.domain.errors import PlauditError, Unavailable
from plaudit.domain.events import Committed
from plaudit.domain.lanes import lane_of, merge
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Entry
from plaudit.ports.own import NOTHING, State

HEADERS_AT_ONCE = (
    32  # apart from the rest: thousands of them, after Redis was emptied, must not keep pages waiting
)
PER_BATCH = 64  # entries of one partition that are written together
# Partitions with a single entry that are written together: half the cost of a request for each. One more, and Cassandra
# warns of every batch; with the longest ids it is below the size it warns of too.
PARTITIONS_PER_BATCH = 10
TENS_AT_ONCE = 8  # of headers
USERS_OF_TEN = 20  # what is asked of ten targets together is asked of each for the users of all
NEWEST = (2**63 - 1, "")
LIST_BUCKETS = 8  # of a split target, besides that of its root

ADD_REACTOR = """
INSERT INTO $keyspace.reactors (target, bucket, reaction, created_at, user) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?
"""
DROP_REACTOR = """
DELETE FROM $keyspace.reactors USING TIMESTAMP ?
WHERE target = ? AND bucket = ? AND reaction = ? AND created_at = ? AND user = ?
"""
REACTORS = """
SELECT user, created_at FROM $keyspace.reactors
WHERE target = ? AND bucket = ? AND reaction = ? AND (created_at, user) < (?, ?) LIMIT ?
"""
ADD_REACTED = """
INSERT INTO $keyspace.reactions_by_user (user, created_at, target, reaction) VALUES (?, ?, ?, ?) USING TIMESTAMP ?
"""
DROP_REACTED = """
DELETE FROM $keyspace.reactions_by_user USING TIMESTAMP ? WHERE user = ? AND created_at = ? AND target = ?
"""
REACTED = """
SELECT target, reaction, created_at FROM $keyspace.reactions_by_user
WHERE user = ? AND (created_at, target) < (?, ?) LIMIT ?
"""
NEWEST_REACTED = """
SELECT target, reaction, created_at, WRITETIME(reaction) FROM $keyspace.reactions_by_user WHERE user = ? LIMIT ?
"""
MINE = """
SELECT user, lanes, reaction, updated_at FROM $keyspace.cell WHERE target = ? AND bucket = ? AND user IN ('', ?)
"""
HEADERS = """
SELECT target, seq, lanes, header, registration FROM $keyspace.cell WHERE target IN ? AND bucket = 0 AND user = ''
"""
HEADER = "SELECT seq, lanes, header, registration FROM $keyspace.cell WHERE target = ? AND bucket = ? AND user = ''"
MINE_OF_MANY = (
    "SELECT user, lanes, reaction FROM $keyspace.cell WHERE target = ? AND bucket = ? AND user IN ?"
)
MANY_OF_MANY = """
SELECT target, user, lanes, reaction FROM $keyspace.cell WHERE target IN ? AND bucket = 0 AND user IN ?
"""


class CassandraLists(Statements):
    """See `plaudit.ports.lists` (all four), `plaudit.ports.index.Index` and `plaudit.ports.own.OwnLedger`; use as an
    async context manager.

    Reactors of a split target are in nine partitions for each reaction: those of the root in list bucket 0, and those
    who tapped since in one of eight, by a hash of the user.
    """

    queries = (
        ADD_REACTOR,
        DROP_REACTOR,
        REACTORS,
        ADD_REACTED,
        DROP_REACTED,
        REACTED,
        NEWEST_REACTED,
        MINE,
        MINE_OF_MANY,
        MANY_OF_MANY,
        HEADER,
        HEADERS,
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._header_room = asyncio.Semaphore(HEADERS_AT_ONCE)
        self._tens_room = asyncio.Semaphore(TENS_AT_ONCE)

    async def apply(self, events: Iterable[Committed]) -> None:
        entries = _Entries()
        for event in events:
            entries.take(event)
        batches = entries.batches()
        failed: list[PlauditError] = []

        async def write() -> None:
            for batch in batches:
                if failed:
                    return
                try:
                    await self._put(batch)
                except PlauditError as error:
                    failed.append(error)

        # Return only when all have ended: nobody is to apply newer events beside these.
        await asyncio.gather(*(write() for _ in range(AT_ONCE)))
        if failed:
            raise Unavailable("some entries may not be written; apply the events again") from failed[0]

    async def reactors(
        self,
        target: str,
        reactions: Sequence[int],
        before: tuple[int, str] | None,
        limit: int,
        *,
        split: bool = False,
    ) -> list[Entry]:
        async def of(partition: tuple[int, int]) -> list[Entry]:
            bucket, reaction = partition
            lines = await self._rows(REACTORS, target, bucket, reaction, *(before or NEWEST), limit)
            return [Entry(user, reaction, created_at) for user, created_at in lines]

        buckets = range(LIST_BUCKETS + 1 if split else 1)
        pages = await all_of(map(of, product(buckets, dict.fromkeys(reactions))))
        # Who is switching may stand in two lists for a moment, at the same place in both.
        found = {(entry.created_at, entry.key): entry for page in pages for entry in page}
        return [found[place] for place in sorted(found, reverse=True)[:limit]]

    async def reacted(self, user: str, before: tuple[int, str] | None, limit: int) -> list[Entry]:
        lines = await self._rows(REACTED, user, *(before or NEWEST), limit)
        return [Entry(target, reaction, created_at) for target, reaction, created_at in lines]

    async def newest(self, user: str, limit: int) -> list[tuple[Entry, int]]:
        lines = await self._rows(NEWEST_REACTED, user, limit)
        return [(Entry(target, reaction, created_at), at) for target, reaction, created_at, at in lines]

    async def mine(self, user: str, targets: Sequence[str]) -> dict[str, int]:
        states = await self.states(user, targets)
        return {target: state.reaction for target, state in states.items() if state.reaction}

    async def states(self, user: str, targets: Sequence[str]) -> dict[str, State]:
        async def on(target: str) -> State:
            lanes, root = await self._row(target, 0, user)
            if lanes == 1:
                return root or NOTHING
            _, lane = await self._row(target, lane_of(user, lanes), user)
            return lane or root or NOTHING

        targets = list(dict.fromkeys(targets))
        return dict(zip(targets, await all_of(map(on, targets)), strict=True))

    async def reactions(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        async def of(targets: list[str]) -> list[tuple[tuple[str, str], int]]:
            roots = await self._roots(targets, by_target)
            found = await all_of(
                self._in_lanes(by_target[target], target, *roots[target]) for target in targets
            )
            return [line for lines in found for line in lines]

        by_target: dict[str, list[str]] = {}
        for target, user in dict.fromkeys(pairs):
            by_target.setdefault(target, []).append(user)
        found = await all_of(map(of, _groups(by_target)))
        return dict(line for lines in found for line in lines)

    async def _roots(
        self, targets: list[str], by_target: dict[str, list[str]]
    ) -> dict[str, tuple[int, dict[str, int]]]:
        """As `_reactions`, of the roots of these targets."""
        if len(targets) == 1:
            return {targets[0]: await self._reactions(targets[0], 0, by_target[targets[0]])}
        users = {user for target in targets for user in by_target[target]}
        lanes, found = dict.fromkeys(targets, 1), {target: dict[str, int]() for target in targets}
        for target, name, over, reaction in await self._rows(MANY_OF_MANY, targets, ["", *users]):
            if name:
                found[target][name] = reaction or NONE
            else:
                lanes[target] = over or 1
        return {
            target: (lanes[target], {user: its[user] for user in by_target[target] if user in its})
            for target, its in found.items()
        }

    async def _in_lanes(
        self, users: list[str], target: str, lanes: int, found: dict[str, int]
    ) -> list[tuple[tuple[str, str], int]]:
        """The reactions `found` in the root of a target, and the newer ones in its lanes."""
        if lanes > 1:
            by_lane: dict[int, list[str]] = {}
            for user in users:
                by_lane.setdefault(lane_of(user, lanes), []).append(user)
            work = (self._reactions(target, bucket, some) for bucket, some in by_lane.items())
            for _, newer in await all_of(work):
                found |= newer
        return [((target, user), reaction) for user, reaction in found.items() if reaction]

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        ids = list(dict.fromkeys(ids))
        if len(ids) < PARTITIONS:
            roots = dict(zip(ids, await all_of(self._cell(target, 0) for target in ids), strict=True))
        else:
            found = await all_of(map(self._root_cells, tens(ids)))
            roots = dict(line for lines in found for line in lines)
        split = {
            name: (root.header, root.registration)
            for name, root in roots.items()
            if root and root.header and root.header.lanes > 1
        }
        whole = zip(split, await all_of(self._whole(name, *its) for name, its in split.items()), strict=True)
        return {target: state for target, state in (roots | dict(whole)).items() if state is not None}

    async def _root_cells(self, targets: list[str]) -> list[tuple[str, Target | None]]:
        async with self._tens_room:
            result = await self._session.read(self._bound(HEADERS, targets))
        return [(target, _target(*line)) for target, *line in (row.as_tuple() for row in result.all())]

    async def _whole(self, target: str, header: Header, registration: Registration | None) -> Target:
        """A split target, from what its root is."""
        buckets = range(1, header.lanes + 1)
        cells = await all_of(self._cell(target, bucket) for bucket in buckets)
        lanes = {n: cell.header for n, cell in zip(buckets, cells, strict=True) if cell and cell.header}
        return Target(merge(header, lanes), registration, {0: header, **lanes})

    async def _cell(self, target: str, bucket: int) -> Target | None:
        async with self._header_room:
            result = await self._session.read(self._bound(HEADER, target, bucket))
        for row in result.all():
            return _target(*row.as_tuple())
        return None

    async def _row(self, target: str, bucket: int, user: str) -> tuple[int, State | None]:
        """Over how many lanes the header of the cell says that the target is split, and the user's row in it."""
        over, state = 1, None
        for name, lanes, reaction, updated_at in await self._rows(MINE, target, bucket, user):
            if name:
                state = State(reaction or NONE, updated_at or 0)
            else:
                over = lanes or 1
        return over, state

    async def _reactions(self, target: str, bucket: int, users: Sequence[str]) -> tuple[int, dict[str, int]]:
        """As `_row`, of many users, and reactions alone."""
        over, found = 1, {}
        for name, lanes, reaction in await self._rows(MINE_OF_MANY, target, bucket, ["", *users]):
            if name:
                found[name] = reaction or NONE
            else:
                over = lanes or 1
        return over, found

    async def _put(self, batch: "_Batch") -> None:
        """Write entries, each at its own time and for itself: of a batch that fails some may be there."""
        statements = [self._prepared[query].bind(values) for query, values in batch]
        if len(statements) == 1:
            await self._session.write(statements[0])
        else:
            await self._session.commit(statements)


_Batch = list[tuple[str, list[Any]]]  # statements that travel together, with their values


class _Entries:
    """What events make of the lists: per entry the newest write, and of two at one time the one that deletes.

    That is what the store would keep of all of them, so the rest need not be written.
    """

    def __init__(self) -> None:
        # Partition -> entry -> (at, reaction), which is NONE where the entry goes.
        self._reactors: dict[tuple[str, int, int], dict[tuple[int, str], tuple[int, int]]] = {}
        self._reacted: dict[str, dict[tuple[int, str], tuple[int, int]]] = {}

    def take(self, event: Committed) -> None:
        """Note what each transition says: the entry that is, and no other; where `before` is unknown, all others go.

        Whoever taps in a lane has left the list of the root, under whatever reaction they stood there.
        """
        target = event.target
        for user, before, after, created_at, at in map(_fields, event.transitions):
            place, bucket = (created_at, user), list_bucket(event.bucket, user)
            for code in _ALL_CODES if before is None else (before,):
                if code not in (NONE, after):
                    _keep_newer(self._reactors.setdefault((target, bucket, code), {}), place, at, NONE)
                if bucket and code:
                    _keep_newer(self._reactors.setdefault((target, 0, code), {}), place, at, NONE)
            if after:
                _keep_newer(self._reactors.setdefault((target, bucket, after), {}), place, at, after)
            _keep_newer(self._reacted.setdefault(user, {}), (created_at, target), at, after)

    def batches(self) -> Iterator[_Batch]:
        """The writes: some of one partition at a time, or of some partitions with one each."""
        lone: _Batch = []
        for batch in self._by_partition():
            if len(batch) > 1:
                yield batch
                continue
            lone += batch
            if len(lone) == PARTITIONS_PER_BATCH:
                yield lone
                lone = []
        if lone:
            yield lone

    def _by_partition(self) -> Iterator[_Batch]:
        for (target, bucket, code), entries in self._reactors.items():
            yield from _some(
                (ADD_REACTOR, [target, bucket, code, created_at, user, at])
                if stays
                else (DROP_REACTOR, [at, target, bucket, code, created_at, user])
                for (created_at, user), (at, stays) in entries.items()
            )
        for user, entries in self._reacted.items():
            yield from _some(
                (ADD_REACTED, [user, created_at, target, reaction, at])
                if reaction
                else (DROP_REACTED, [at, user, created_at, target])
                for (created_at, target), (at, reaction) in entries.items()
            )


_ALL_CODES = range(1, MAX_CODE + 1)


def list_bucket(bucket: int, user: str) -> int:
    """In which list bucket the reactors of a cell are: `bucket` is the cell's."""
    return 1 + crc32(user.encode()) % LIST_BUCKETS if bucket else 0


def _fields(t: Transition) -> tuple[str, int | None, int, int, int]:
    return t.user, t.before, t.after, t.created_at, t.at


def _keep_newer(
    entries: dict[tuple[int, str], tuple[int, int]], place: tuple[int, str], at: int, reaction: int
) -> None:
    known = entries.get(place)
    if known is None or known[0] < at or (known[0] == at and not reaction):
        entries[place] = at, reaction


def _some(writes: Iterator[tuple[str, list[Any]]]) -> Iterator[_Batch]:
    while batch := list(islice(writes, PER_BATCH)):
        yield batch


def _target(seq: int | None, lanes: int | None, header: bytes | None, registration: bytes | None) -> Target:
    return Target(unpack_header(header or b"", seq or 0, lanes), unpack_registration(registration))


def _groups(by_target: dict[str, list[str]]) -> Iterator[list[str]]:
    """Targets that are asked together: few, with few users of all of them."""
    group, users = list[str](), 0
    for target, its in by_target.items():
        if group and (len(group) == PARTITIONS or users + len(its) > USERS_OF_TEN):
            yield group
            group, users = [], 0
        group.append(target)
        users += len(its)
    if group:
        yield group
