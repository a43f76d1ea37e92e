"""What the auditor needs: the header of a target and its rows, counted, of one and the same moment."""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Drift(msgspec.Struct, frozen=True):
    """A target whose header does not equal its rows. `counts` and `counted` are indexed by reaction code - 1."""

    target: str
    seq: int
    counts: tuple[int, ...]
    counted: tuple[int, ...]
    rows: int
    rows_counted: int


class Audit(Protocol):
    """Compares headers with rows."""

    async def drift(self, targets: Sequence[str], max_rows: int) -> tuple[int, list[Drift]]:
        """How many of `targets` were compared (those with at most `max_rows` rows), and which of them drifted.

        Header and rows of a target are read in one snapshot, so traffic cannot look like drift.
        """
