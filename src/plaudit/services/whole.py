"""Reading a whole cell, header and every row, as of one moment, while others commit to it."""

import msgspec

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Row
from plaudit.ports.cells import CellKey, Cells
from plaudit.ports.sweep import Sweep

PAGE = 1_000


class Whole(msgspec.Struct, frozen=True):
    """A cell as it was at one `seq`. `rows` is None where there were more than was asked for; `counted` is right all
    the same. `counts[code - 1]` is the number of rows with that reaction."""

    header: Header
    registration: Registration | None
    changed_at: int
    counts: tuple[int, ...]
    counted: int
    rows: dict[str, Row] | None


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
    counted = 0
    while True:
        counted += len(page.rows)
        for row in page.rows.values():
            if row.reaction:
                counts[row.reaction] = counts.get(row.reaction, 0) + 1
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
    return Whole(header, registration, changed_at, in_order, counted, kept)
