"""Leftovers: rows of erased users that their erasure did not find, removed by whoever comes by a cell.

An erasure goes by the list of what a user reacted to. Not in it are reactions that were taken back, and what was
committed by a process of which nobody knew the outcome at the time.
"""

from collections.abc import Iterable

from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.services.erased import Erased
from plaudit.services.removals import CellRemovals


class Leftovers:
    """See the module. Lives on the event loop."""

    def __init__(self, erased: Erased, removals: CellRemovals) -> None:
        self._erased = erased
        self._removals = removals

    async def remove(self, target: str, users: Iterable[str]) -> int:
        """Remove the rows of those of these users who were erased; returns of how many. Raises `Unavailable`."""
        removed = 0
        for user in await self._erased.among(users):
            try:
                removed += await self._removals.erase_from(user, target) is not None
            except OutcomeUnknown as error:
                raise Unavailable("a row of an erased user may still be there; look again") from error
        return removed
