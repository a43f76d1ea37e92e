"""Lines of a file: what is let in, what is refused and how it is named, and that writing and reading are one."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plaudit.domain.catalogue import Catalogue, Reaction, Registration
from plaudit.domain.errors import Invalid
from plaudit.domain.transfer import (
    CSV_COLUMNS,
    REFUSALS,
    Parser,
    ReactionRecord,
    Record,
    TargetRecord,
    UserRecord,
    csv_line,
    json_line,
)

CATALOGUE = Catalogue()
NOW = 1_760_000_000_000_000
AT = "2025-05-01T12:30:00Z"
AT_US = 1_746_102_600_000_000
GOOD: dict[str, Any] = {"target_id": "post:1", "user_id": "ann", "reaction": "love", "created_at": AT}


def read(text: bytes) -> Record:
    return Parser(CATALOGUE, NOW).json(text, 7)


def line(**fields: Any) -> bytes:
    return msgspec.json.encode({**GOOD, **fields})


def csv_parser(header: bytes = ",".join(CSV_COLUMNS).encode()) -> Parser:
    parser = Parser(CATALOGUE, NOW)
    parser.csv_header(header)
    return parser


def test_a_line_without_a_kind_is_a_reaction() -> None:
    assert read(line()) == ReactionRecord("post:1", "ann", 2, AT_US, AT_US, None, 7)
    assert read(line(kind="reaction", target_id=42, user_id=7, target_type="comment")) == ReactionRecord(
        "42", "7", 2, AT_US, AT_US, "comment", 7
    )


def test_a_reaction_of_null_was_taken_back() -> None:
    taken_back = read(line(reaction=None, updated_at="2025-05-01T12:30:01.5Z"))
    assert taken_back == ReactionRecord("post:1", "ann", 0, AT_US, AT_US + 1_500_000, None, 7)


@pytest.mark.parametrize(
    ("at", "us"),
    [
        ("1970-01-01T00:00:00.000001Z", 1),
        ("2025-05-01T14:30:00+02:00", AT_US),
        ("2025-05-01t12:30:00.123456z", AT_US + 123_456),
        ("2025-05-01 12:30:00-00:00", AT_US),
    ],
)
def test_times_are_rfc_3339_with_a_zone(at: str, us: int) -> None:
    record = read(line(created_at=at))
    assert isinstance(record, ReactionRecord)
    assert record.created_at == us


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b"\x00", "invalid_json", None),
        (b"\xff\xfe", "invalid_json", None),
        (b'{"target_id":"\xff"}', "invalid_json", None),
        (b"{} {}", "missing_field", "target_id"),
        (line() + b"x", "invalid_json", None),
        (b"[]", "invalid_field", None),
        (b"[" * 60_000, "invalid_field", None),
        (b'{"kind":' + b"[" * 60_000, "invalid_field", "kind"),
        (line(kind="post"), "unknown_kind", "kind"),
        (line(kind=None), "invalid_field", "kind"),
        (line(updatedAt=AT), "unknown_field", "updatedAt"),
        (line(target_id="a b"), "invalid_target_id", "target_id"),
        (line(target_id="counts"), "invalid_target_id", "target_id"),
        (line(target_id=None), "invalid_field", "target_id"),
        (line(target_id=1.5), "invalid_field", "target_id"),
        (line(user_id=True), "invalid_field", "user_id"),
        (line(user_id="a\x00b"), "invalid_user_id", "user_id"),
        (line(user_id="a,b"), "invalid_user_id", "user_id"),
        (line(reaction="LIKE"), "unknown_reaction", "reaction"),
        (line(reaction=""), "unknown_reaction", "reaction"),
        (line(reaction=1), "invalid_field", "reaction"),
        (line(target_type="story"), "unknown_target_type", "target_type"),
        (line(created_at=1_746_102_600), "invalid_time", "created_at"),
        (line(created_at="1746102600"), "invalid_time", "created_at"),
        (line(created_at="2025-05-01"), "invalid_time", "created_at"),
        (line(created_at="2025-05-01T12:30:00"), "invalid_time", "created_at"),
        (line(created_at="1970-01-01T00:00:00Z"), "invalid_time", "created_at"),
        (line(created_at="0001-01-01T00:00:00+23:59"), "invalid_time", "created_at"),
        (line(created_at="2525-05-01T12:30:00Z"), "invalid_time", "created_at"),
        (line(updated_at="2025-05-01T12:29:59Z"), "invalid_time", "updated_at"),
        (b'{"kind":"target"}', "missing_field", "target_id"),
        (b'{"kind":"target","target_id":"t","version":-1}', "invalid_field", "version"),
        (b'{"kind":"target","target_id":"t","version":9007199254740992}', "invalid_field", "version"),
        (b'{"kind":"target","target_id":"t","target_type":"x"}', "unknown_target_type", "target_type"),
        (b'{"kind":"target","target_id":"t","closed":true}', "invalid_field", None),
        (b'{"kind":"target","target_id":"t","registered":true,"deleted":true}', "invalid_field", None),
        (
            b'{"kind":"target","target_id":"t","registered":true,"owner_id":"<"}',
            "invalid_user_id",
            "owner_id",
        ),
        (
            b'{"kind":"target","target_id":"t","registered":true,"allowed":["no"]}',
            "unknown_reaction",
            "allowed",
        ),
        (b'{"kind":"user"}', "missing_field", "user_id"),
        (b'{"kind":"user","user_id":"ann","erased_at":"now"}', "invalid_time", "erased_at"),
        (
            b'{"kind":"user","user_id":"ann","name":"Ann","erased_at":"2025-05-01T12:30:00Z"}',
            "invalid_field",
            "erased_at",
        ),
    ],
)
def test_a_bad_line_is_refused_by_name(text: bytes, code: str, field: str | None) -> None:
    with pytest.raises(Invalid) as refused:
        read(text)
    assert (refused.value.code, refused.value.field) == (code, field)
    assert code in REFUSALS


@pytest.mark.parametrize("missing", GOOD)
def test_a_missing_field_is_named(missing: str) -> None:
    with pytest.raises(Invalid) as refused:
        read(msgspec.json.encode({name: value for name, value in GOOD.items() if name != missing}))
    assert (refused.value.code, refused.value.field) == ("missing_field", missing)


def test_the_columns_of_csv_come_in_any_order() -> None:
    parser = csv_parser(b"created_at,reaction , user_id,target_id")
    expected = ReactionRecord("post:1", "ann", 2, AT_US, AT_US, None, 3)
    assert parser.csv(f"{AT},love,ann,post:1".encode(), 3) == expected
    assert parser.csv(f'"{AT}", love ,"ann",post:1'.encode(), 3) == expected


@pytest.mark.parametrize(
    ("header", "code", "field"),
    [
        (b"", "unknown_field", ""),
        (b"target_id,user_id,reaction", "missing_field", "created_at"),
        (b"target_id,user_id,reaction,created_at,likes", "unknown_field", "likes"),
        (b"target_id,user_id,reaction,created_at,user_id", "invalid_csv", None),
        (b"\xff", "invalid_csv", None),
    ],
)
def test_a_bad_header_is_refused_by_name(header: bytes, code: str, field: str | None) -> None:
    with pytest.raises(Invalid) as refused:
        csv_parser(header)
    assert (refused.value.code, refused.value.field) == (code, field)


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        (f"t,ann,like,{AT}", "invalid_csv", None),
        (f"t,ann,like,{AT},,,", "invalid_csv", None),
        (f'"t,ann,like,{AT},,', "invalid_csv", None),
        (f't"x,ann,like,{AT},,', "invalid_target_id", "target_id"),
        (f't,ann,like,{AT},,"post"x', "invalid_csv", None),
        (f"t\rann,like,{AT},,", "invalid_csv", None),
        ('"\r"\r"', "invalid_csv", None),
        (f"t,ann,,{AT},,", "missing_field", "reaction"),
        (f"t,,like,{AT},,", "missing_field", "user_id"),
        (f"t,a\x00n,like,{AT},,", "invalid_user_id", "user_id"),
        ("t,ann,like,yesterday,,", "invalid_time", "created_at"),
        ("t,ann,like,1746102600,,", "invalid_time", "created_at"),
        (f"t,ann,none,{AT},,", "unknown_reaction", "reaction"),
        (f"t,ann,like,{AT},,thing", "unknown_target_type", "target_type"),
    ],
)
def test_a_bad_line_of_csv_is_refused_by_name(text: str, code: str, field: str | None) -> None:
    with pytest.raises(Invalid) as refused:
        csv_parser().csv(text.encode(), 1)
    assert (refused.value.code, refused.value.field) == (code, field)


times = st.integers(1, NOW)
targets = st.from_regex(r"[A-Za-z0-9_:@~|=-]{1,128}", fullmatch=True).filter(
    lambda t: t not in ("counts", "feed")
)
users = st.from_regex(r"[!#$%&()*+\-/0-9:;=?@A-Z\[\]^_`a-z{|}~]{1,128}", fullmatch=True)
texts = st.none() | st.text(min_size=1).filter(lambda text: text.isprintable())
reactions = st.builds(
    lambda target, user, code, first, more, type_: ReactionRecord(
        target, user, code, first, first + more, type_, 7
    ),
    targets,
    users,
    st.integers(0, 6),
    times,
    st.just(0) | st.integers(0, 300_000_000),
    st.sampled_from([None, "post", "comment", "message"]),
)
registrations = st.builds(
    Registration,
    type=st.just("comment"),
    owner=st.none() | users,
    title=texts,
    closed=st.booleans(),
    allowed=st.none() | st.integers(0, 63).map(lambda bits: bits << 1),
)
records = (
    reactions
    | st.builds(
        TargetRecord,
        target=targets,
        type=st.just("comment"),
        version=st.integers(0, 2**53 - 1),
        registration=registrations,
        line=st.just(7),
    )
    | st.builds(
        TargetRecord,
        target=targets,
        type=st.sampled_from(["post", "message"]),
        version=st.integers(0, 2**53 - 1),
        deleted=st.booleans(),
        line=st.just(7),
    )
    | st.builds(
        UserRecord, user=users, name=texts, avatar_url=texts, locale=texts, time_zone=texts, line=st.just(7)
    )
    | st.builds(UserRecord, user=users, erased_at=times, line=st.just(7))
)


@given(records)
def test_what_is_written_reads_the_same(record: Record) -> None:
    text = json_line(record, CATALOGUE)
    assert b"\n" not in text
    assert read(text) == record


@given(reactions.filter(lambda record: record.reaction > 0))
def test_what_is_written_as_csv_reads_the_same(record: ReactionRecord) -> None:
    assert csv_parser().csv(csv_line(record, CATALOGUE), 7) == record


def test_a_line_says_no_more_than_it_has_to() -> None:
    assert json_line(ReactionRecord("t", "ann", 1, AT_US, AT_US), CATALOGUE) == (
        b'{"target_id":"t","user_id":"ann","reaction":"like","created_at":"2025-05-01T12:30:00Z"}'
    )


def test_a_reaction_that_is_not_in_the_catalogue_cannot_be_written() -> None:
    small = Catalogue([Reaction(code=1, name="like", emoji="x", label="Like")])
    for write in (json_line, csv_line):
        with pytest.raises(Invalid):
            write(ReactionRecord("t", "ann", 2, AT_US, AT_US), small)


SEEDS = [line(), line(kind="target"), b'{"kind":"user","user_id":1}', b"t,ann,like,2025-05-01T12:30:00Z,,"]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    text = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 5))] = draw(st.binary(max_size=5) | st.sampled_from(SEEDS))
    return bytes(text)


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(), some, max_size=3),
    max_leaves=5,
)
field_names = [
    *GOOD,
    "updated_at",
    "target_type",
    "kind",
    "version",
    "registered",
    "allowed",
    "name",
    "erased_at",
]
odd_lines = st.dictionaries(
    st.sampled_from(field_names),
    anything
    | st.sampled_from(["reaction", "target", "user", AT, "like", "t"])
    | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
).map(lambda fields: msgspec.json.encode({**GOOD, **fields}))


@given(st.binary(max_size=200) | damaged() | odd_lines)
@example(b'{"kind":"\\ud800"}')
@example(b'{"target_id":' + b"9" * 5000 + b"}")
def test_whatever_a_line_holds_it_is_a_record_or_refused(text: bytes) -> None:
    parser = csv_parser()
    for read_line in (lambda: parser.json(text, 1), lambda: parser.csv(text, 1), lambda: csv_parser(text)):
        code = None
        try:
            read_line()
        except Invalid as refused:
            code = refused.code
        assert code is None or code in REFUSALS
