"""The rules of `fold`, one example each. What holds for all taps is in `test_cell_properties.py`."""

import pytest

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Answer, Header, Outcome, Refused, Row, Tap, Transition, Verb
from tests.unit.domain.cells import (
    ANGRY,
    HAHA,
    HOUR,
    LIKE,
    LOVE,
    NONE,
    NOW,
    SAD,
    WOW,
    Cell,
    answers,
    liked,
    tap,
    toggle,
)

CREATED, SWITCHED, REMOVED, UNCHANGED = Outcome
S = 1_000_000


# What a tap does


@pytest.mark.parametrize(
    ("verb", "had", "asked", "outcome", "has"),
    [
        (Verb.TOGGLE, NONE, LIKE, CREATED, LIKE),
        (Verb.TOGGLE, LIKE, LIKE, REMOVED, NONE),
        (Verb.TOGGLE, LIKE, LOVE, SWITCHED, LOVE),
        (Verb.TOGGLE, LOVE, LIKE, SWITCHED, LIKE),
        (Verb.TOGGLE, NONE, NONE, UNCHANGED, NONE),
        (Verb.SET, NONE, LIKE, CREATED, LIKE),
        (Verb.SET, LIKE, LIKE, UNCHANGED, LIKE),
        (Verb.SET, LIKE, LOVE, SWITCHED, LOVE),
        (Verb.SET, LIKE, NONE, REMOVED, NONE),
        (Verb.SET, NONE, NONE, UNCHANGED, NONE),
    ],
)
@pytest.mark.parametrize("key", [None, "k"])
def test_a_tap_does_what_its_verb_says(
    verb: Verb, had: int, asked: int, outcome: Outcome, has: int, key: str | None
) -> None:
    cell = liked(had) if had else Cell()
    assert cell.one(tap("ann", asked, key, verb=verb)) == Answer(outcome, had, has)
    assert cell.header is None or cell.seen.total == (1 if has else 0)


def test_the_first_tap_of_a_cell_makes_its_header_and_row() -> None:
    plan = Cell().plan(tap("ann", LOVE, "k"))
    ops = plan.changed["ann"].ops
    assert plan.header == Header(1, "post", (0, 1), 1, NOW, NOW, (("ann", LOVE),))
    assert plan.changed == {"ann": Row(LOVE, NOW, NOW, ops)}
    assert plan.transitions == [Transition("ann", NONE, LOVE, NOW, NOW)]


def test_a_switch_moves_one_count_and_keeps_created_at() -> None:
    cell = liked()
    cell.now += S
    cell.one(tap("ann", ANGRY))
    assert cell.seen.counts == (0, 0, 0, 0, 0, 1)
    assert (cell.rows["ann"].created_at, cell.rows["ann"].updated_at) == (NOW, NOW + S)
    assert (cell.seen.rows, cell.seen.seq, cell.seen.born) == (1, 2, NOW)


def test_a_removed_row_stays_and_its_first_time_too() -> None:
    cell = liked()
    cell.now += S
    cell.one(tap("ann", NONE))
    assert (cell.rows["ann"].reaction, cell.seen.rows, cell.seen.total) == (NONE, 1, 0)
    cell.now += S
    cell.one(tap("ann", SAD))
    assert (cell.rows["ann"].created_at, cell.rows["ann"].updated_at) == (NOW, NOW + 2 * S)


def test_one_commit_takes_many_users_and_raises_seq_once() -> None:
    cell = Cell()
    assert cell.commit(tap("ann", LIKE), tap("bob", LOVE), tap("cat", LIKE)) == answers(
        (CREATED, NONE, LIKE), (CREATED, NONE, LOVE), (CREATED, NONE, LIKE)
    )
    assert (cell.seen.seq, cell.seen.counts, cell.seen.rows) == (1, (2, 1), 3)


def test_times_in_a_cell_rise_by_at_least_one_microsecond() -> None:
    cell = Cell()
    cell.commit(tap("ann", LIKE), tap("bob", LIKE))
    cell.now -= HOUR
    cell.one(tap("cat", LIKE))
    assert [cell.rows[user].updated_at for user in ("ann", "bob", "cat")] == [NOW, NOW + 1, NOW + 2]
    assert cell.seen.last_at == NOW + 2


def test_a_commit_keeps_the_number_of_lanes() -> None:
    cell = Cell(Header(3, "post", lanes=64))
    cell.one(tap("ann", LIKE))
    assert cell.seen.lanes == 64


def test_several_taps_of_one_user_make_one_transition() -> None:
    cell = liked()
    taps = [tap("ann", LOVE), tap("ann", NONE), tap("ann", HAHA), toggle("ann", WOW)]
    assert cell.plan(*taps).transitions == [Transition("ann", LIKE, WOW, NOW, NOW + 4)]
    # Each answer tells what its own tap did, and all of them the state after the commit.
    assert cell.commit(*taps) == answers(
        (SWITCHED, LIKE, WOW), (REMOVED, LOVE, WOW), (CREATED, NONE, WOW), (SWITCHED, HAHA, WOW)
    )
    assert cell.seen.counts == (0, 0, 0, 1)


def test_taps_that_cancel_out_are_committed_without_a_transition() -> None:
    cell = liked()
    plan = cell.plan(toggle("ann", LIKE), toggle("ann", LIKE))
    assert (plan.transitions, plan.header.counts, plan.header.seq) == ([], (1,), 2)
    assert plan.changed["ann"].updated_at == NOW + 2
    assert plan.header.recent == (("ann", LIKE),)


def test_a_reaction_given_and_taken_back_in_one_commit_still_has_a_first_time() -> None:
    cell = Cell()
    cell.commit(tap("ann", LIKE), tap("ann", NONE))
    assert (cell.rows["ann"].reaction, cell.rows["ann"].created_at, cell.seen.born) == (NONE, NOW, NOW)
    assert (cell.seen.total, cell.seen.rows, cell.seen.recent) == (0, 1, ())


def test_transitions_are_in_the_order_of_their_times() -> None:
    plan = Cell().plan(tap("ann", LIKE), tap("bob", LIKE), tap("ann", LOVE))
    assert [(t.user, t.at) for t in plan.transitions] == [("bob", NOW + 1), ("ann", NOW + 2)]


# What writes nothing, and what only remembers


def test_an_unchanged_tap_without_a_key_writes_nothing() -> None:
    cell = liked()
    plan = cell.plan(tap("ann", LIKE))
    assert (plan.changed, plan.transitions) == ({}, [])
    assert plan.header is cell.header
    assert Cell().plan(tap("ann", NONE)).changed == {}


def test_an_unchanged_tap_with_a_key_is_remembered_and_changes_no_time() -> None:
    cell = liked()
    cell.now += S
    assert cell.one(tap("ann", LIKE, "k")) == Answer(UNCHANGED, LIKE, LIKE)
    assert (cell.seen.seq, cell.seen.last_at, cell.rows["ann"].updated_at) == (2, NOW, NOW)
    cell.one(tap("ann", LOVE))
    assert cell.one(tap("ann", LIKE, "k")) == Answer(UNCHANGED, LIKE, LOVE, replayed=True)


def test_a_keyed_removal_of_nothing_makes_a_row_that_was_never_born() -> None:
    cell = Cell()
    plan = cell.plan(tap("ann", NONE, "k"))
    assert plan.transitions == []
    cell.one(tap("ann", NONE, "k"))
    assert (cell.rows["ann"].created_at, cell.rows["ann"].updated_at) == (0, 0)
    assert cell.seen == Header(1, "post", (), 1, 0, 0)
    cell.now += S
    cell.one(tap("ann", LIKE))
    assert (cell.rows["ann"].created_at, cell.seen.born, cell.seen.rows) == (NOW + S, NOW + S, 1)


# Repeating a tap


@pytest.mark.parametrize("verb", list(Verb))
def test_a_repeated_key_answers_as_the_first_time_and_with_the_reaction_of_now(verb: Verb) -> None:
    cell = liked()
    first = tap("ann", LOVE, "k", verb=verb)
    assert cell.one(first) == Answer(SWITCHED, LIKE, LOVE)
    cell.one(tap("ann", NONE))
    assert cell.plan(first).changed == {}
    assert cell.one(first) == Answer(SWITCHED, LIKE, NONE, replayed=True)


def test_a_key_repeated_in_the_same_commit_counts_once() -> None:
    cell = Cell()
    assert cell.commit(toggle("ann", LIKE, "k"), toggle("ann", LIKE, "k")) == [
        Answer(CREATED, NONE, LIKE),
        Answer(CREATED, NONE, LIKE, replayed=True),
    ]
    assert cell.seen.counts == (1,)


def test_a_proposal_made_again_without_a_key_counts_once() -> None:
    """A commit of unknown outcome is folded again with the same operation ids."""
    cell = Cell()
    single = toggle("ann", LIKE)
    cell.one(single)
    assert cell.one(single) == Answer(CREATED, NONE, LIKE, replayed=True)


@pytest.mark.parametrize("other", [tap("ann", LOVE, "k"), toggle("ann", LIKE, "k"), tap("ann", NONE, "k")])
def test_a_key_is_not_used_for_another_wish(other: Tap) -> None:
    assert liked(key="k").code(other) == "idempotency_key_reused"


def test_a_key_reused_within_a_commit_is_refused_and_the_first_one_stands() -> None:
    cell = Cell()
    created, refused = cell.commit(tap("ann", LIKE, "k"), tap("ann", LOVE, "k"))
    assert (created, refused) == (Answer(CREATED, NONE, LIKE), Refused("idempotency_key_reused"))


def test_a_key_belongs_to_one_user_and_target() -> None:
    cell, other = liked(key="k"), Cell()
    assert cell.one(tap("bob", LOVE, "k")) == Answer(CREATED, NONE, LOVE)
    assert other.one(tap("ann", LOVE, "k")) == Answer(CREATED, NONE, LOVE)


def test_a_key_is_known_through_the_users_next_eight_taps() -> None:
    cell = liked(key="k")
    for number in range(8):
        cell.one(tap("ann", (NONE, LIKE)[number % 2]))
    assert cell.one(tap("ann", LIKE, "k")).replayed
    cell.one(tap("ann", NONE))
    assert cell.one(tap("ann", LIKE, "k")) == Answer(CREATED, NONE, LIKE)


def test_replays_do_not_use_up_the_memory() -> None:
    cell = liked(key="k")
    for number in range(8):
        cell.one(tap("ann", 2 + number % 2, f"k{number}"))
        assert [cell.one(tap("ann", 2 + number % 2, f"k{number}")).replayed for _ in range(3)] == [True] * 3
    assert cell.one(tap("ann", LIKE, "k")).replayed


@pytest.mark.parametrize(("later", "replayed"), [(24 * HOUR, True), (24 * HOUR + S, False)])
def test_a_key_is_known_for_24_hours(later: int, replayed: bool) -> None:
    cell = liked(key="k")
    cell.now += later
    assert cell.one(tap("ann", LIKE, "k")).replayed is replayed


@pytest.mark.parametrize(
    "registration",
    [
        Registration(type="post", closed=True),
        Registration(type="post", allowed=1 << LOVE),
        Registration(type="comment"),
    ],
)
def test_a_stored_tap_is_answered_after_the_target_began_to_refuse_such_taps(
    registration: Registration,
) -> None:
    """Else whoever repeats a tap of unknown outcome would learn that it was not stored, and it was."""
    cell = Cell()
    first = tap("ann", LIKE, "k", target_type="post")
    cell.one(first)
    cell.registration = registration
    assert cell.one(first) == Answer(CREATED, NONE, LIKE, replayed=True)
    assert cell.code(tap("ann", LOVE, "k", target_type="post")) == "idempotency_key_reused"
