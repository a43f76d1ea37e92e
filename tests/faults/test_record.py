"""What a journal allows: the checker of the faults finds what it is there to find."""

from pathlib import Path

from tests.faults.record import (
    Explained,
    Line,
    Record,
    Silence,
    Tap,
    Told,
    explain,
    silence,
    unanswered,
    waited_s,
)

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


def test_a_repetition_that_changes_nothing_may_be_called_a_first_one(tmp_path: Path) -> None:
    again = ok(LIKED, "unchanged", "like", "like")
    assert not explained(tmp_path / "same", again, again).doubled
    assert explained(tmp_path / "other", again, ok(LIKED, "created", None, "like")).doubled


def test_the_first_answer_is_no_repetition(tmp_path: Path) -> None:
    assert explained(tmp_path / "known", ok(LIKED, "created", None, "like", replayed=True)).wrong
    found = explained(
        tmp_path / "unknown", told(LIKED, "unknown"), ok(LIKED, "created", None, "like", replayed=True)
    )
    assert not found.wrong


OTHER = Tap("bob", "u", "PUT", "like", "k3")
HERE: dict[int, list[tuple[float, float]]] = {0: [], 1: []}


def line(at_s: float, told: Told, tap: Tap = LIKED, api: int = 0) -> Line:
    return Line(at_s, tap, api, told)


def test_who_waits_in_vain_is_counted_and_who_wants_nothing_is_not() -> None:
    quiet = [line(1, "sent"), line(1.5, "ok"), line(8, "sent"), line(8.25, "ok")]
    assert waited_s(quiet, (0, 10)) == 0.5
    assert waited_s([*quiet, line(9, "sent")], (0, 10)) == 1.0
    refused = [line(1, "sent"), line(1.1, "refused"), line(2, "sent"), line(2.1, "unknown"), line(4, "sent")]
    assert waited_s([*refused, line(4.5, "ok")], (0, 10)) == 3.5
    overtaken = [line(1, "sent"), line(2, "sent", OTHER), line(3, "ok", OTHER), line(9, "ok")]
    assert waited_s(overtaken, (0, 10)) == 6.0


def test_one_target_or_one_process_that_is_stuck_is_found() -> None:
    fine = [line(n / 4, told, OTHER, 1) for n in range(40) for told in ("sent", "ok")]
    stuck = sorted([*fine, line(2, "sent", LIKED, 1), line(3, "sent", OTHER, 0)], key=lambda each: each.at_s)
    assert silence(fine, 0, 10, HERE).s == 0.0
    assert silence(stuck, 0, 10, HERE) == Silence(8.0, "t")
    assert silence([each for each in stuck if each.tap == OTHER], 0, 10, HERE) == Silence(7.0, "api0")
    assert silence([each for each in stuck if each.tap == OTHER], 0, 10, {0: [(2.5, 9)]}).s < 0.5


def test_a_connection_may_break_where_nothing_was_done() -> None:
    cut = [Line(1, LIKED, 0, "unknown", broke=True), Line(2, LIKED, 1, "ok")]
    stored = [Line(1, LIKED, 0, "unknown", broke=True), Line(2, LIKED, 1, "ok", replayed=True)]
    late = [Line(1, LIKED, 0, "unknown"), Line(2, LIKED, 1, "ok")]
    for_ever = [Line(1, LIKED, 0, "unknown", broke=True)]
    assert unanswered(cut, at_most=1) == []
    assert [len(unanswered(story, at_most=1)) for story in (stored, late, for_ever)] == [1, 1, 1]
    another = [Line(1, TOGGLED, 0, "unknown", broke=True), Line(2, TOGGLED, 1, "ok")]
    assert len(unanswered([*cut, *another], at_most=1)) == 2
