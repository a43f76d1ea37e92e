"""Totals written beside the ledger now and then, as plain numbers, for whoever reads the store without Plaudit."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

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


class Touched(NamedTuple):
    """A target that has a line: of which version, and when that was committed (microseconds UTC; 0: not known)."""

    target: str
    version: int
    last_at: int


class FlushedRing(Protocol):
    """The same lines, to go through all of them by token, as `plaudit.ports.sweep.Sweep` goes through cells."""

    async def touched(self, above: int, upto: int, limit: int) -> list[tuple[int, Touched]]:
        """Up to `limit` lines with their tokens, lowest first. Raises `Unavailable`."""
