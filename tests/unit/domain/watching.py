"""A target whose taps are folded as the ledger does, and whose events go to a watch."""

from collections.abc import Sequence

import msgspec

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Header, Row, Rules, Tap, fold
from plaudit.domain.events import Committed, committed, decode
from plaudit.domain.removal import erase
from plaudit.domain.watch import UNSEEN, Watch, pack, unpack
from plaudit.domain.windows import Draft, Pace, close, follow
from tests.support.clock import START_US
from tests.support.taps import set_to

SECOND = 1_000_000
HOUR = 3600  # seconds
DAY = 24 * HOUR
OWNER = "owner"
RULES = Rules(Catalogue())


class Watched:
    """One target, its ledger, its watch, and every event so far. Time is `now`, in microseconds."""

    def __init__(self, pace: Pace = Pace()) -> None:  # noqa: B008 - frozen
        self.pace = pace
        self.now = START_US
        self.header: Header | None = None
        self.rows: dict[str, Row] = {}
        self.events: list[Committed] = []
        self.watch: Watch = UNSEEN
        self.messages: list[Draft] = []

    def reaction(self, user: str) -> int:
        """What this user feels now."""
        row = self.rows.get(user)
        return row.reaction if row else 0

    def commit(self, *taps: Tap) -> Committed | None:
        """One commit, and its event to the watch."""
        plan = fold(self.header, self.rows, taps, self.now, RULES)
        if not plan.changed:
            return None
        self.header = plan.header
        self.rows.update(plan.changed)
        return self._event(decode(committed("t", plan.header, "tap", plan.transitions)))

    def react(self, user: str, reaction: int = 1) -> None:
        """One tap, 0 to take it back."""
        self.commit(set_to(user, reaction))

    def erase(self, user: str) -> None:
        """The user's row goes away."""
        assert self.header is not None
        self.header, transition = erase(self.header, user, self.rows.pop(user), self.now)
        self._event(decode(committed("t", self.header, "erase", [transition])))

    def _event(self, event: Committed) -> Committed:
        self.events.append(event)
        self.see([event])
        return event

    def see(self, events: Sequence[Committed]) -> None:
        """Give events to the watch, which goes through its stored form."""
        self.watch = unpack(pack(follow(self.watch, events, OWNER, self.now, self.pace)))

    def wait(self, seconds: float) -> list[Draft]:
        """Let time pass, closing windows when they are due; the messages that were made."""
        until, made = self.now + round(seconds * SECOND), []
        while self.watch.window is not None and self.watch.window.closes_at <= until:
            self.now = max(self.now, self.watch.window.closes_at)
            draft, self.watch = close(self.watch, OWNER, self.now)
            made += [draft] if draft else []
        self.now = until
        self.messages += made
        return made


class Held(Watched):
    """A cell of a target whose events come to a watch when they are let go."""

    def __init__(self, bucket: int = 0) -> None:
        super().__init__()
        self.bucket = bucket
        self.under_way: list[Committed] = []

    def _event(self, event: Committed) -> Committed:
        event = msgspec.structs.replace(event, bucket=self.bucket)
        self.events.append(event)
        self.under_way.append(event)
        return event

    def come(self, *places: int) -> None:
        """Events by their places among all there were, one after the other."""
        for place in places:
            self.see([self.events[place]])


def names(draft: Draft) -> list[str]:
    """Whom a message names, in their order."""
    return [user for user, _ in draft.sample]
