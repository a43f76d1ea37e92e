"""Totals kept near the readers: the newest state of targets that somebody told of, packed, in memory."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from plaudit.domain.events import Committed
from plaudit.ports.ledger import Target


class Totals(Protocol):
    """Derived, and of one state per target: which of two is kept is decided by `seq`, so it does not matter how often,
    in which order or by whom they are told. All raise `Unavailable`; then some of it may have happened, do it again.
    """

    async def get(self, ids: Sequence[str]) -> dict[str, Target]:
        """What is kept of these, in one read however many ids. `Target()`: known to have no header. Left out: nothing
        is known, ask the ledger."""

    async def put(self, states: Mapping[str, Target]) -> None:
        """Keep what was read from the ledger, each unless a newer state is kept. `Target()` is kept for a minute, where
        nothing else is."""

    async def apply(self, events: Sequence[Committed]) -> None:
        """Keep what these events say, each unless a newer state is kept. At most one event per cell."""

    async def forget(self, ids: Collection[str]) -> None:
        """Know nothing of these any more."""
