"""Where watches are kept between events: one value per target, found by name or by when its window ends.

Fits one value with a version in any store that can compare and set: a row, or a value in Redis with a sorted set of due
times in the same slot. The rules are in `plaudit.domain.windows`; a store knows none of them. All methods raise
`Unavailable`, `Corrupt` where a place cannot be read, and, where they write, `OutcomeUnknown`. A store that tells the
first from the last means by it that nothing happened; where none of it is the only copy, the first may stand for both.
Load again and do it again: versions tell.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from plaudit.domain.watch import UNSEEN, Watch


class Stored(msgspec.Struct, frozen=True):
    """A watch and the version under which it is stored; 0: not stored yet."""

    watch: Watch = UNSEEN
    version: int = 0


class Change(msgspec.Struct, frozen=True):
    """A watch to store over `version`. `due` is when its window ends (microseconds UTC), None for no window; then it
    may go at `forget_at`."""

    target: str
    version: int
    watch: Watch
    due: int | None
    forget_at: int


class Batches(Protocol):
    """Watches by target."""

    async def load(self, targets: Sequence[str]) -> dict[str, Stored]:
        """Those that are stored; one read however many targets."""

    async def save(self, changes: Sequence[Change]) -> list[str]:
        """Store each watch, durably, unless its target's version has moved on; returns the targets where it had.

        Atomic per target. A target that the store could know of and does not counts as moved on. The lease of what it
        stores ends if its window does: if it has none, or one that ends later than before. Else whoever has claimed it
        keeps it, though they lose by version.
        """

    async def claim(self, until: int, lease_s: float, limit: int) -> list[tuple[str, Stored]]:
        """Up to `limit` watches whose windows ended by `until`, the oldest first, for the caller alone for `lease_s`.

        Found without going through the others. Those that cannot be read are left out, after a `Corrupt` that tells of
        them. A claim ends with the window (see `save`), after `lease_s`, or with its holder's death; then others may
        claim it. Whoever saves after that loses by version.
        """

    async def ending_after(self, due: int, limit: int) -> list[tuple[str, Stored]]:
        """Up to `limit` watches whose windows end after `due`, claimed or not; found without going through others."""

    async def forget(self, now: int, limit: int) -> int:
        """Remove up to `limit` watches without a window whose time has come; returns how many."""


class Due(Protocol):
    """The same watches, for whoever asks how late they are."""

    async def next_due(self) -> int | None:
        """When the window that ends first ends, or ended (microseconds UTC), claimed or not; None if none is open.
        Those that `claim` leaves out because they cannot be read do not count."""


class Told(Protocol):
    """Whom owners were told of, where the ledger is: for a store of watches that may forget. It is written with the
    messages (`plaudit.ports.notifications.Inbox`)."""

    async def told(self, owners: Mapping[str, str]) -> dict[str, Watch]:
        """The watches of targets as their last messages to these owners (by target) left them, where there was one
        within a day. Raises `Unavailable`."""
