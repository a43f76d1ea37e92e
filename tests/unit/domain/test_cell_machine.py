"""A target through its whole life, against a model that is nothing but a dictionary."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, precondition, rule

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Deleted, Header, Tap, Verb
from plaudit.domain.errors import Conflict
from plaudit.domain.removal import begin_purge, erase, purge, register
from tests.unit.domain.cells import BOO, HOUR, LIKE, LOVE, Cell, tap
from tests.unit.domain.invariants import check_cell, check_plan, tally
from tests.unit.domain.model import Model

USERS = "abcdef"
users = st.sampled_from(USERS)
reactions = st.sampled_from([0, 0, LIKE, LIKE, LOVE, 3, 6, BOO])
types = st.sampled_from([None, None, None, "post", "comment", "message"])
registrations = st.builds(
    Registration,
    type=st.sampled_from(["post", "comment", "message"]),
    closed=st.sampled_from([False, False, True]),
    allowed=st.sampled_from([None, None, 1 << LIKE | 1 << LOVE | 1 << BOO, 0]),
)


class Life(RuleBasedStateMachine):
    """Taps, registrations, deletions and erasures in any order, under a clock that also steps back."""

    sent = Bundle("sent")

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()
        self.model = Model(frozenset(range(1, 7)))
        self.seq = self.last_at = self.born = 0

    def commit(self, taps: list[Tap]) -> None:
        """Commit to both, and compare the answers."""
        old, before = self.cell.header or Header(), dict(self.cell.rows)
        plan = self.cell.plan(*taps)
        check_plan(old, before, plan)
        answers = self.cell.commit(*taps)
        assert answers == plan.answers == self.model.answers(taps, self.cell.now // 1_000_000)
        self.seq += bool(plan.changed)
        births = [row.created_at for row in plan.changed.values() if row.created_at]
        self.born = min([self.born or 2**63, *births]) if births else self.born

    @rule(
        target=sent,
        user=users,
        reaction=reactions,
        key=st.none() | st.sampled_from("klm"),
        verb=st.sampled_from(Verb),
        target_type=types,
        granted=st.booleans(),
    )
    def one_tap(
        self, user: str, reaction: int, key: str | None, verb: Verb, target_type: str | None, granted: bool
    ) -> Tap:
        """Fresh, keyed, repeated or with a key that means something else already."""
        single = tap(user, reaction, key, verb=verb, target_type=target_type, granted=granted)
        self.commit([single])
        return single

    @rule(
        target=sent,
        wishes=st.lists(
            st.tuples(users, reactions, st.none() | st.sampled_from("klm"), st.sampled_from(Verb)),
            min_size=2,
            max_size=8,
        ),
    )
    def batch(self, wishes: list[tuple[str, int, str | None, Verb]]) -> object:
        """Many taps in one commit."""
        taps = [tap(user, code, key, verb=verb, granted=True) for user, code, key, verb in wishes]
        self.commit(taps)
        return multiple(*taps)

    @rule(taps=st.lists(sent, min_size=1, max_size=4))
    def again(self, taps: list[Tap]) -> None:
        """Taps that were sent before are sent again, with the operation ids they had."""
        self.commit(taps)

    @rule(step=st.sampled_from([-HOUR, -1, 1, 1_000_000, HOUR, 23 * HOUR, 24 * HOUR, 25 * HOUR]))
    def time_passes(self, step: int) -> None:
        self.cell.now += step

    @rule(registration=registrations)
    def is_registered(self, registration: Registration) -> None:
        """A registration, the first or a changed one; a purged target begins again."""
        if self.cell.header and self.cell.header.deleted == Deleted.PURGING:
            with pytest.raises(Conflict):
                register(self.cell.header, registration.type)
            return
        self.cell.header = register(self.cell.header, registration.type)
        self.cell.registration = self.model.registration = registration
        self.model.type, self.model.deleted = registration.type, False
        self.seq += 1

    @precondition(lambda self: self.cell.header is not None)
    @rule()
    def is_deleted(self) -> None:
        """Deletion begins, or was under way already."""
        self.seq += not self.model.deleted
        self.cell.header = begin_purge(self.cell.header, "post")
        self.cell.registration = self.model.registration = None
        self.model.deleted = True
        self.forget_if_empty()

    @precondition(lambda self: self.cell.header is not None and self.cell.header.deleted == Deleted.PURGING)
    @rule(limit=st.integers(1, 4))
    def some_rows_are_purged(self, limit: int) -> None:
        gone = sorted(self.cell.rows)[:limit]
        for user in gone:
            del self.cell.rows[user], self.model.people[user]
        self.cell.header = purge(self.cell.seen, len(gone))
        self.seq += 1
        self.forget_if_empty()

    @precondition(lambda self: bool(self.cell.rows))
    @rule(data=st.data())
    def a_user_is_erased(self, data: st.DataObject) -> None:
        user = data.draw(st.sampled_from(sorted(self.cell.rows)))
        before = self.cell.seen
        self.cell.header, told = erase(before, user, self.cell.rows.pop(user), self.cell.now)
        del self.model.people[user]
        assert (told.user, told.before, told.after) == (user, None, 0)
        assert told.at == self.cell.header.last_at > before.last_at
        self.seq += 1
        if self.model.deleted:
            self.forget_if_empty()

    def forget_if_empty(self) -> None:
        """The end of a deletion: it is known, and the next life has its own beginning."""
        assert (self.cell.seen.deleted == Deleted.PURGED) is not bool(self.cell.rows)
        if not self.cell.rows:
            self.born = 0

    @invariant()
    def the_cell_is_whole_and_is_what_the_model_says(self) -> None:
        header = self.cell.header or Header()
        check_cell(header, self.cell.rows)
        assert (header.seq, header.born) == (self.seq, self.born)
        assert header.last_at >= self.last_at
        self.last_at = header.last_at
        assert {user: (row.reaction, bool(row.created_at)) for user, row in self.cell.rows.items()} == {
            user: (person.reaction, person.reacted) for user, person in self.model.people.items()
        }
        reacted = Counter(person.reaction for person in self.model.people.values() if person.reaction)
        assert tally(header.counts) == (Counter() if self.model.deleted else reacted)
        assert (header.type or None) == self.model.type
        assert bool(header.deleted) is self.model.deleted

    @invariant()
    def rows_remember_what_the_model_remembers(self) -> None:
        for user, person in self.model.people.items():
            ops = self.cell.rows[user].ops
            remembered = [ops[at : at + 8] for at in range(0, len(ops), 14)]
            assert remembered == [memory.op for memory in person.memories][: len(remembered)]


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
