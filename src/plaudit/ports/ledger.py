"""The ledger: the truth. Cells change here and nowhere else."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Answer, Header, Refused, Tap


class Target(msgspec.Struct, frozen=True, gc=False):
    """What is known about one target: its header (None: nobody reacted and it is not registered) and registration.

    Every change of either is a commit, so the one with the higher `header.seq` is the newer one. Of a split target the
    header is that of all cells together, and `cells` has them by bucket where they were read.
    """

    header: Header | None = None
    registration: Registration | None = None
    cells: Mapping[int, Header] | None = None


class CellTaps(msgspec.Struct, frozen=True, gc=False):
    """Taps on one target that ride in one commit: at most 128 users and 4 taps of each."""

    target: str
    taps: Sequence[Tap]


class CellResult(msgspec.Struct, frozen=True, gc=False):
    """One answer per tap, in order, and the target as it is after the commit."""

    target: Target
    answers: list[Answer | Refused]


class Ledger(Protocol):
    """Commits taps."""

    async def commit(self, work: Sequence[CellTaps]) -> list[CellResult]:
        """Fold and store the taps of these cells (each once), durably, one commit per cell.

        Atomicity: per cell, header and rows and event together; here also over all cells of one call. Order: calls
        are applied in the order made. Idempotence: by operation id, within a row's memory. Returns one result per
        cell, in order; a tap of an erased user is `Refused("user_erased")`.

        Raises `Unavailable`: nothing of this call was stored. `Corrupt`: the same, and what one of the cells needs
        cannot be read. `OutcomeUnknown`: all of it or nothing was.
        """
