"""Any taps at any time, against a model that looks at the whole past: every message is exactly what is news."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plaudit.domain.watch import UNSEEN
from plaudit.domain.windows import SAMPLE, TOLD_FOR, Pace, follow
from tests.support.taps import set_to
from tests.unit.domain.watching import OWNER, SECOND, Watched

DAY_S = 24 * 3600
users = st.sampled_from([*"abcde", OWNER])
reactions = st.sampled_from([0, 0, 1, 1, 2, 3])
times = st.sampled_from([0.0, 0.5, 3, 29, 30, 31, 299, 1800, 3600, DAY_S])


class Life(RuleBasedStateMachine):
    """Taps, erasures, replays and time."""

    def __init__(self) -> None:
        super().__init__()
        self.target = Watched()
        self.at_opening: dict[str, int] | None = None
        # who tapped in the commit that opened it, before or after the tap that did
        self.with_it: set[str] = set()
        self.told: dict[str, int] = {}
        self.erased: set[str] = set()  # whose taps are refused

    def before(self) -> dict[str, int]:
        return {user: row.reaction for user, row in self.target.rows.items()}

    def was_told(self, user: str, at: int) -> bool:
        """Whether the owner was told of this user on the day before that."""
        return user in self.told and self.told[user] * SECOND > at - TOLD_FOR

    @rule(taps=st.lists(st.tuples(users, reactions), min_size=1, max_size=4))
    def tap(self, taps: list[tuple[str, int]]) -> None:
        then, open_ = self.before(), self.target.watch.window is not None
        if not (taps := [(user, reaction) for user, reaction in taps if user not in self.erased]):
            return
        self.target.commit(*(set_to(user, reaction) for user, reaction in dict(taps).items()))
        if self.target.watch.window is not None and not open_:
            self.at_opening, self.with_it = then, {user for user, _ in taps}

    @precondition(lambda self: self.target.rows)
    @rule(data=st.data())
    def erase(self, data: st.DataObject) -> None:
        user = data.draw(st.sampled_from(sorted(self.target.rows)))
        self.target.erase(user)
        self.erased.add(user)
        self.told.pop(user, None)
        if self.at_opening is not None:
            self.at_opening.pop(user, None)

    @rule(seconds=times)
    def wait(self, seconds: float) -> None:
        window = self.target.watch.window
        made = self.target.wait(seconds)
        if window is None or window.closes_at > self.target.now:
            assert made == []
            return
        assert self.at_opening is not None
        news = {
            user: reaction
            for user, reaction in self.before().items()
            if reaction
            and (not self.at_opening.get(user) or user in self.with_it)
            and user != OWNER
            and not self.was_told(user, window.closes_at)
        }
        # Whose day is over while the window is open: it depends on when in the window they tapped.
        either = {user for user in news if self.at_opening.get(user) or self.was_told(user, window.opened_at)}
        told = {user: code for message in made for user, code in message.sample}
        assert told.items() <= news.items()
        assert news.keys() - told.keys() <= either
        assert [message.total for message in made] == ([len(told)] if told else [])
        self.told.update(dict.fromkeys(told, window.closes_at // SECOND))

    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Any stretch of the past again, late and doubled: nothing changes."""
        before = self.target.watch
        start = data.draw(st.integers(0, len(self.target.events)))
        self.target.see(self.target.events[start:])
        assert self.target.watch == before

    @invariant()
    def a_window_has_its_length(self) -> None:
        window = self.target.watch.window
        if window is not None:
            length_s = (window.closes_at - window.opened_at) // SECOND
            assert length_s in (30, 300, 1800)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40)


def test_a_day_is_as_long_in_the_model() -> None:
    life = Life()
    for taps, seconds in (
        ([("a", 1)], 30),
        ([("a", 0), ("c", 1)], DAY_S),
        ([("a", 2), ("d", 1)], 3600),
    ):
        life.tap(taps=taps)
        life.wait(seconds=seconds)
    assert [len(message.sample) for message in life.target.messages] == [1, 1, 1], "a is told of once"


@given(
    taps=st.lists(
        st.tuples(st.integers(0, SAMPLE - 1), st.sampled_from([0, 1, 2]), st.floats(0, 40)), max_size=80
    )
)
@settings(max_examples=100)
def test_messages_of_a_day_never_name_a_pair_twice(taps: list[tuple[int, int, float]]) -> None:
    target = Watched(Pace(windows_s=(30,), busy_taps=20))
    for user, reaction, pause_s in taps:
        target.react(f"u{user}", reaction)
        target.wait(pause_s)
    target.wait(3600)
    named = [user for message in target.messages for user, _ in message.sample]
    assert len(named) == len(set(named)) == sum(message.total for message in target.messages)


@given(cut=st.lists(st.integers(0, 60), max_size=6), doubled=st.booleans())
@settings(max_examples=60)
def test_it_is_the_same_however_the_events_come_in(cut: list[int], doubled: bool) -> None:
    target = Watched()
    for n in range(60):
        target.react(f"u{n % 13}", n * 7 % 4)
    watch, start = UNSEEN, 0
    for end in [*sorted(cut), 60]:
        part = target.events[start:end]
        watch = follow(watch, part, OWNER, target.now, target.pace)
        if doubled:
            watch = follow(watch, part, OWNER, target.now, target.pace)
        start = min(end, 60)
    assert watch == target.watch
