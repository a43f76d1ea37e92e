"""Everything that is read: totals, own state, and the two lists derived from the rows.

All reads see whole commits, but for the two lists of the cluster profile, which trail the ledger: who is switching may
stand in them under the reaction before, or for a moment under none. None of them waits for the writer. Each raises
`Unavailable` when the store cannot be read, and `Corrupt` when a place in it cannot.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from plaudit.ports.ledger import Target


class Entry(msgspec.Struct, frozen=True):
    """One line of a list: who, what, and when first (microseconds UTC). `key` is the user or the target."""

    key: str
    reaction: int
    created_at: int


class Counters(Protocol):
    """Totals."""

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        """The targets that exist; one read however many ids."""


class Reacted(Protocol):
    """What one user reacted to."""

    async def reacted(self, user: str, before: tuple[int, str] | None, limit: int) -> list[Entry]:
        """What this user reacted to, newest first (`created_at`, then target, descending), after the place `before`."""


class OwnState(Reacted, Protocol):
    """What one user did."""

    async def mine(self, user: str, targets: Sequence[str]) -> dict[str, int]:
        """This user's reaction codes on those of `targets` where there is one; one read however many ids."""


class Reactors(Protocol):
    """Who reacted to a target."""

    async def reactors(
        self,
        target: str,
        reactions: Sequence[int],
        before: tuple[int, str] | None,
        limit: int,
        *,
        split: bool = False,
    ) -> list[Entry]:
        """Users with one of these reactions, newest first (`created_at`, then user, descending), after `before`.

        `split`: whether the target is, as its header says; a target that was split since may lack the newest.
        """


class Reactions(Protocol):
    """What many users did, each on one target."""

    async def seen(
        self, users: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, Target], dict[tuple[str, str], int]]:
        """Those of these targets that exist, and with them the reaction codes of some users of each, as `reactions` has
        them; one read however many."""

    async def reactions(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """The reaction codes of these (target, user) where there is one; one read however many pairs."""
