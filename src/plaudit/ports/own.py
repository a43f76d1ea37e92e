"""Own state kept near the readers: what a user did on a few hundred targets, and from when on silence means nothing.

Times are microseconds UTC. Of two states of one (user, target) the one with the newer `at` stays, whoever tells it and
in whichever order, so everything here may be repeated. All raise `Unavailable`; some of it may have happened then, and
it may be done again.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from plaudit.ports.lists import Entry, Reacted


class State(NamedTuple):
    """One user's reaction to one target, and when it became so. `NOTHING`: the ledger has no row of them."""

    reaction: int
    at: int


NOTHING = State(0, 0)


class Change(NamedTuple):
    """A user's state on a target, as a commit or the ledger has it."""

    user: str
    target: str
    state: State


class Recalled(NamedTuple):
    """What is kept of one user.

    `since`: every reaction of theirs that was first given after this time is kept, so that a target that is not in
    `states` has none of it. 0: every reaction at all. None: what is not in `states` is not known.
    """

    states: Mapping[str, State]
    since: int | None


class OwnStates(Protocol):
    """What is kept, by user; bounded for each. Good for an hour once loaded; a tap stays for 15 minutes at least."""

    async def recall(self, user: str, targets: Sequence[str]) -> Recalled:
        """What is kept of this user on these targets, in one read."""

    async def note(self, changes: Sequence[Change], *, create: bool) -> None:
        """Keep these, each unless a newer one is kept; a removal too. One round trip, however many users.

        `create`: a tap that may not be in any list yet; it is kept for 15 minutes at least, also where nothing is kept
        of the user. Otherwise it is left out there: whoever loads them finds it in the list.
        """

    async def begin(self, user: str) -> str:
        """Begin to load a user; the token holds while nothing that is kept of them is lost. Taps of the last 15 minutes
        stay, and what is older goes, unless it was loaded within the hour."""

    async def finish(self, user: str, token: str, since: int, states: Mapping[str, State]) -> int | None:
        """Merge what the list says, and let silence mean nothing after `since`, for an hour from now.

        Returns from when on it does, which may be later; None if the token does not hold: nothing was kept.
        """

    async def forget(self, users: Collection[str]) -> None:
        """Keep nothing of these; what was begun will not be finished."""


class Indexed(Protocol):
    """How far the lists follow the log. Told by those who bring them up to date, asked by those who load from them."""

    async def reach(self, partitions: Mapping[int, int]) -> None:
        """In these partitions of the log, everything that was in it at that time is in the lists."""

    async def reached(self) -> int | None:
        """The time up to which all partitions are in the lists. None: of some nobody has told."""

    async def forget(self) -> None:
        """The lists were emptied: they follow nothing, until somebody tells again."""


class OwnLedger(Reacted, Protocol):
    """What the store of commits, and the lists derived from it, have of a user. All raise `Unavailable`."""

    async def newest(self, user: str, limit: int) -> list[tuple[Entry, int]]:
        """What this user reacted to, newest first, each with the time of its last change; as far as it is indexed."""

    async def states(self, user: str, targets: Sequence[str]) -> dict[str, State]:
        """The user's state on each of these targets, from the ledger itself; `NOTHING` where there is no row."""
