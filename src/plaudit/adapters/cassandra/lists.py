"""What is read from Cassandra without Redis: the ledger, and the lists that `index` derives from the events."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product, starmap

from plaudit.adapters.cassandra.index import LIST_BUCKETS
from plaudit.adapters.cassandra.packed import unpack_header, unpack_registration
from plaudit.adapters.cassandra.session import Session
from plaudit.adapters.cassandra.statements import PARTITIONS, Statements, all_of, tens
from plaudit.domain.catalogue import NONE, Registration
from plaudit.domain.cell import Header
from plaudit.domain.lanes import lane_of, merge
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Entry
from plaudit.ports.own import NOTHING, State

HEADERS_AT_ONCE = (
    32  # apart from the rest: thousands of them, after Redis was emptied, must not keep pages waiting
)
TENS_AT_ONCE = 10  # of headers: a feed of a hundred targets waits once
USERS_OF_TEN = 20  # what is asked of ten targets together is asked of each for the users of all
NEWEST = (2**63 - 1, "")
SHARE = 3  # of a page at most is in one of the dozens of lists of a split target, mostly: so much is read of each first

REACTORS = """
SELECT user, created_at FROM $keyspace.reactors
WHERE target = ? AND bucket = ? AND reaction = ? AND (created_at, user) < (?, ?) LIMIT ?
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
SEEN = """
SELECT target, user, reaction, seq, lanes, header, registration FROM $keyspace.cell
WHERE target IN ? AND bucket = 0 AND user IN ?
"""


class CassandraLists(Statements):
    """See `plaudit.ports.lists` (`Counters`, `Reactors` and `Reactions`) and `plaudit.ports.own.OwnLedger`; use as an
    async context manager inside an open session."""

    queries = (REACTORS, REACTED, NEWEST_REACTED, MINE, MINE_OF_MANY, MANY_OF_MANY, SEEN, HEADER, HEADERS)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._header_room = asyncio.Semaphore(HEADERS_AT_ONCE)
        self._tens_room = asyncio.Semaphore(TENS_AT_ONCE)

    async def reactors(
        self,
        target: str,
        reactions: Sequence[int],
        before: tuple[int, str] | None,
        limit: int,
        *,
        split: bool = False,
    ) -> list[Entry]:
        async def read(lists: Iterable[tuple[int, int]], most: int) -> list[list[Entry]]:
            async def of(bucket: int, reaction: int) -> list[Entry]:
                lines = await self._rows(REACTORS, target, bucket, reaction, *(before or NEWEST), most)
                return [Entry(user, reaction, created_at) for user, created_at in lines]

            return await all_of(starmap(of, lists))

        if not split:
            return _newest(await read(product((0,), dict.fromkeys(reactions)), limit), limit)
        lists = list(product(range(LIST_BUCKETS + 1), dict.fromkeys(reactions)))
        most = limit // SHARE + 1
        parts = await read(lists, most)
        page = _newest(parts, limit)
        # A list of which all that was read is on the page may have more of it.
        on = [
            its
            for its, part in zip(lists, parts, strict=True)
            if len(part) == most and _place(part[-1]) >= _place(page[-1])
        ]
        return _newest([page, *await read(on, limit)], limit) if on else page

    async def reacted(self, user: str, before: tuple[int, str] | None, limit: int) -> list[Entry]:
        lines = await self._rows(REACTED, user, *(before or NEWEST), limit)
        return [Entry(target, reaction, created_at) for target, reaction, created_at in lines]

    async def newest(self, user: str, limit: int) -> list[tuple[Entry, int]]:
        lines = await self._rows(NEWEST_REACTED, user, limit)
        return [(Entry(target, reaction, created_at), at) for target, reaction, created_at, at in lines]

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

    async def seen(
        self, users: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, Target], dict[tuple[str, str], int]]:
        found = await all_of(self._seen(targets, users) for targets in _groups(users))
        roots, reactions = dict[str, Target](), dict[tuple[str, str], int]()
        for targets, its in found:
            roots |= targets
            reactions |= its
        split = {name for name, root in roots.items() if root.header and root.header.lanes > 1}
        if not split:
            return roots, reactions
        whole, newer = await asyncio.gather(
            self.targets([*split]), self.reactions([(name, user) for name in split for user in users[name]])
        )
        # What a lane took back may still be in the root.
        return roots | whole, {pair: code for pair, code in reactions.items() if pair[0] not in split} | newer

    async def _seen(
        self, targets: list[str], users: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, Target], dict[tuple[str, str], int]]:
        """The roots of these targets, and the reactions of their users in them."""
        names = {user for target in targets for user in users[target]}
        roots, reactions = dict[str, Target](), dict[tuple[str, str], int]()
        for target, name, reaction, *header in await self._rows(SEEN, targets, ["", *names]):
            if not name:
                roots[target] = _target(*header)
            elif reaction and name in users[target]:
                reactions[target, name] = reaction
        return roots, reactions

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


def _target(seq: int | None, lanes: int | None, header: bytes | None, registration: bytes | None) -> Target:
    return Target(unpack_header(header or b"", seq or 0, lanes), unpack_registration(registration))


def _place(entry: Entry) -> tuple[int, str]:
    return entry.created_at, entry.key


def _newest(parts: Iterable[list[Entry]], limit: int) -> list[Entry]:
    """Of several lists, in one. Who is switching may stand in two for a moment, at the same place in both."""
    found = {_place(entry): entry for part in parts for entry in part}
    return [found[place] for place in sorted(found, reverse=True)[:limit]]


def _groups(by_target: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
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
