"""By which commits records come into a cell, and what is published of each."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from plaudit.domain.cell import Header, Row, Transition
from plaudit.domain.lanes import first, lane_of, seal, touched
from plaudit.domain.merge import Tally
from plaudit.domain.removal import counts_of
from plaudit.domain.transfer import ReactionRecord, TargetRecord
from plaudit.ports.cells import CellState
from plaudit.services.join import Step, lanes_of, parts_of, steps
from plaudit.services.propose import MAX_BYTES, weight_bytes

EMPTY = CellState(None, None, {})


def react(user: str, code: int, at: int, updated_at: int = 0) -> ReactionRecord:
    return ReactionRecord("t", user, code, at, updated_at or at)


def about(version: int = 0, *, deleted: bool = False) -> TargetRecord:
    return TargetRecord(target="t", type="post", version=version, deleted=deleted)


def state(made: list[Step], before: CellState = EMPTY) -> CellState:
    rows = dict(before.rows)
    for step in made:
        if step.proposal is not None:
            rows |= step.proposal.rows
    return CellState(made[-1].header, made[-1].registration, rows)


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 6), st.integers(1, 9)), max_size=600),
    st.integers(0, 40),
    st.integers(1, 128),
)
def test_steps_build_on_each_other_and_end_where_one_would(
    made: list[tuple[int, int, int]], version: int, length: int
) -> None:
    records = [react(f"{user}".rjust(length, "x")[:128], code, at) for user, code, at in made]
    found = steps(EMPTY, parts_of([about(version)], records), set())
    header, tally = Header(), Tally()
    for step in found:
        tally.add(step.tally)
        if step.proposal is None:
            assert step.header == (header if header.seq else None)
            continue
        assert step.proposal.seq == header.seq < step.proposal.header.seq
        assert len(step.proposal.rows) <= 128
        assert weight_bytes(step.proposal.rows) <= MAX_BYTES
        header = step.proposal.header
    rows = state(found).rows
    assert (header.rows, header.counts[: len(counts_of(rows))]) == (len(rows), counts_of(rows))
    assert tally.created + tally.changed + tally.skipped.total() == len(records)
    assert header.seq == max(version, sum(step.proposal is not None for step in found))
    again = steps(state(found), parts_of([about(version)], records), set())
    assert all(step.proposal is None and step.header == header for step in again)


def test_who_was_published_by_nobody_is_published_as_it_is() -> None:
    before = CellState(
        Header(3, "post", (2, 1), 4, 9, 1, ()),
        None,
        {"ann": Row(1, 1, 1), "bob": Row(1, 2, 2, b"tapped"), "cid": Row(2, 3, 9), "dan": Row(0, 4, 5)},
    )
    records = [react("ann", 1, 1), react("bob", 1, 2), react("cid", 1, 3), react("dan", 0, 4, 5)]
    [step] = steps(before, parts_of([], records), {"eve"})
    assert (step.proposal, step.header) == (None, before.header)
    assert step.transitions == [Transition("ann", 0, 1, 1, 1), Transition("bob", None, 1, 2, 2)]
    [step] = steps(before, parts_of([], records), {"ann", "bob"})
    assert step.transitions == [], "their rows are on the way out"


def test_an_entry_leaves_the_place_of_a_later_first_time() -> None:
    before = CellState(Header(1, "post", (1,), 1, 5, 5, ()), None, {"ann": Row(1, 5, 5)})
    [step] = steps(before, parts_of([], [react("ann", 2, 3, 9)]), set())
    assert step.transitions == [Transition("ann", 1, 0, 5, 9), Transition("ann", 0, 2, 3, 9)]


def test_nothing_is_told_of_nothing() -> None:
    [step] = steps(EMPTY, parts_of([], [react("ann", 1, 1)]), {"ann"})
    assert (step.proposal, step.header, step.transitions) == (None, None, [])
    [step] = steps(EMPTY, parts_of([about(deleted=True)], [react("ann", 1, 1)]), set())
    assert step.header is not None
    assert (step.header.deleted, step.transitions) == (2, [])


def test_rows_that_remember_taps_are_cut_by_what_they_weigh() -> None:
    users = [f"u{n}" for n in range(100)]
    before = CellState(
        Header(1, "post", (100,), 100, 1, 1, ()), None, {user: Row(1, 1, 1, b"o" * 180) for user in users}
    )
    found = steps(before, parts_of([about(50)], [react(user, 2, 1, 2) for user in users]), set())
    assert [len(step.proposal.rows) for step in found if step.proposal] == [50, 50]
    assert found[-1].header is not None
    assert (found[-1].header.seq, found[-1].header.counts) == (50, (0, 100))


@given(
    st.dictionaries(st.integers(0, 30), st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=30),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 6), st.integers(1, 19)), max_size=200),
)
def test_lanes_take_in_what_one_cell_would(
    there: dict[int, tuple[int, int]], made: list[tuple[int, int, int]]
) -> None:
    rows = {f"u{n}": Row(code, at, at) for n, (code, at) in there.items()}
    whole = Header(len(rows), "post", counts_of(rows), len(rows), 9, 1, ())
    records = [react(f"u{user}", code, at) for user, code, at in made]
    alone = state(
        steps(CellState(whole, None, rows), parts_of([], records), set()), CellState(whole, None, rows)
    )
    root = seal(whole, 4)
    together, counts, new = dict(rows), [*root.counts, *[0] * 6], 0
    for bucket, parts in lanes_of(parts_of([], records), 4)[1].items():
        taken = {user: touched(row) for user, row in rows.items() if lane_of(user, 4) == bucket}
        before = CellState(first(root, bucket), None, taken)
        found = steps(before, parts, set())
        assert [step.proposal.lanes for step in found if step.proposal][:1] in ([], [1]), (
            "it creates the lane"
        )
        after = state(found, before)
        assert after.header is not None
        for place, count in enumerate(after.header.counts):
            counts[place] += count
        new += after.header.rows
        together |= after.rows
        assert all(
            row.base == (rows[user].reaction if user in rows else None) for user, row in after.rows.items()
        )
    assert {user: msgspec.structs.replace(row, base=None) for user, row in together.items()} == alone.rows
    assert alone.header is not None
    assert (tuple(counts)[: len(alone.header.counts)], new) == (
        alone.header.counts,
        len(alone.rows) - len(rows),
    )


def test_what_a_root_takes_is_apart_from_what_its_lanes_take() -> None:
    records = [react(f"u{n}", 1, 5) for n in range(300)]
    root, lanes, last = lanes_of(parts_of([about(70)], records), 2)
    assert (root.targets, root.reactions, last.version) == ([about(70)], (), 70)
    assert [len(part.reactions) for part in lanes[1]] == [128, 22]
    assert sum(len(part.reactions) for parts in lanes.values() for part in parts) == 300
    sealed = CellState(Header(9, "post", lanes=2), None, {})
    [step] = steps(sealed, [root], set())
    assert step.proposal is None, "nothing new is said, and the version waits"
    [step] = steps(sealed, [last], set())
    assert step.proposal is not None
    assert (step.proposal.header.seq, step.proposal.lanes) == (70, 2)


def test_who_is_in_the_root_still_moves_to_the_list_of_the_lane() -> None:
    lane = CellState(
        Header(0, "post", lanes=2), None, {"ann": touched(Row(1, 1, 1)), "bob": Row(2, 1, 1, base=0)}
    )
    [step] = steps(lane, parts_of([], [react("ann", 1, 1), react("bob", 2, 1)]), set())
    assert step.proposal is None
    assert step.transitions == [Transition("ann", 1, 1, 1, 1), Transition("bob", 0, 2, 1, 1)]


def test_of_two_records_of_a_user_the_newer_one_is_told_of_wherever_it_stands() -> None:
    before = CellState(Header(3, "post", (0, 1), 1, 9, 1, ()), None, {"ann": Row(2, 1, 9)})
    for records in (
        [react("ann", 2, 1, 9), react("ann", 1, 1, 5)],
        [react("ann", 1, 1, 5), react("ann", 2, 1, 9)],
    ):
        [step] = steps(before, parts_of([], records), set())
        assert step.transitions == [Transition("ann", 0, 2, 1, 9)]
