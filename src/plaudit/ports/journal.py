"""The journal: which proposals a process has under way, kept where the process that comes after it finds them.

A commit is stored before it is published. Whoever dies in between leaves a journal behind, and whoever adopts that
publishes the state of the users in it. Covers a process that was killed; not a machine that was lost.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from plaudit.ports.cells import CellKey


class Entry(NamedTuple):
    """A proposal that may be stored and was not published yet: from `seq`, with the rows of these users."""

    key: CellKey
    seq: int
    users: tuple[str, ...]


class Journal(Protocol):
    """The journal of this process. Neither call waits for a disk; both are for one thread, the event loop's."""

    def begin(self, key: CellKey, seq: int, users: Collection[str]) -> int:
        """Note a proposal, before it leaves; returns the place of the entry. From here on a kill does not lose it.

        Raises `Unavailable`: nothing is noted, so nothing may be proposed.
        """

    def end(self, place: int) -> None:
        """Its event is in the log or owed, or the proposal is known never to be stored. Idempotent.

        May be noted later or, if the process is killed before, never: the entry is then settled once more.
        """


class Adopted(Protocol):
    """A journal whose process is gone. Nobody else has it until it is dropped or released, or this process ends."""

    @property
    def entries(self) -> Sequence[Entry]:
        """What was begun and not ended, oldest first."""

    def drop(self) -> None:
        """Everything in it is settled and published: forget it. Raises `Unavailable`: it will be adopted again."""

    def release(self) -> None:
        """Leave it to somebody else. Idempotent; does nothing after `drop`."""


class Journals(Protocol):
    """Journals that processes left behind."""

    async def adopt(self) -> Sequence[Adopted]:
        """All whose process is gone and that nobody else has adopted. Raises `Unavailable`: they cannot be read now."""
