"""Reading a whole cell, header and every row, as of one moment while others commit to it; and all cells of a target."""

from collections.abc import Mapping

import msgspec

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Row
from plaudit.domain.lanes import merge
from plaudit.ports.cells import CellKey, Cells
from plaudit.ports.sweep import Sweep

PAGE = 1_000


class Whole(msgspec.Struct, frozen=True):
    """A cell as it was at one `seq`. `rows` is None where there were more than was asked for; `counted` is right all
    the same. `counts[code - 1]` is the number of rows with that reaction, in a lane less those that started from it;
    `new` is the number of rows that started from none of the root."""

    header: Header
    registration: Registration | None
    changed_at: int
    counts: tuple[int, ...]
    counted: int
    new: int
    rows: dict[str, Row] | None


class Together(msgspec.Struct, frozen=True):
    """A target with all of its cells, each as it was at some moment: the header that they add up to, and the rows that
    count, None where there are too many. A target that is not split is its root."""

    header: Header
    registration: Registration | None
    changed_at: int
    counted: int
    rows: Mapping[str, Row] | None
    root: Whole
    lanes: Mapping[int, Whole]

    @property
    def cells(self) -> dict[int, Header] | None:
        """The headers by bucket; None where it is not split."""
        if self.header.lanes == 1:
            return None
        return {0: self.root.header, **{bucket: lane.header for bucket, lane in self.lanes.items()}}


async def read_whole(
    cells: Cells, sweep: Sweep, key: CellKey, most_rows: int, *, fenced: bool
) -> Whole | None:
    """The cell; None if there is none, or if it changed meanwhile: read it again.

    A cell of one page is read at once, which is of one moment. A larger one, or one of which that has to be proven
    (`fenced`), is read between two linearizable reads of its header: the first brings every decided commit to a quorum,
    so that all pages show it, and the second shows every commit that any page may have shown. Equal: nobody came
    between. Raises `Unavailable` and `Corrupt`.
    """
    before = (await cells.settle(key, [])).seq if fenced else None
    page = await sweep.page(key, None, PAGE)
    if page.header is None:
        return None
    if not page.last and before is None:
        return await read_whole(cells, sweep, key, most_rows, fenced=True)
    header, registration, changed_at = page.header, page.registration, page.changed_at
    counts: dict[int, int] = {}
    kept: dict[str, Row] | None = {}
    counted = new = 0
    while True:
        counted += len(page.rows)
        for row in page.rows.values():
            if row.reaction:
                counts[row.reaction] = counts.get(row.reaction, 0) + 1
            if row.base:
                counts[row.base] = counts.get(row.base, 0) - 1
            new += row.base is None
        if kept is not None and counted <= most_rows:
            kept.update(page.rows)
        else:
            kept = None
        if page.last:
            break
        page = await sweep.page(key, next(reversed(list(page.rows))), PAGE)
    if before is not None and not before == header.seq == (await cells.settle(key, [])).seq:
        return None
    in_order = tuple(counts.get(code, 0) for code in range(1, max(counts, default=0) + 1))
    return Whole(header, registration, changed_at, in_order, counted, new, kept)


async def read_together(
    cells: Cells, sweep: Sweep, root: Whole, target: str, most_rows: int, *, fenced: bool
) -> Together | None:
    """The target of this root, whose cells have `most_rows` at most together, or else no rows; None if one of its lanes
    changed meanwhile: read all of it again. Lanes that nobody wrote are left out. Raises `Unavailable` and `Corrupt`.

    Of too large a target no lane is read to its end.
    """
    lanes: dict[int, Whole] = {}
    rows = None if root.rows is None else dict(root.rows)
    counted = root.counted
    for bucket in range(1, root.header.lanes + 1) if root.header.lanes > 1 else ():
        key = CellKey(target, bucket)
        if rows is None:
            lane = await _beginning(sweep, key)
        else:
            lane = await read_whole(cells, sweep, key, max(0, most_rows - counted), fenced=fenced)
        if lane is None:
            if (await cells.settle(key, [])).header is not None:
                return None
            continue
        lanes[bucket] = lane
        counted += lane.counted
        if rows is not None and lane.rows is not None:
            rows.update(lane.rows)
        else:
            rows = None
    header = root.header
    if header.lanes > 1:
        header = merge(header, {bucket: lane.header for bucket, lane in lanes.items()})
    changed_at = max(cell.changed_at for cell in (root, *lanes.values()))
    return Together(header, root.registration, changed_at, counted, rows, root, lanes)


async def _beginning(sweep: Sweep, key: CellKey) -> Whole | None:
    """A cell of which nobody counts the rows."""
    page = await sweep.page(key, None, 1)
    if page.header is None:
        return None
    return Whole(page.header, page.registration, page.changed_at, (), 0, 0, None)
