"""What `fold` refuses, with which code, and in which order. A refused tap is never stored."""

import pytest

from plaudit.domain.catalogue import Catalogue, Registration, TargetType
from plaudit.domain.cell import Answer, Deleted, Header, Outcome, Refused, Row, Rules, Tap
from plaudit.domain.lanes import first, lane_of, seal
from tests.unit.domain.cells import BOO, LIKE, LOVE, NONE, NOW, POST, RULES, Cell, liked, tap, toggle

CREATED, SWITCHED, REMOVED, UNCHANGED = Outcome


def test_a_refused_tap_is_not_remembered() -> None:
    cell = Cell(registration=Registration(type="post", closed=True))
    assert cell.code(tap("ann", LIKE, "k")) == "target_closed"
    cell.registration = POST
    assert cell.one(tap("ann", LIKE, "k")) == Answer(CREATED, NONE, LIKE)


def test_a_refused_tap_does_not_disturb_its_neighbours() -> None:
    cell = Cell()
    assert cell.commit(tap("ann", LIKE), tap("bob", BOO), tap("cat", LIKE, target_type="comment")) == [
        Answer(CREATED, NONE, LIKE),
        Refused("reaction_not_allowed"),
        Refused("target_type_mismatch"),
    ]
    assert (cell.seen.counts, list(cell.rows)) == ((1,), ["ann"])


def test_a_closed_target_refuses_set_and_toggle_and_lets_go() -> None:
    cell = liked()
    cell.registration = Registration(type="post", closed=True)
    for refused in (tap("ann", LOVE), tap("ann", LIKE), toggle("ann", LIKE), toggle("bob", LOVE)):
        assert cell.code(refused) == "target_closed"
    assert cell.one(tap("bob", NONE)) == Answer(UNCHANGED, NONE, NONE)
    assert cell.one(tap("ann", NONE)) == Answer(REMOVED, LIKE, NONE)


def test_a_retired_reaction_can_be_kept_and_removed_but_not_given() -> None:
    cell = Cell(Header(1, "post", (0,) * 8 + (1,), 1, NOW, NOW, (("ann", BOO),)), {"ann": Row(BOO, NOW, NOW)})
    assert cell.code(tap("bob", BOO)) == "reaction_not_allowed"
    assert cell.one(tap("ann", BOO)) == Answer(UNCHANGED, BOO, BOO)
    assert cell.one(toggle("ann", BOO)) == Answer(REMOVED, BOO, NONE)
    assert cell.code(toggle("ann", BOO)) == "reaction_not_allowed"


def test_only_what_the_registration_allows_can_be_given() -> None:
    cell = liked()
    cell.registration = Registration(type="post", allowed=1 << LOVE)
    assert cell.code(tap("bob", LIKE)) == "reaction_not_allowed"
    assert cell.one(tap("bob", LOVE)) == Answer(CREATED, NONE, LOVE)
    assert cell.one(tap("ann", LIKE)) == Answer(UNCHANGED, LIKE, LIKE)
    assert cell.one(tap("ann", LOVE)) == Answer(SWITCHED, LIKE, LOVE)
    assert cell.code(tap("ann", LIKE)) == "reaction_not_allowed"
    assert cell.one(toggle("ann", LOVE)) == Answer(REMOVED, LOVE, NONE)


def test_only_what_the_type_allows_can_be_given() -> None:
    types = [TargetType(name="post"), TargetType(name="note", reactions=("like",))]
    cell = Cell(rules=Rules(Catalogue(types=types)))
    assert cell.code(tap("ann", LOVE, target_type="note")) == "reaction_not_allowed"
    cell.one(tap("ann", LIKE, target_type="note"))
    assert cell.code(tap("bob", LOVE)) == "reaction_not_allowed"


def test_a_type_is_the_first_taps_and_then_stays() -> None:
    cell = Cell()
    cell.one(tap("ann", LIKE, target_type="comment"))
    assert cell.seen.type == "comment"
    assert cell.code(tap("bob", LIKE, target_type="post")) == "target_type_mismatch"
    cell.one(tap("bob", LIKE))
    cell.one(tap("cat", LIKE, target_type="comment"))
    assert (cell.seen.type, cell.seen.total) == ("comment", 3)


def test_the_first_tap_of_a_commit_decides_the_type_for_the_others() -> None:
    cell = Cell()
    created, refused = cell.commit(
        tap("ann", LIKE, target_type="comment"), tap("bob", LIKE, target_type="post")
    )
    assert (created, refused) == (Answer(CREATED, NONE, LIKE), Refused("target_type_mismatch"))


@pytest.mark.parametrize(
    "first", [tap("ann", NONE, target_type="comment"), tap("ann", BOO, target_type="comment")]
)
def test_a_tap_that_writes_nothing_decides_no_type(first: Tap) -> None:
    cell = Cell()
    cell.commit(first, tap("bob", LIKE, target_type="post"))
    assert (cell.seen.type, cell.seen.total) == ("post", 1)


@pytest.mark.parametrize("traceless", [tap("ann", NONE, "k"), tap("ann", NONE, "k", target_type="post")])
def test_a_tap_that_leaves_no_reaction_decides_no_type(traceless: Tap) -> None:
    """Its key is remembered in a row, which says nothing of the target."""
    together, apart = Cell(), Cell()
    together.commit(traceless, tap("bob", LIKE, target_type="comment"))
    apart.commit(traceless)
    apart.one(tap("bob", LIKE, target_type="comment"))
    for cell in (together, apart):
        assert (cell.seen.type, cell.seen.total) == ("comment", 1)
        assert cell.code(tap("cat", LIKE, target_type="post")) == "target_type_mismatch"


def test_where_nobody_reacts_any_more_the_next_tap_decides_the_type_anew() -> None:
    cell = liked()
    assert cell.code(tap("bob", LIKE, target_type="comment")) == "target_type_mismatch"
    cell.one(tap("ann", NONE, target_type="post"))
    cell.one(tap("ann", NONE, "k", target_type="comment"))
    assert cell.seen.type == "post", "nobody reacts, so it stays what it was"
    cell.one(tap("bob", LIKE, target_type="comment"))
    assert (cell.seen.type, cell.seen.total) == ("comment", 1)
    one_commit = liked()
    one_commit.commit(tap("ann", NONE), tap("bob", LIKE, target_type="comment"))
    assert (one_commit.seen.type, one_commit.seen.total) == ("comment", 1)


def test_a_tap_that_names_no_type_keeps_that_of_a_target_without_reactions() -> None:
    cell = Cell()
    cell.one(tap("ann", LIKE, target_type="comment"))
    cell.one(tap("ann", NONE))
    cell.one(tap("bob", LIKE))
    assert cell.seen.type == "comment"


def test_a_registered_type_stays_though_nobody_reacts() -> None:
    cell = Cell(registration=POST)
    assert cell.code(tap("ann", LIKE, target_type="comment")) == "target_type_mismatch"


def test_the_type_of_a_split_target_stays_though_nobody_reacts_in_its_lane() -> None:
    root = seal(liked().seen, 4)
    cell = Cell(first(root, lane_of("bob", 4)))
    assert cell.code(tap("bob", LIKE, target_type="comment")) == "target_type_mismatch"


def test_a_registered_type_wins_over_what_taps_said() -> None:
    cell = Cell()
    cell.one(tap("ann", LIKE, target_type="comment"))
    cell.registration = POST
    assert cell.code(tap("bob", LIKE, target_type="comment")) == "target_type_mismatch"
    cell.one(tap("bob", LIKE, target_type="post"))
    assert (cell.seen.type, cell.seen.total) == ("post", 2)


def test_where_targets_must_be_registered_others_are_refused() -> None:
    cell = Cell(rules=Rules(Catalogue(), registered_only=True))
    assert cell.code(tap("ann", LIKE)) == "target_not_registered"
    cell.registration = POST
    assert cell.one(tap("ann", LIKE)) == Answer(CREATED, NONE, LIKE)


def test_a_granted_type_needs_a_grant_for_everything_and_a_registration() -> None:
    cell = Cell()
    assert cell.code(tap("ann", LIKE, target_type="message")) == "target_not_granted"
    assert cell.code(tap("ann", LIKE, target_type="message", granted=True)) == "target_not_registered"
    cell.registration = Registration(type="message")
    assert cell.code(tap("ann", LIKE)) == "target_not_granted"
    assert cell.code(tap("ann", NONE)) == "target_not_granted"
    assert cell.one(tap("ann", LIKE, "k", granted=True)) == Answer(CREATED, NONE, LIKE)
    # A grant that is gone is gone: not even what was stored is told.
    assert cell.code(tap("ann", LIKE, "k")) == "target_not_granted"


def test_a_post_cannot_be_made_a_message_by_a_tap() -> None:
    cell = liked()
    assert cell.code(tap("bob", LIKE, target_type="message", granted=True)) == "target_type_mismatch"


@pytest.mark.parametrize("state", [Deleted.PURGING, Deleted.PURGED])
@pytest.mark.parametrize(
    "refused", [tap("ann", LIKE, "k"), tap("ann", NONE), tap("bob", LOVE, target_type="comment")]
)
def test_a_deleted_target_refuses_every_tap(state: Deleted, refused: Tap) -> None:
    cell = liked(key="k")
    cell.header = Header(2, "post", (), 1, NOW, NOW, (), state)
    assert cell.code(refused) == "target_deleted"


def test_a_deleted_message_is_deleted_and_not_merely_unregistered() -> None:
    """Deletion ends the registration too, and the answer must still be the 410."""
    cell = Cell(Header(2, "message", (), 1, NOW, NOW, (), Deleted.PURGING))
    assert cell.code(tap("ann", LIKE, granted=True)) == "target_deleted"


def test_refusals_come_in_one_order_whatever_else_is_wrong() -> None:
    """Who may not look learns nothing; then the target, then the request."""
    closed = Registration(type="message", closed=True, allowed=1 << LIKE)
    cell = Cell(
        Header(1, "message", deleted=Deleted.PURGED), rules=Rules(RULES.catalogue, registered_only=True)
    )

    def code(*, granted: bool = True, target_type: str = "post", reaction: int = BOO) -> str:
        return cell.code(tap("ann", reaction, "k", target_type=target_type, granted=granted))

    seen = [code(granted=False), code()]
    cell.header = Header(1, "message")
    seen.append(code())
    cell.registration = closed
    seen += [code(), code(target_type="message")]
    cell.registration = Registration(type="message", allowed=1 << LIKE)
    seen.append(code(target_type="message"))
    assert seen == [
        "target_not_granted",
        "target_deleted",
        "target_not_registered",
        "target_type_mismatch",
        "target_closed",
        "reaction_not_allowed",
    ]
