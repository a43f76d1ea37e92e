"""Source: gives out everything that a store holds which many processes write meanwhile, arc by arc of its ring.

A target is of one moment as far as one read of it holds (`ROWS_AT_ONCE`). Of a larger one every row is as it was at
some moment of the reading; if it changed meanwhile it is told of once more behind its rows, under the version it has
then, so that no client will have been shown a higher one. Targets are of different moments.

A split target is one: its root page by page, each row as the lane of its user has it, then whom the lanes alone know.
What the root has never comes there, and nobody is in two lanes, so each reaction is given once, whoever taps meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from plaudit.domain.cell import Header, Row
from plaudit.domain.transfer import ReactionRecord, Record, TargetRecord, UserRecord
from plaudit.ports.cells import CellKey, Cells
from plaudit.ports.sweep import CellPage, Sweep
from plaudit.ports.users import Marks, Profiles
from plaudit.services.erased import Erased
from plaudit.services.lanes import taken_over, version
from plaudit.services.walk import ARCS, arc_of

ROWS_AT_ONCE = 5_000
CELLS_PER_PAGE = 500
CELLS_AT_ONCE = 16  # read together; that many times `ROWS_AT_ONCE` are in memory


class CellSource:
    """See `plaudit.ports.transfer.Source`. How many reactions there are nobody knows: 0."""

    def __init__(
        self,
        cells: Cells,
        sweep: Sweep,
        profiles: Profiles,
        marks: Marks,
        erased: Erased,
        rows_at_once: int = ROWS_AT_ONCE,
    ) -> None:
        self._cells = cells
        self._sweep = sweep
        self._profiles = profiles
        self._marks = marks
        self._erased = erased
        self._rows_at_once = rows_at_once

    @asynccontextmanager
    async def records(self) -> AsyncIterator[tuple[int, AsyncIterator[Sequence[Record]]]]:
        """Everything, page by page."""
        yield 0, self._records()

    async def _records(self) -> AsyncIterator[Sequence[Record]]:
        async for profiles in self._profiles.walk():
            gone = await self._erased.among(profiles)
            yield [
                UserRecord(
                    user=user,
                    name=p.name,
                    avatar_url=p.avatar_url,
                    locale=p.locale,
                    time_zone=p.time_zone,
                )
                for user, p in profiles.items()
                if user not in gone
            ]
        async for marks in self._marks.walk_marks():
            yield [UserRecord(user=user, erased_at=at) for user, at in marks.items()]
        for number in range(ARCS):
            above, last = arc_of(number)
            while above < last:
                found = await self._sweep.cells(above, last, CELLS_PER_PAGE)
                above = found[-1][0] if len(found) == CELLS_PER_PAGE else last
                keys = [key for _, key in found if not key.bucket]
                for start in range(0, len(keys), CELLS_AT_ONCE):
                    async for page in self._some(keys[start : start + CELLS_AT_ONCE]):
                        yield page

    async def _some(self, keys: Sequence[CellKey]) -> AsyncIterator[Sequence[Record]]:
        """These cells, whose beginnings are read together."""
        pages = await asyncio.gather(*(self._sweep.page(key, None, self._rows_at_once) for key in keys))
        for key, page in zip(keys, pages, strict=True):
            async for records in self._cell(key, page):
                yield records

    async def _cell(self, key: CellKey, page: CellPage) -> AsyncIterator[Sequence[Record]]:
        header = page.header
        if header is None:
            return  # it is written for the first time at this moment
        told = await version(self._cells, key.target) if header.lanes > 1 else header.seq
        about = _target(key, page, header, told)
        if header.deleted:
            yield [about]
            return
        yield [about, *await self._reactions(key, header, page.rows)]
        if page.last and header.lanes == 1:
            return
        while not page.last:
            page = await self._sweep.page(key, next(reversed(list(page.rows))), self._rows_at_once)
            yield await self._reactions(key, header, page.rows)
        if header.lanes > 1:
            for bucket in range(1, header.lanes + 1):
                async for records in self._lane(CellKey(key.target, bucket), header):
                    yield records
        now = await version(self._cells, key.target)
        if now != told:
            yield [
                TargetRecord(
                    target=about.target, type=about.type, version=now, registration=about.registration
                )
            ]

    async def _lane(self, key: CellKey, root: Header) -> AsyncIterator[Sequence[Record]]:
        """Those whom the root has no row of; the others were given out with it, as their lane has them."""
        after: str | None = None
        while True:
            page = await self._sweep.page(key, after, self._rows_at_once)
            new = {user: row for user, row in page.rows.items() if row.base is None}
            yield await self._records_of(key, root, new)
            if page.last:
                return
            after = next(reversed(list(page.rows)))

    async def _reactions(self, key: CellKey, header: Header, rows: Mapping[str, Row]) -> list[ReactionRecord]:
        """A page of an unsplit target, or of a root: who tapped since the split is as their lane has them."""
        if header.lanes > 1:
            rows = {**rows, **await taken_over(self._cells, key.target, header.lanes, rows)}
        return await self._records_of(key, header, rows)

    async def _records_of(
        self, key: CellKey, header: Header, rows: Mapping[str, Row]
    ) -> list[ReactionRecord]:
        gone = await self._erased.among(rows)
        return [
            ReactionRecord(key.target, user, row.reaction, row.created_at, row.updated_at, header.type)
            for user, row in rows.items()
            if row.created_at and user not in gone
        ]


def _target(key: CellKey, page: CellPage, header: Header, told: int) -> TargetRecord:
    return TargetRecord(
        target=key.target,
        type=header.type,
        version=told,
        registration=page.registration,
        deleted=bool(header.deleted),
    )
