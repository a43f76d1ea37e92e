"""Moving whole installations: reactions in, and everything out."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from plaudit.domain.merge import Tally
from plaudit.domain.transfer import ReactionRecord, Record, TargetRecord, UserRecord

Progress = Callable[[int, int], None]  # how much is done, of how much


class Batch(msgspec.Struct):
    """Records that are stored together, by what they are about, each list in the order of the file."""

    users: list[UserRecord] = msgspec.field(default_factory=list)
    targets: dict[str, list[TargetRecord]] = msgspec.field(default_factory=dict)
    reactions: dict[str, list[ReactionRecord]] = msgspec.field(default_factory=dict)


class Stored(msgspec.Struct, frozen=True):
    """What became of the records of a batch, and whether it was stored."""

    tally: Tally
    stored: bool


class Intake(Protocol):
    """Takes records in."""

    async def store(self, batch: Batch, *, whole: bool) -> Stored:
        """Merge the batch (`plaudit.domain.merge`) and store the result durably. Nobody is notified.

        Order: users first, then cells. Idempotence: the same batch again changes nothing. `whole`: with a refused
        record nothing of the batch is stored. Reactions of erased users are left out; an erased user's rows that are
        there already are removed by a job.

        Embedded: one commit for the whole batch; no events are written, and it is up to the caller that nobody serves
        the store meanwhile. Cluster: commits of at most 128 rows of one cell, with events, beside whoever serves it;
        `whole` holds but for records that others' commits make refused after they were looked at.

        Raises `Unavailable`: nothing of the batch was stored. `OutcomeUnknown`: all of it or nothing was, or in the
        cluster some of it; either way, storing it again is right.
        """


class Source(Protocol):
    """Gives records out."""

    def records(self) -> AbstractAsyncContextManager[tuple[int, AsyncIterator[Sequence[Record]]]]:
        """How many reactions there are, about (0: nobody knows), and all records, some at a time: users, then each
        target followed by its reactions.

        Embedded: everything is of one moment, however long the reading takes and whoever writes meanwhile. Cluster:
        each target is, as far as one read holds it; where a larger one changed meanwhile, it is told of once more
        behind its reactions, with the version they may be of. Memory is bounded. Rows of erased users and deleted
        targets are left out. Raises `Unavailable`, also while iterating.
        """
