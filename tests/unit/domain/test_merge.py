"""How imported records join a cell."""

import dataclasses
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Deleted, Header, Row
from plaudit.domain.merge import Tally, merge
from plaudit.domain.removal import counts_of
from plaudit.domain.transfer import ReactionRecord, TargetRecord

REGISTERED = Registration(type="comment", owner="olga")


@dataclasses.dataclass
class Cell:
    """A cell that records are merged into, batch by batch."""

    header: Header = dataclasses.field(default_factory=Header)
    registration: Registration | None = None
    rows: dict[str, Row] = dataclasses.field(default_factory=dict)

    def take(self, *records: ReactionRecord | TargetRecord, erased: Sequence[str] = ()) -> Tally:
        tally = Tally()
        targets = [record for record in records if isinstance(record, TargetRecord)]
        reactions = [record for record in records if isinstance(record, ReactionRecord)]
        users = {record.user for record in reactions} | {user for user, _ in self.header.recent}
        known = {user: self.rows[user] for user in users if user in self.rows}
        merged = merge(self.header, self.registration, known, targets, reactions, set(erased), tally)
        if merged.header is self.header:
            assert not merged.rows
            assert merged.registration == self.registration
        else:
            assert merged.header.seq > self.header.seq
        self.header, self.registration = merged.header, merged.registration
        self.rows |= merged.rows
        self.check()
        outcomes = tally.created + tally.changed + tally.targets + tally.skipped.total() + len(tally.refused)
        assert outcomes == len(records), "every record has one outcome"
        return tally

    def check(self) -> None:
        header, rows = self.header, self.rows
        assert header.rows == len(rows)
        assert header.counts[: len(counts_of(rows))] == counts_of(rows)
        assert not any(header.counts[len(counts_of(rows)) :])
        assert header.last_at >= max((row.updated_at for row in rows.values()), default=0)
        assert header.born == min((row.created_at for row in rows.values()), default=0)
        assert all(rows[user].reaction == code for user, code in header.recent)


def react(user: str, code: int, at: int, updated_at: int = 0, type_: str | None = None) -> ReactionRecord:
    return ReactionRecord("t", user, code, at, updated_at or at, type_)


Records = list[ReactionRecord | TargetRecord]


def about(version: int = 0, **more: object) -> TargetRecord:
    return TargetRecord(**{"target": "t", "type": "post", "version": version, **more})  # type: ignore[arg-type] # a test's own names


def test_reactions_make_a_cell_in_one_commit() -> None:
    cell = Cell()
    tally = cell.take(react("ann", 1, 10), react("bob", 2, 30), react("cid", 1, 20), react("dan", 1, 40, 50))
    assert cell.header == Header(
        1, "post", (3, 1), 4, last_at=50, born=10, recent=(("dan", 1), ("bob", 2), ("cid", 1))
    )
    assert tally == Tally(created=4)


def test_what_is_taken_in_again_changes_nothing() -> None:
    cell = Cell()
    records: Records = [about(9), react("ann", 1, 10), react("bob", 0, 10, 20)]
    cell.take(*records)
    before = dataclasses.replace(cell)
    assert cell.take(*records).skipped == {"already_there": 3}
    assert cell == before


def test_what_is_newer_there_stays_whole() -> None:
    cell = Cell()
    cell.take(react("ann", 1, 20, 30))
    for record in (react("ann", 2, 10), react("ann", 2, 10, 29), react("ann", 2, 10, 30)):
        assert cell.take(record).skipped == {"newer_there": 1}
    assert cell.rows == {"ann": Row(1, 20, 30)}


def test_what_is_newer_in_the_file_wins_and_keeps_the_first_time_and_the_keys() -> None:
    cell = Cell(
        Header(4, "post", (1,), 1, 30, 20, (("ann", 1),)), rows={"ann": Row(1, 20, 30, b"fourteen bytes")}
    )
    assert cell.take(react("ann", 2, 25, 31)).changed == 1
    assert cell.rows == {"ann": Row(2, 20, 31, b"fourteen bytes")}
    assert cell.take(react("ann", 0, 10, 40)).changed == 1
    assert cell.rows == {"ann": Row(0, 10, 40, b"fourteen bytes")}
    assert (cell.header.seq, cell.header.total, cell.header.recent) == (6, 0, ())


def test_of_two_lines_about_one_user_the_newer_wins() -> None:
    for records in ([react("ann", 1, 10), react("ann", 2, 20)], [react("ann", 2, 20), react("ann", 1, 10)]):
        cell = Cell()
        cell.take(*records)
        assert (cell.rows["ann"].reaction, cell.header.rows) == (2, 1)


def test_versions_go_past_the_stored_and_up_to_the_imported_one() -> None:
    cell = Cell(Header(5, "post"))
    cell.take(about(3), react("ann", 1, 10))
    assert cell.header.seq == 6
    cell.take(about(9), react("bob", 1, 10))
    assert cell.header.seq == 9
    cell.take(about(20))
    assert cell.header.seq == 20
    cell.take(about(19))
    assert cell.header.seq == 20


def test_a_new_cell_starts_after_the_floor() -> None:
    cell = Cell(Header(1 << 50))
    cell.take(about(9), react("ann", 1, 10))
    assert (cell.header.seq, cell.header.type) == ((1 << 50) + 1, "post")


def test_a_target_is_made_known_without_reactions() -> None:
    cell = Cell()
    assert cell.take(about(7, type="comment", registration=REGISTERED)) == Tally(targets=1)
    assert (cell.header, cell.registration) == (Header(7, "comment"), REGISTERED)


def test_a_registration_decides_the_type_and_is_never_replaced() -> None:
    cell = Cell()
    cell.take(react("ann", 1, 10))
    cell.take(about(type="comment", registration=REGISTERED))
    assert (cell.header.type, cell.registration) == ("comment", REGISTERED)
    other = Registration(type="comment", owner="other")
    assert cell.take(about(type="comment", registration=other)).skipped == {"registration_kept": 1}
    assert cell.registration == REGISTERED
    assert cell.take(about(type="comment")).skipped == {"already_there": 1}


def test_a_reaction_on_another_type_is_refused() -> None:
    cell = Cell()
    cell.take(react("ann", 1, 10, type_="comment"))
    records: Records = [react("bob", 1, 10, type_="post"), about(99), react("cid", 1, 10)]
    tally = cell.take(*records)
    assert [(code, record) for code, record in tally.refused] == [
        ("target_type_mismatch", records[1]),
        ("target_type_mismatch", records[0]),
    ]
    assert (set(cell.rows), cell.header.seq) == ({"ann", "cid"}, 2), "a refused version is not taken either"


def test_a_deleted_target_takes_nothing_in() -> None:
    cell = Cell(Header(5, "post", deleted=Deleted.PURGED))
    tally = cell.take(about(2), about(2, deleted=True), react("ann", 1, 10), react("bob", 1, 10))
    assert tally.skipped == {"target_deleted": 3, "already_there": 1}
    assert cell.header.seq == 5
    cell.take(about(8, deleted=True))
    assert (cell.header.seq, cell.header.deleted) == (8, Deleted.PURGED)


def test_a_deletion_is_taken_in_where_nothing_is_lost_by_it() -> None:
    cell = Cell()
    tally = cell.take(about(5, deleted=True), react("ann", 1, 10))
    assert (tally.targets, tally.skipped) == (1, {"target_deleted": 1})
    assert cell.header == Header(5, "post", deleted=Deleted.PURGED)
    for full in (Cell(registration=REGISTERED, header=Header(1, "comment")), Cell()):
        if full.registration is None:
            full.take(react("ann", 1, 10))
        before = dataclasses.replace(full)
        assert [code for code, _ in full.take(about(9, deleted=True)).refused] == ["target_in_use"]
        assert full == before


def test_an_erased_user_takes_no_part() -> None:
    cell = Cell()
    tally = cell.take(react("ann", 1, 10), react("bob", 1, 10), erased=["ann"])
    assert (set(cell.rows), tally.skipped) == ({"bob"}, {"user_erased": 1})
    assert Cell().take(react("ann", 1, 10), erased=["ann"]).created == 0


somebody = st.sampled_from(["ann", "bob", "cid", "dan", "eve"])
records = st.lists(
    st.builds(
        lambda user, code, at, more: react(user, code, at, at + more),
        somebody,
        st.integers(0, 6),
        st.integers(1, 50),
        st.integers(0, 5),
    )
    | st.builds(about, st.integers(0, 30)),
    max_size=30,
)


@given(records, st.data())
def test_it_does_not_matter_how_a_file_is_cut_into_batches(file: Records, data: st.DataObject) -> None:
    once, cut = Cell(), Cell()
    once.take(*file)
    rest = list(file)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        cut.take(*rest[:size])
        del rest[:size]
    assert cut.rows == once.rows
    assert counts_of(cut.rows) == counts_of(once.rows)
    before = dataclasses.replace(cut)
    cut.take(*file)
    assert cut == before, "the whole file again changes nothing"


def test_a_lane_keeps_what_only_lanes_have() -> None:
    recent = (("ann", 1), ("bob", 2))
    lane = Header(3, "post", (1,), 1, 50, 10, recent, lanes=4, recent_at=(50, 20), erased=(0, 1))
    rows = {"ann": Row(1, 10, 50, b"", base=3), "dan": Row(4, 5, 5, base=4)}
    merged = merge(
        lane,
        None,
        rows,
        [],
        [react("cid", 1, 30), react("ann", 0, 10, 60), react("dan", 1, 5, 70)],
        set(),
        Tally(),
    )
    assert merged.header == Header(
        *(4, "post", (2, 0, 0, -1), 2, 70, 5, (("cid", 1), ("bob", 2), ("dan", 1))),
        lanes=4,
        recent_at=(30, 20, 5),
        erased=(0, 1),
    )
    assert merged.rows == {"ann": Row(0, 10, 60, b"", 3), "cid": Row(1, 30, 30), "dan": Row(1, 5, 70, b"", 4)}


def test_a_deletion_is_not_taken_in_by_a_target_that_is_split() -> None:
    tally = Tally()
    root = Header(3, "post", lanes=4)
    assert merge(root, None, {}, [about(9, deleted=True)], [], set(), tally).header is root
    assert [code for code, _ in tally.refused] == ["target_in_use"]
