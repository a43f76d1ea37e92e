"""Totals written beside the ledger now and then, as plain numbers, for whoever reads the store without Plaudit."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from plaudit.ports.ledger import Target


class Flushed(Protocol):
    """Derived, one line per target. Of two states the one with the higher `seq` stays, so doubled, late and reordered
    writes converge. All raise `Unavailable`; then some of it may have happened, do it again.
    """

    async def get(self, ids: Sequence[str]) -> dict[str, Target]:
        """What is written of these: headers with type, counts, rows and seq alone; one read each."""

    async def put(self, states: Mapping[str, Target]) -> None:
        """Write the totals of these, each unless a newer state is written; durable at a quorum when it returns. Those
        without a header are passed over."""
