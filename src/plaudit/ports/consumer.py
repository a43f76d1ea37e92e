"""Reading the log of events as one of a group, and where events go that nobody can handle."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from plaudit.domain.events import Committed


class Record(NamedTuple):
    """An event as it lies in the log. `at_us`: when it was appended, microseconds UTC. `turn`: see `Claim`."""

    partition: int
    turn: int
    offset: int
    at_us: int
    key: bytes | None
    body: bytes


class Claim(NamedTuple):
    """That a partition is ours. Given away and got back it is another turn, with a number that was never used before.
    `start`: where the group had marked it, None if it had not.
    """

    turn: int
    start: int | None


class Mark(NamedTuple):
    """How far a partition is. Positions are offsets of the next record. Whoever gets the partition next begins at
    `keep`; everything before `done` was handled. `keep` <= `done`.
    """

    keep: int
    done: int


class Consumer(Protocol):
    """One member of a group; each partition belongs to at most one member at a time.

    Partitions come and go while `poll` is called and at no other time: what a caller does between two calls it does as
    their owner. A partition is given away only after its last mark was stored; one that was lost (the group did not
    hear from us) is not marked any more. At least once: records after a mark that was not stored come again.
    """

    @property
    def assignment(self) -> Mapping[int, Claim] | None:
        """What is ours, by partition. None before the group took us in."""

    async def poll(self, limit: int, wait_s: float) -> Sequence[Record]:
        """Up to `limit` records, each partition's in order, as soon as there are any, or none after `wait_s`.

        With a limit of 0: none, and the group keeps us all the same; what comes meanwhile comes later. To be called at
        least every few minutes, or the group gives our partitions to others. Not to be cancelled and called again.
        Raises `Unavailable`: call it again; `Conflict`: never again.
        """

    def mark(self, marks: Mapping[int, Mark]) -> None:
        """Store these soon (within about a second of polling), and before a partition is given away. May move back."""

    async def seek(self, positions: Mapping[int, int]) -> None:
        """Go on from there. Raises `Unavailable`: some did and some did not; do it again."""

    async def ends(self) -> Mapping[int, int]:
        """The position after the newest record of each partition that is ours. Raises `Unavailable`."""


class Handler(Protocol):
    """Derives something from events. Idempotent: any order, any repetition."""

    async def handle(self, events: Sequence[Committed]) -> None:
        """Returns when the work is durable.

        Raises `Unavailable`, `OutcomeUnknown`, `Overloaded`: the same events come again, however long it takes. Any
        other exception: something is wrong with one of them, and it is searched for.
        """


class Quarantine(Protocol):
    """Where events are kept that could not be read or handled, for somebody to look at."""

    async def put(self, record: Record, role: str, reason: str) -> None:
        """Keep it; stored when it returns. Raises `Unavailable` and `OutcomeUnknown`: do it again, twice is no harm."""
