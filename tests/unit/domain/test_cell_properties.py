"""What holds of `fold` for any taps, in any batches, with any clock."""

from hypothesis import given
from hypothesis import strategies as st

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Answer, Header, Outcome, Refused, Tap, Verb
from plaudit.domain.operations import recall
from plaudit.domain.removal import counts_of
from tests.unit.domain.cells import BOO, HOUR, LOVE, POST, Cell, in_batches, tap
from tests.unit.domain.invariants import check_cell, check_plan, tally

USERS = "abcde"
REGISTRATIONS = st.sampled_from(
    [None, POST, Registration(type="post", allowed=1 << LOVE), Registration(type="post", closed=True)]
)


@st.composite
def some_taps(draw: st.DrawFn) -> Tap:
    """A tap of one of a few users, with one of a few keys or none, so that keys repeat and conflict."""
    return tap(
        draw(st.sampled_from(USERS)),
        draw(st.sampled_from([0, 0, 1, 1, 2, 3, 6, BOO])),
        draw(st.sampled_from([None, None, "k", "l", "m"])),
        verb=draw(st.sampled_from(Verb)),
        target_type=draw(st.sampled_from([None, None, None, "post", "comment"])),
    )


histories = st.lists(some_taps(), max_size=40)
cuts = st.lists(st.integers(0, 40))


def first_words(answer: Answer | Refused) -> tuple[object, ...]:
    """What an answer says of the tap itself, and not of the state now."""
    if isinstance(answer, Refused):
        return (answer.code,)
    return (answer.outcome, answer.previous, answer.replayed)


@given(
    st.lists(
        st.tuples(st.lists(some_taps(), max_size=8), st.integers(-HOUR, HOUR), REGISTRATIONS), max_size=8
    )
)
def test_every_commit_keeps_the_cell_whole(
    commits: list[tuple[list[Tap], int, Registration | None]],
) -> None:
    """Counts are rows, times and seq rise, transitions add up: with closed and open targets and a clock that steps."""
    cell = Cell()
    for taps, step, registration in commits:
        cell.now, cell.registration = cell.now + step, registration
        before, header = dict(cell.rows), cell.header or Header()
        check_plan(header, before, cell.plan(*taps))
        cell.commit(*taps)
        assert cell.rows.keys() >= before.keys()
        check_cell(cell.header or Header(), cell.rows)
        born = [row.created_at for row in cell.rows.values() if row.created_at]
        assert (cell.header or Header()).born == min(born, default=0)


@given(histories)
def test_answers_are_true_of_the_state_after_the_commit(taps: list[Tap]) -> None:
    cell = Cell()
    for single, answer in zip(taps, cell.commit(*taps), strict=True):
        if isinstance(answer, Answer) and single.user in cell.rows:
            assert answer.reaction == cell.rows[single.user].reaction


@given(histories, cuts, cuts, REGISTRATIONS)
def test_any_grouping_of_the_same_taps_ends_in_the_same_cell(
    taps: list[Tap], some: list[int], other: list[int], registration: Registration | None
) -> None:
    """With the clock held, even the times and the memories are the same; only seq and recent know the batches."""
    one, two = Cell(registration=registration), Cell(registration=registration)
    answers_one = [answer for batch in in_batches(taps, some) for answer in one.commit(*batch)]
    answers_two = [answer for batch in in_batches(taps, other) for answer in two.commit(*batch)]
    assert one.rows == two.rows
    assert [*map(first_words, answers_one)] == [*map(first_words, answers_two)]
    left, right = one.header or Header(), two.header or Header()
    assert tally(left.counts) == tally(right.counts) == tally(counts_of(one.rows))
    assert (left.rows, left.born, left.last_at, left.type) == (
        right.rows,
        right.born,
        right.last_at,
        right.type,
    )


@given(histories, cuts, st.lists(st.integers(-1000, HOUR // 4), min_size=41, max_size=41))
def test_a_moving_clock_changes_times_and_nothing_else(
    taps: list[Tap], some: list[int], steps: list[int]
) -> None:
    one, two = Cell(), Cell()
    one.commit(*taps)
    for batch, step in zip(in_batches(taps, some), steps, strict=False):
        two.now += step
        two.commit(*batch)

    def timeless(cell: Cell) -> dict[str, tuple[int, bool, bool, list[tuple[int, int] | None]]]:
        ops = {single.op for single in taps}
        return {
            user: (
                row.reaction,
                bool(row.created_at),
                bool(row.updated_at),
                [recall(row.ops, op, cell.now // 1_000_000) for op in sorted(ops)],
            )
            for user, row in cell.rows.items()
        }

    assert timeless(one) == timeless(two)


@given(histories, cuts)
def test_whatever_is_repeated_with_its_key_answers_as_the_first_time(
    taps: list[Tap], some: list[int]
) -> None:
    """A repeated tap writes nothing and tells its first outcome and previous, as long as the row remembers it."""
    cell = Cell()
    firsts: list[tuple[Tap, Answer]] = []
    for batch in in_batches(taps, some):
        for single, answer in zip(batch, cell.commit(*batch), strict=True):
            if isinstance(answer, Answer) and not answer.replayed:
                firsts.append((single, answer))
    remembered = [pair for pair in firsts if pair[0].keyed or pair[1].outcome != Outcome.UNCHANGED]
    for user in USERS:
        for single, first in [pair for pair in remembered if pair[0].user == user][-9:]:
            plan = cell.plan(single)
            assert (plan.changed, plan.transitions) == ({}, [])
            now = cell.rows[user].reaction
            assert plan.answers == [Answer(first.outcome, first.previous, now, replayed=True)]


@given(histories)
def test_sending_everything_twice_counts_once(taps: list[Tap]) -> None:
    """Each tap and its repetition in one batch: the second of the pair never changes anything."""
    once, twice = Cell(), Cell()
    once.commit(*taps)
    twice.commit(*(each for single in taps for each in (single, single)))
    assert once.rows == twice.rows
    assert once.header == twice.header


@given(histories)
def test_fold_changes_nothing_that_it_was_given(taps: list[Tap]) -> None:
    cell = Cell()
    cell.commit(*taps[:20])
    rows, header = dict(cell.rows), cell.header
    assert cell.plan(*taps[20:]) == cell.plan(*taps[20:])
    assert (cell.rows, cell.header) == (rows, header)
