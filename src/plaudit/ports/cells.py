"""The cell store: one cell is one atom, and many processes may write it.

A commit is a proposal from one `seq` to the next. Of several proposals from the same `seq` one is applied; the others
are refused, or never happen. Nobody locks anything, and no clock decides.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Row

EVERYBODY = "\x7f"  # behind every user there can be


class CellKey(NamedTuple):
    """Which cell: `bucket` 0 is the root of a target, which is the only cell of one that is not split."""

    target: str
    bucket: int = 0


class CellState(msgspec.Struct, frozen=True, gc=False):
    """Header, registration and some rows of one cell, all of one moment.

    No header: nobody ever wrote this cell. `rows` has every row that exists of the users it was asked for.
    """

    header: Header | None
    registration: Registration | None
    rows: Mapping[str, Row]

    @property
    def seq(self) -> int:
        """How many commits the cell has seen."""
        return self.header.seq if self.header else 0


class Proposal(msgspec.Struct, frozen=True, gc=False):
    """A commit that is wanted: from `seq` (0: the cell is not there yet) to `header`, which has `seq + 1`, or
    more where it takes over what was shown under higher versions elsewhere.

    `rows` are written beside the header, and the registration if one is given. The rows of the users `gone` go, and
    those of every user up to and including `gone_through` (in byte order; `EVERYBODY` is behind all of them), and the
    registration goes if `unregister` says so. Everything else stays as it is.

    `lanes` is that of the header it was made from: whoever does not know that a target was split commits nothing.
    """

    seq: int
    header: Header
    rows: Mapping[str, Row]
    registration: Registration | None = None
    gone: Collection[str] = ()
    gone_through: str = ""
    unregister: bool = False
    lanes: int = 1

    def registered(self, before: Registration | None) -> Registration | None:
        """The registration once this is applied over a cell that has `before`."""
        return None if self.unregister else self.registration or before


class Cells(Protocol):
    """Reads cells and commits proposals. Every call is about one cell and ends within a few seconds, one way or the
    other. No call is ever repeated by the adapter: only the caller knows whether that is safe.
    """

    async def read(self, key: CellKey, users: Iterable[str]) -> CellState:
        """The header and the rows of `users`: at least every commit that anybody was told of before the call.

        May show a commit that is decided but that nobody was told of yet; a later read may miss that one for a moment.
        Good enough to propose from, because a proposal proves what it was made from. Changes nothing.

        Raises `Unavailable`: nothing is known. `Corrupt`: what is stored cannot be read.
        """

    async def settle(self, key: CellKey, users: Iterable[str]) -> CellState:
        """The same, linearizable: every proposal that was decided is in it, and what one call showed all later ones
        show. Costs about as much as a commit.

        A proposal whose outcome is unknown and that is not in it may still be applied later, as long as `seq` is where
        that proposal started from; once `seq` has moved on without it, it never will be.

        Raises `Unavailable`: nothing is known. `Corrupt`: what is stored cannot be read.
        """

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        """Commit the proposal if the cell still is at `proposal.seq` and `proposal.lanes`: header and rows together.

        True: it is durable at a quorum, and every later `read` shows it. False: somebody else was first and nothing of
        this call was or will be stored. The same proposal may be made again: at most one of the two is applied.

        Raises `Unavailable`: nothing of it was or will be stored. `OutcomeUnknown`: it may be stored, now or later;
        `settle` tells.
        """


class CellRows(Protocol):
    """The rows of a cell, whosever they are."""

    async def page(self, key: CellKey, after: str, limit: int) -> dict[str, Row]:
        """The first `limit` rows of users behind `after` ('' for all), in the byte order of their ids.

        Has at least every commit that anybody was told of before the call. Reads over what was removed behind `after`,
        so a walk goes on where it was. Raises `Unavailable` and `Corrupt`.
        """


class CellRoots(Protocol):
    """Which targets there are, many asked for at once."""

    async def unwritten(self, targets: Sequence[str]) -> set[str]:
        """Those of these targets, 20 at most, whose root nobody ever wrote: `Cells.read` would show nothing of them.

        Raises `Unavailable`.
        """
