"""Two lanes whose events come in any order, some again, to a store that forgets: nobody is missed or told of twice."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from plaudit.domain.events import Committed
from plaudit.domain.watch import UNSEEN, Watch, pack, unpack
from plaudit.domain.windows import checked, close, ended, follow, retold, without
from tests.support.taps import set_to
from tests.unit.domain.watching import DAY, HOUR, OWNER, SECOND, Held

UNDER_WAY = 6  # events of a lane at most
LATE_S = 20  # at most, which is less than any window is open
FORGETS_S = 60  # what a failover may forget


class Disorder(RuleBasedStateMachine):
    """Two lanes, taps, and events in whatever order. The owner is told as `plaudit.services.tell` does."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = [Held(1), Held(2)]
        self.watch: Watch = UNSEEN
        self.kept: Watch | None = None  # beside the inbox
        self.log: list[Committed] = []
        self.before: list[tuple[int, Watch, int]] = []  # when, the watch, and how much of the log it had
        self.told: dict[str, int] = {}
        self.base: set[str] = set()  # who reacted at the last calm
        self.free: set[str] = set()  # who has had no reaction since
        self.excused: set[str] = (
            set()
        )  # who had taken it back when the message was made, which the watch did not know

    @property
    def now(self) -> int:
        return self.lanes[0].now

    def reaction(self, user: str) -> int:
        return self._lane(user).reaction(user)

    def _lane(self, user: str) -> Held:
        return self.lanes[user in "abcd"]

    def _see(self, events: list[Committed]) -> None:
        pace = self.lanes[0].pace
        after = follow(self.watch, events, OWNER, self.now, pace)
        if self.watch is UNSEEN and after is not UNSEEN and self.kept is not None:
            after = follow(self.kept, events, OWNER, self.now, pace)
        self.watch = unpack(pack(after)) if after is not UNSEEN else UNSEEN

    @rule(
        taps=st.lists(
            st.tuples(st.sampled_from([*"abcdefgh", OWNER]), st.sampled_from([0, 0, 1, 1, 2])),
            min_size=1,
            max_size=3,
        ),
        later_us=st.sampled_from([1, 1_000, 500_000]),
    )
    def tap(self, taps: list[tuple[str, int]], later_us: int) -> None:
        lane = self._lane(taps[0][0])
        self._pass(later_us)
        lane.commit(*(set_to(user, code) for user, code in dict(taps).items() if self._lane(user) is lane))
        self.free |= {user for user in "abcdefgh" if not self.reaction(user)}
        while len(lane.under_way) > UNDER_WAY:
            self._arrive(lane, 0)

    @rule(lane=st.integers(0, 1), place=st.integers(0, UNDER_WAY - 1))
    def arrive(self, lane: int, place: int) -> None:
        if its := self.lanes[lane].under_way:
            self._arrive(self.lanes[lane], place % len(its))

    def _arrive(self, lane: Held, place: int) -> None:
        event = lane.under_way.pop(place)
        self.log.append(event)
        self._see([event])
        self.before.append((self.now, self.watch, len(self.log)))

    def _all_arrive(self) -> None:
        for lane in self.lanes:
            while lane.under_way:
                self._arrive(lane, -1)

    @rule(seconds=st.sampled_from([0.001, 1, 9, 19, 31, 301]))
    def wait(self, seconds: float) -> None:
        self._pass(round(seconds * SECOND))

    def _pass(self, us: int) -> None:
        until = self.now + us
        while True:
            late = [lane for lane in self.lanes if lane.under_way]
            lane = min(late, key=lambda lane: lane.under_way[0].transitions[0].at, default=None)
            arrives = lane.under_way[0].transitions[0].at + LATE_S * SECOND if lane else until + 1
            closes = self.watch.window.closes_at if self.watch.window else until + 1
            if min(arrives, closes) > until:
                break
            self._go(max(self.now, min(arrives, closes)))
            if lane is not None and arrives <= closes:
                self._arrive(lane, 0)
            else:
                self._close()
        self._go(until)

    def _close(self) -> None:
        if self.kept is not None:
            self.watch = retold(self.watch, self.kept, self.now, self.lanes[0].pace)
        if self.watch.window is None or self.watch.window.closes_at > self.now:
            return
        draft, after = close(self.watch, OWNER, self.now)
        self.watch = ended(self.watch)
        found = checked(draft, {user: self.reaction(user) for user in "abcdefgh"}) if draft else None
        if draft is not None:
            self.excused |= {user for user, _ in draft.sample if not self.reaction(user)}
        if draft is None or found is None:
            return
        gone = [user for user, _ in draft.sample if not self.reaction(user)]
        self.kept = self.watch = without(after, gone)
        assert found.total == len(found.sample)
        for user, _ in found.sample:
            assert self.told.get(user, 0) <= self.now - DAY * SECOND, "nobody is told of twice"
            assert user not in self.base or user in self.free, "it is news"
            self.told[user] = self.now

    def _go(self, now: int) -> None:
        for lane in self.lanes:
            lane.now = now

    @rule(back=st.integers(0, 60))
    def replay(self, back: int) -> None:
        """A stretch of the log again: once more changes nothing."""
        self._see(self.log[-back:])
        once = self.watch
        self._see(self.log[-back:])
        assert self.watch == once

    @rule(lost=st.integers(1, 5), back=st.integers(0, 60))
    def fail_over(self, lost: int, back: int) -> None:
        """The store goes back to what it had some events ago, and the notifier goes back further."""
        at, watch, there = self.before[-lost] if lost <= len(self.before) else (self.now, UNSEEN, 0)
        if at >= self.now - FORGETS_S * SECOND:
            self.watch = watch
            self._see(self.log[max(0, there - back) :])

    @rule(days=st.sampled_from([0, 2]))
    def calm(self, days: int) -> None:
        """Everything has come and every window has ended: everybody who is new was told of."""
        self._all_arrive()
        self._pass(HOUR * SECOND)
        self._pass(2 * HOUR * SECOND)
        for user in "abcdefgh":
            its_us = self.now - self.told.get(user, 0)
            if self.reaction(user) and user not in self.base | self.excused and its_us > 28 * HOUR * SECOND:
                raise AssertionError(f"nobody was told of {user}")
        self.base = {user for user in "abcdefgh" if self.reaction(user)}
        self.free, self.excused = set(), set()
        self._pass(days * DAY * SECOND)

    def teardown(self) -> None:
        self.calm(0)


TestDisorder = Disorder.TestCase
TestDisorder.settings = settings(max_examples=150, stateful_step_count=40)
