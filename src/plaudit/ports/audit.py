"""What the auditor needs: the header of a target and its rows, counted, of one and the same moment."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec


class Drift(msgspec.Struct, frozen=True):
    """A target whose header does not equal its rows. `counts` and `counted` are indexed by reaction code - 1."""

    target: str
    seq: int
    counts: tuple[int, ...]
    counted: tuple[int, ...]
    rows: int
    rows_counted: int


class Compared(NamedTuple):
    """How many targets were compared, those that drifted, and those that have too many rows to be compared so."""

    compared: int
    drifted: list[Drift]
    large: list[str]


class Audit(Protocol):
    """Compares headers with rows."""

    async def drift(self, targets: Sequence[str], max_rows: int) -> Compared:
        """Compare those of `targets` with at most `max_rows` rows.

        Header and rows of a target are read in one snapshot, so traffic cannot look like drift. Raises `Unavailable`,
        and `Corrupt` where one of them cannot be read.
        """

    async def drift_of_large(self, target: str, within_s: float) -> Drift | None:
        """Compare one target, however many rows it has, without keeping other readers waiting.

        Raises `Overloaded` if that takes longer, `Unavailable` and `Corrupt`.
        """
