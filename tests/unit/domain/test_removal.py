"""Deleting, registering again, erasing: seq goes on, counts add up, nothing of a former life is left."""

import msgspec
import pytest

from plaudit.domain.cell import Deleted, Header, Row, Transition
from plaudit.domain.errors import Conflict
from plaudit.domain.removal import begin_purge, counts_of, erase, purge, purge_rows, register
from tests.unit.domain.cells import HOUR, LIKE, LOVE, NONE, NOW, POST, Cell, tap
from tests.unit.domain.invariants import check_cell


def busy() -> Cell:
    """A registered target with three reactions and one that was taken back."""
    cell = Cell(registration=POST)
    cell.commit(tap("ann", LIKE), tap("bob", LOVE), tap("cat", LIKE), tap("dan", LIKE), tap("dan", NONE))
    return cell


def test_deletion_closes_the_cell_and_keeps_what_must_go_on() -> None:
    old = busy().seen
    new = begin_purge(old, "ignored")
    assert new == Header(old.seq + 1, "post", (), 4, old.last_at, old.born, (), Deleted.PURGING)


def test_deletion_is_idempotent() -> None:
    purging = begin_purge(busy().seen, "post")
    purged = purge(purging, 4)
    assert begin_purge(purging, "post") is purging
    assert begin_purge(purged, "post") is purged


@pytest.mark.parametrize("header", [None, Header(5, "comment", last_at=NOW)])
def test_a_target_without_rows_is_purged_at_once(header: Header | None) -> None:
    new = begin_purge(header, "comment")
    assert (new.deleted, new.type, new.rows) == (Deleted.PURGED, "comment", 0)
    assert new.seq == (header.seq if header else 0) + 1


def test_the_last_row_makes_it_purged() -> None:
    header = begin_purge(busy().seen, "post")
    seqs = [header.seq]
    for removed, state in [(3, Deleted.PURGING), (0, Deleted.PURGING), (1, Deleted.PURGED)]:
        header = purge(header, removed)
        seqs.append(header.seq)
        assert header.deleted == state
    assert seqs == [2, 3, 4, 5]
    assert (header.rows, header.counts) == (0, ())


def test_registering_makes_a_header_of_that_type() -> None:
    assert register(None, "comment") == Header(1, "comment")


def test_registering_changes_the_type_and_keeps_the_reactions() -> None:
    cell = busy()
    new = register(cell.seen, "comment")
    assert (new.seq, new.type, new.counts, new.rows) == (cell.seen.seq + 1, "comment", (2, 1), 4)
    check_cell(new, cell.rows)


def test_registering_waits_for_the_end_of_a_deletion() -> None:
    with pytest.raises(Conflict):
        register(begin_purge(busy().seen, "post"), "post")


def test_registering_again_begins_a_new_life_and_continues_seq_and_time() -> None:
    cell = busy()
    first_life = cell.seen
    cell.header, cell.rows = register(purge(begin_purge(first_life, "post"), 4), "post"), {}
    assert (cell.seen.seq, cell.seen.deleted, cell.seen.total) == (first_life.seq + 3, Deleted.NO, 0)
    cell.now -= HOUR
    cell.one(tap("ann", LOVE))
    born = first_life.last_at + 1
    expected = Header(first_life.seq + 4, "post", (0, 1), 1, born, born, (("ann", LOVE),))
    assert cell.seen == msgspec.structs.replace(expected, deleted_at=first_life.last_at)


def test_erasure_takes_the_row_out_of_counts_and_recent_and_tells_it() -> None:
    cell = busy()
    header, transition = erase(cell.seen, "bob", cell.rows.pop("bob"), NOW + HOUR)
    assert (header.seq, header.rows, header.counts) == (cell.seen.seq + 1, 3, (2, 0))
    assert header.recent == (("cat", LIKE), ("ann", LIKE))
    assert transition == Transition("bob", None, NONE, NOW + 1, NOW + HOUR)
    assert header.last_at == NOW + HOUR
    check_cell(header, cell.rows)


def test_erasure_is_later_than_all_before_it_whatever_the_clock_says() -> None:
    cell = busy()
    header, transition = erase(cell.seen, "ann", cell.rows.pop("ann"), NOW - HOUR)
    assert transition.at == header.last_at == cell.seen.last_at + 1


def test_erasing_a_row_without_a_reaction_changes_only_the_number_of_rows() -> None:
    cell = busy()
    header, transition = erase(cell.seen, "dan", cell.rows.pop("dan"), NOW)
    assert (header.counts, header.recent, header.rows) == (cell.seen.counts, cell.seen.recent, 3)
    assert (transition.before, transition.after) == (None, NONE)


def test_erasing_during_a_deletion_leaves_the_counts_at_zero() -> None:
    cell = busy()
    header = begin_purge(cell.seen, "post")
    for left, user in [(3, "ann"), (2, "bob"), (1, "cat"), (0, "dan")]:
        old = header
        header, transition = erase(header, user, cell.rows.pop(user), NOW + HOUR)
        assert (header.rows, header.counts, header.seq) == (left, (), old.seq + 1)
        assert (transition.before, transition.after) == (None, NONE), "lists still have it"
    assert header.deleted == Deleted.PURGED


def test_erasing_does_not_open_a_closed_cell_or_close_an_open_one() -> None:
    cell = Cell()
    cell.one(tap("ann", LIKE))
    header, _ = erase(cell.seen, "ann", cell.rows["ann"], NOW)
    assert (header.deleted, header.rows, header.total) == (Deleted.NO, 0, 0)


def test_rows_purged_are_told_and_time_goes_on_behind_them() -> None:
    cell = busy()
    header = begin_purge(cell.seen, "post")
    some = {user: cell.rows[user] for user in ("ann", "dan")}
    half, told = purge_rows(header, some, last=False)
    assert (half.rows, half.deleted, half.seq, half.counts) == (2, Deleted.PURGING, header.seq + 1, ())
    assert told == [
        Transition(user, None, NONE, row.created_at, header.last_at + 1) for user, row in some.items()
    ], "also who has taken it back"
    assert half.last_at == header.last_at
    done, _ = purge_rows(half, {"bob": cell.rows["bob"]}, last=True)
    assert (done.rows, done.deleted, done.born, done.last_at) == (0, Deleted.PURGED, 0, header.last_at + 1)
    after, _ = purge_rows(half, {"bob": cell.rows["bob"]}, NOW + HOUR, last=True)
    assert after.last_at == NOW + HOUR + 1


def test_the_rows_decide_when_a_purge_is_over_though_the_header_counted_fewer() -> None:
    header = msgspec.structs.replace(begin_purge(busy().seen, "post"), rows=1)
    half, told = purge_rows(header, {"ann": Row(), "bob": Row()}, last=False)
    assert (half.rows, half.deleted) == (1, Deleted.PURGING)
    assert told == [], "who never reacted is in no list"


def test_counts_of_rows_are_what_a_header_must_show() -> None:
    assert counts_of({}) == ()
    assert counts_of({"a": Row(), "b": Row(3, 1, 1), "c": Row(1, 1, 1), "d": Row(3, 1, 1)}) == (1, 0, 2)
    cell = busy()
    assert counts_of(cell.rows) == cell.seen.counts
