"""Lanes, rule by rule; and a split target through its life beside the same one unsplit."""

from collections import Counter
from collections.abc import Sequence
from itertools import count

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plaudit.domain.cell import Answer, Deleted, Header, Refused, Row, Tap, Verb, fold
from plaudit.domain.lanes import MAX_LANES, close, first, follow, lane_of, let_go, merge, seal, touched
from plaudit.domain.operations import KEPT
from tests.unit.domain.cells import BOO, HAHA, HOUR, LIKE, LOVE, NONE, NOW, RULES, Cell, liked, tap, toggle
from tests.unit.domain.invariants import tally

USERS = "abcdefgh"


class Split:
    """A target of which the root may be sealed, as its ledger would keep it."""

    def __init__(self) -> None:
        self.root = Cell()
        self.lanes: dict[int, Cell] = {}
        self.now = NOW

    def seal(self, lanes: int) -> None:
        """Split it."""
        self.root.header = seal(self.root.seen, lanes)

    def rows(self, user: str) -> Row | None:
        """The row that counts: that of the lane, else that of the root."""
        for cell in (*self.lanes.values(), self.root):
            if user in cell.rows:
                return cell.rows[user]
        return None

    def commit(self, *taps: Tap) -> list[Answer | Refused]:
        """Commit taps, those of one cell together, and answer in their order."""
        root = self.root.header
        if root is None or root.lanes == 1:
            self.root.now = self.now
            return self.root.commit(*taps)
        answers: dict[int, Answer | Refused] = {}
        by_lane: dict[int, list[int]] = {}
        for place, each in enumerate(taps):
            by_lane.setdefault(lane_of(each.user, root.lanes), []).append(place)
        for bucket, places in by_lane.items():
            told = self._commit_lane(root, bucket, [taps[place] for place in places])
            answers.update(zip(places, told, strict=True))
        return [answers[place] for place in range(len(taps))]

    def _commit_lane(self, root: Header, bucket: int, taps: Sequence[Tap]) -> list[Answer | Refused]:
        lane = self.lanes.get(bucket) or Cell(first(root, bucket))
        rows = {
            user: lane.rows.get(user) or touched(self.root.rows[user])
            for user in {each.user for each in taps}
            if user in lane.rows or user in self.root.rows
        }
        plan = fold(lane.header, rows, taps, self.now, RULES)
        if plan.changed:
            lane.header = plan.header
            lane.rows |= plan.changed
            self.lanes[bucket] = lane
        return plan.answers

    @property
    def header(self) -> Header:
        """What is shown."""
        root = self.root.header or Header()
        return root if root.lanes == 1 else merge(root, {b: lane.seen for b, lane in self.lanes.items()})


def split(cell: Cell, lanes: int = 4) -> Split:
    """A target that was this cell, and is split."""
    target = Split()
    target.root = cell
    target.seal(lanes)
    return target


def test_a_lane_is_for_ever() -> None:
    assert [lane_of(user, 64) for user in ("ann", "bob", "auth0|5f", "1234567890")] == [52, 1, 22, 38]
    assert {lane_of(f"u{n}", 64) for n in range(1000)} == set(range(1, 65))


def test_a_seal_changes_nothing_but_where_taps_go() -> None:
    cell = liked()
    before = cell.seen
    target = split(cell)
    assert (target.header.seq, target.header.lanes) == (before.seq + 1, 4)
    shown = target.header
    assert (shown.counts, shown.rows, shown.born, shown.recent) == (
        before.counts,
        before.rows,
        before.born,
        before.recent,
    )
    assert seal(target.root.seen, 8) is target.root.seen, "once"


def test_a_deleted_target_is_not_split() -> None:
    header = Header(seq=3, type="post", deleted=Deleted.PURGED)
    assert seal(header, 64) is header


@pytest.mark.parametrize("lanes", [-1, 0, 1, MAX_LANES + 1])
def test_a_number_of_lanes_that_cannot_be(lanes: int) -> None:
    with pytest.raises(ValueError, match="lanes"):
        seal(Header(seq=1, type="post"), lanes)


def test_a_lane_that_begins_while_its_target_is_deleted_takes_no_taps() -> None:
    root = close(seal(Header(seq=3, type="post"), 4))
    assert first(root, 1).deleted == Deleted.PURGING


def test_a_lane_is_no_earlier_than_the_root_that_it_follows() -> None:
    root = seal(Header(seq=3, type="post", last_at=90), 4)
    lane = msgspec.structs.replace(first(root, 1), seq=2, last_at=20)
    assert follow(lane, root).last_at == 90
    assert follow(lane, close(root)).last_at > 90
    late = msgspec.structs.replace(lane, last_at=95)
    assert follow(late, root).last_at == 95


def test_who_is_erased_leaves_a_lane_after_all_that_was_in_it() -> None:
    """Also by a clock that is behind, or the lists would keep what is newer."""
    row = Row(LIKE, 30, 80, b"", NONE)
    header, left, told = let_go(Header(seq=3, counts=(1,), last_at=90, lanes=4), "ann", row, now=50)
    assert header.last_at == left.updated_at == told.at == 91


def test_who_has_no_type_gets_one_with_the_seal() -> None:
    assert seal(Header(seq=1), 4).type == "post"


def test_a_first_touch_takes_the_whole_row_over() -> None:
    target = split(liked(LIKE, "k"))
    before = target.root.rows["ann"]
    assert target.commit(toggle("ann", LOVE)) == [Answer(2, LIKE, LOVE)]
    row = target.rows("ann")
    assert row is not None
    assert (row.created_at, row.base) == (before.created_at, LIKE)
    assert row.updated_at > before.updated_at, "though the clock stands still"
    assert before.ops in row.ops
    assert target.header.counts[:2] == (0, 1)
    assert target.header.rows == 1
    lane = target.lanes[lane_of("ann", 4)].seen
    assert (lane.counts[:2], lane.rows) == ((-1, 1), 0), "relative to the root"


def test_a_key_that_was_applied_on_the_root_is_answered_in_the_lane() -> None:
    target = split(liked(LIKE, "k"))
    assert target.commit(tap("ann", LIKE, "k")) == [Answer(1, NONE, LIKE, replayed=True)]
    assert target.lanes == {}, "nothing to write"
    target.commit(toggle("ann", LIKE))
    assert target.commit(tap("ann", LIKE, "k")) == [Answer(1, NONE, NONE, replayed=True)]
    assert target.commit(tap("ann", LOVE, "k")) == [Refused("idempotency_key_reused")]


def test_a_lane_counts_down_a_reaction_that_it_never_saw() -> None:
    target = split(liked(HAHA))
    assert target.commit(toggle("ann", HAHA)) == [Answer(3, HAHA, NONE)]
    assert target.lanes[lane_of("ann", 4)].seen.counts == (0, 0, -1)
    assert (target.header.total, target.header.recent) == (0, ())


def test_recent_of_root_and_lanes_is_in_the_order_of_time() -> None:
    cell = Cell()
    for user in "abc":
        cell.one(tap(user, LIKE))
    target = split(cell)
    target.commit(tap("b", LOVE))
    assert target.header.recent == (("c", LIKE), ("b", LOVE), ("a", LIKE)), "a switch keeps its place"
    target.commit(tap("d", LIKE))
    target.commit(tap("c", NONE))
    assert target.header.recent == (("d", LIKE), ("b", LOVE), ("a", LIKE))


class Twins(RuleBasedStateMachine):
    """The same taps on a target that is split at some moment and on one that never is: nobody can tell."""

    def __init__(self) -> None:
        super().__init__()
        self.split = Split()
        self.whole = Cell()
        self.keys = count()
        self.born_us: dict[str, int] = {}

    @rule(
        wishes=st.lists(
            st.tuples(
                st.sampled_from(USERS),
                st.sampled_from([NONE, LIKE, LIKE, LOVE, HAHA, BOO]),
                st.sampled_from(Verb),
                st.none() | st.sampled_from("klm"),
                st.sampled_from([None, None, None, "post", "comment"]),
            ),
            min_size=1,
            max_size=6,
        )
    )
    def commit(self, wishes: list[tuple[str, int, Verb, str | None, str | None]]) -> None:
        """One commit of the whole one; as many as it takes of the split one."""
        root = self.split.root.header
        # A split target has the type it had, also where nobody reacts any more: with another one everybody can tell.
        only = root.type if root is not None and root.lanes > 1 else None
        taps = [
            tap(u, r, key, verb=verb, target_type=type_ if only in (None, type_) else None)
            for u, r, verb, key, type_ in wishes
        ]
        self.whole.now = self.split.now
        whole = self.whole.header
        shown = [self.split.commit(*taps), self.whole.commit(*taps)]
        # Where the first commit of a target has several types, only the taps of one cell agree on the first.
        assert whole is None or shown[0] == shown[1]
        if whole is None:
            assert [type(a) for a in shown[0]] == [type(a) for a in shown[1]]

    @precondition(lambda self: self.split.root.header is not None)
    @rule(lanes=st.sampled_from([2, 3, 64]))
    def seal(self, lanes: int) -> None:
        """Split it; a second time it stays as it is."""
        self.split.seal(lanes)

    @rule(seconds=st.sampled_from([-2, 1, 3600, 13 * 3600]))
    def wait(self, seconds: int) -> None:
        """Clocks go on, and step back."""
        self.split.now += seconds * HOUR // 3600

    @invariant()
    def nobody_can_tell(self) -> None:
        """What is shown, and every row."""
        shown, whole = self.split.header, self.whole.header or Header()
        assert tally(shown.counts) == tally(whole.counts)
        assert (shown.type, shown.rows, shown.total) == (whole.type, whole.rows, whole.total)
        assert shown.seq >= whole.seq
        for user in USERS:
            mine, theirs = self.split.rows(user), self.whole.rows.get(user)
            assert (mine is None) == (theirs is None)
            if mine is not None and theirs is not None:
                assert (mine.reaction, mine.ops) == (theirs.reaction, theirs.ops)
                assert bool(mine.created_at) == bool(theirs.created_at)
                assert self.born_us.setdefault(user, mine.created_at) in (0, mine.created_at)
                self.born_us[user] = mine.created_at
        births = [at for at in self.born_us.values() if at]
        assert shown.born == min(births, default=0)

    @invariant()
    def who_is_shown_reacts(self) -> None:
        """The newest first, three at most, and as they react now."""
        people = self.split.header.recent
        assert len({user for user, _ in people}) == len(people) <= 3
        for user, code in people:
            row = self.split.rows(user)
            assert row is not None
            assert row.reaction == code
        assert len(people) >= len((self.whole.header or Header()).recent)

    @invariant()
    def every_cell_adds_up(self) -> None:
        """A lane's counts are its rows less what they started from, and its new rows those that the root has not."""
        for bucket, lane in self.split.lanes.items():
            difference = Counter(row.reaction for row in lane.rows.values())
            difference.subtract(Counter(row.base for row in lane.rows.values() if row.base))
            assert {c: n for c, n in difference.items() if c and n} == tally(lane.seen.counts)
            assert lane.seen.rows == sum(row.base is None for row in lane.rows.values())
            for user, row in lane.rows.items():
                assert lane_of(user, self.split.root.seen.lanes) == bucket
                old = self.split.root.rows.get(user)
                assert row.base == (old.reaction if old else None)
                assert len(row.ops) <= KEPT * 14
                if old is not None and row.reaction != old.reaction:
                    assert row.updated_at > old.updated_at


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
