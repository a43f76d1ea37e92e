"""What a journal allows: the checker of the faults finds what it is there to find."""

from pathlib import Path

from tests.faults.record import Explained, Record, Tap, Told, explain

LIKED = Tap("ann", "t", "PUT", "like", "k1")
TOGGLED = Tap("ann", "t", "POST", "like", "k2")

Told3 = tuple[Tap, Told, dict[str, str | bool | None]]


def ok(
    tap: Tap, outcome: str, previous: str | None, reaction: str | None, *, replayed: bool = False
) -> Told3:
    return tap, "ok", {"outcome": outcome, "previous": previous, "reaction": reaction, "replayed": replayed}


def told(tap: Tap, what: Told) -> Told3:
    return tap, what, {}


def explained(path: Path, *story: Told3) -> Explained:
    with Record(path) as record:
        for tap, what, more in story:
            record.note(tap, 0, "sent")
            record.note(tap, 0, what, **more)
        return explain(record.read())


def test_what_was_acknowledged_is_the_state(tmp_path: Path) -> None:
    found = explained(
        tmp_path / "journal",
        ok(LIKED, "created", None, "like"),
        ok(LIKED, "created", None, "like", replayed=True),
        ok(TOGGLED, "removed", "like", None),
    )
    assert found == Explained({("ann", "t"): {None}}, [], [], [], 0)


def test_what_was_refused_changes_nothing_and_what_is_unknown_may(tmp_path: Path) -> None:
    refused = explained(tmp_path / "refused", told(LIKED, "refused"))
    assert (refused.states, refused.unsettled) == ({("ann", "t"): {None}}, 0)
    for last in ("unknown", "refused"):
        unknown = explained(tmp_path / last, told(LIKED, "unknown"), told(LIKED, last))
        assert (unknown.states, unknown.unsettled) == ({("ann", "t"): {None, "like"}}, 1)


def test_a_tap_that_a_later_answer_knows_nothing_of_is_lost(tmp_path: Path) -> None:
    found = explained(
        tmp_path / "journal", ok(LIKED, "created", None, "like"), ok(TOGGLED, "created", None, "like")
    )
    assert len(found.lost) == 1


def test_a_repetition_that_does_something_counts_twice(tmp_path: Path) -> None:
    found = explained(
        tmp_path / "journal", ok(TOGGLED, "created", None, "like"), ok(TOGGLED, "removed", "like", None)
    )
    assert len(found.doubled) == 1


def test_the_first_answer_is_no_repetition(tmp_path: Path) -> None:
    assert explained(tmp_path / "known", ok(LIKED, "created", None, "like", replayed=True)).wrong
    found = explained(
        tmp_path / "unknown", told(LIKED, "unknown"), ok(LIKED, "created", None, "like", replayed=True)
    )
    assert not found.wrong
