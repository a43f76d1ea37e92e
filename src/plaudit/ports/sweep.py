"""Going through everything that is stored, a piece at a time, for whoever compares or rebuilds.

The store keeps its cells, and its users, on a ring of 2^64 tokens. A sweep asks for what lies in an arc of it: above
one token, up to another. It holds nothing open, so it may stop anywhere and go on from the last token it saw.
All raise `Unavailable`: ask again.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Row
from plaudit.ports.cells import CellKey

FIRST_TOKEN, LAST_TOKEN = -(2**63), 2**63 - 1


class Listed(NamedTuple):
    """An entry in the lists of those who reacted to a target."""

    user: str
    reaction: int
    created_at: int


class Indexed(NamedTuple):
    """An entry in the index of what a user reacted to. `written_at` is the timestamp it was written with."""

    target: str
    reaction: int
    created_at: int
    written_at: int


class CellPage(msgspec.Struct, frozen=True, gc=False):
    """Part of a cell, of one moment. The header is on its first page alone; `changed_at` (microseconds UTC, the store's
    clock) is when it was last committed. `last`: no rows follow."""

    header: Header | None
    registration: Registration | None
    changed_at: int
    rows: Mapping[str, Row]
    last: bool


class Sweep(Protocol):
    """Finds what there is."""

    async def cells(self, above: int, upto: int, limit: int) -> list[tuple[int, CellKey]]:
        """Up to `limit` cells with their tokens, lowest first, whether or not they can be read."""

    async def users(self, above: int, upto: int, limit: int) -> list[tuple[int, str]]:
        """Up to `limit` users that the index has entries of, with their tokens, lowest first."""

    async def page(self, key: CellKey, after: str | None, limit: int) -> CellPage:
        """Up to `limit` rows by user, after this one; None: from the header on.

        As `Cells.read`: every commit that anybody was told of is in it. Raises `Corrupt` for what cannot be read.
        """


class Places(Protocol):
    """How far a sweep has come, so that it can go on after its process has ended."""

    async def reached(self, task: str) -> dict[int, int]:
        """The last token of each arc (by number) that the task has come to."""

    async def reach(self, task: str, arc: int, token: int) -> None:
        """The task has come so far in this arc. Also raises `OutcomeUnknown`: it will do some of it again."""

    async def restart(self, task: str) -> None:
        """The task begins anew. Also raises `OutcomeUnknown`: do it again."""


class Entries(Protocol):
    """The derived lists as they are stored, entry by entry. Deletes never hit an entry that is written later."""

    async def listed(
        self, target: str, reactions: Sequence[int], limit: int, *, split: bool = False
    ) -> list[Listed]:
        """The entries in these lists of a target; where there are `limit` of one reaction there may be more.

        `split`: also in those that it has only once it is split; who is in two of them is told of twice.
        """

    async def indexed(self, target: str, places: Mapping[str, int]) -> dict[str, Indexed]:
        """What the index says of these users (with their `created_at`) and this target, where it says something."""

    async def of_user(self, user: str, before: tuple[int, str] | None, limit: int) -> list[Indexed]:
        """Up to `limit` entries of a user, newest first, after this place."""

    async def unlist(self, target: str, entries: Sequence[Listed], at: int, *, split: bool = False) -> None:
        """Delete these from the lists of a target, unless they were written after `at` (microseconds UTC); `split`:
        from whichever they are in."""

    async def unindex(self, user: str, entries: Sequence[Indexed]) -> None:
        """Delete these from the index, unless they were written again meanwhile."""


class Emptying(Protocol):
    """What a rebuild begins with."""

    async def empty(self) -> None:
        """Empty the lists, the index and the flushed totals, deletions remembered in them too. May be repeated."""
