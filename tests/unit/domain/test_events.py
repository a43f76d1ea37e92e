"""The event on the wire: bytes that older and newer versions read, and `Corrupt` for all others."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Deleted, Header, Transition
from plaudit.domain.errors import Corrupt
from plaudit.domain.events import Cause, Committed, committed, decode

HEADER = Header(7, "post", (2, 1), 4, 1_700_000_000_000_000, 1_690_000_000_000_000, (("bob", 2), ("ann", 1)))
TRANSITIONS = [Transition("bob", 0, 2, 5, 6), Transition("ann", None, 1, 5, 7)]
EVENT = Committed(
    target="post:42",
    bucket=0,
    type="post",
    lanes=1,
    cause="tap",
    seq=7,
    counts=(2, 1),
    rows=4,
    born=1_690_000_000_000_000,
    recent=(("bob", 2), ("ann", 1)),
    transitions=tuple(TRANSITIONS),
)
REGISTRATION = Registration(type="post", owner="cy", title="Sunrise", closed=True, allowed=6)
GOLDEN = bytes.fromhex(
    "9f"  # an array of 15
    "ac636f6d6d69747465642e7631"  # "committed.v1"
    "a7706f73743a3432"  # target "post:42"
    "00"  # bucket
    "a4706f7374"  # type "post"
    "01"  # lanes
    "a3746170"  # cause "tap"
    "07"  # seq
    "920201"  # counts
    "04"  # rows
    "cf0006010bc9aba000"  # born
    "92"
    "92a3626f6202"
    "92a3616e6e01"  # recent
    "92"
    "95a3626f6200020506"
    "95a3616e6ec0010507"  # transitions
    "00"  # deleted
    "c0"  # told
    "90"  # recent_at
)
BEFORE = b"\x9c" + GOLDEN[1:-3]  # as events were before the last three fields


def test_golden_bytes_of_a_committed_v1_event() -> None:
    assert committed("post:42", HEADER, "tap", TRANSITIONS) == GOLDEN
    assert decode(GOLDEN) == EVENT


def test_a_registration_comes_back_with_the_header() -> None:
    closed = msgspec.structs.replace(HEADER, deleted=Deleted.PURGING)
    event = decode(committed("post:42", closed, "delete", [], 0, REGISTRATION))
    assert event.registration == REGISTRATION
    assert event.header == msgspec.structs.replace(closed, last_at=0)
    assert decode(GOLDEN).registration is None


def test_events_of_before_the_last_fields_are_read() -> None:
    assert decode(BEFORE) == EVENT


@pytest.mark.parametrize("cause", ["tap", "late", "import", "erase", "delete", "repair"])
def test_every_cause_comes_back(cause: Cause) -> None:
    event = decode(committed("t", Header(1, "post"), cause, []))
    assert (event.cause, event.counts, event.recent, event.transitions) == (cause, (), (), ())


def test_signed_counts_of_a_lane_and_totals_beyond_32_bits_come_back() -> None:
    header = Header(2**53, "post", (-3, 2**40), 2**41, 2**60, 2**60, (("ann", 2),), 0, 64, (2**60,))
    event = decode(committed("t", header, "repair", [], 64))
    assert event.header == msgspec.structs.replace(header, last_at=0)
    assert (event.seq, event.counts, event.rows, event.lanes) == (2**53, (-3, 2**40), 2**41, 64)


@pytest.mark.parametrize("appended", [None, 1, "a", [1, [2]], {"a": 1}])
def test_a_reader_of_today_takes_events_with_fields_appended_later(appended: object) -> None:
    fields = msgspec.msgpack.decode(GOLDEN)
    fields[11][0].append(appended)
    assert decode(msgspec.msgpack.encode([*fields, appended])) == EVENT


def altered(place: int, value: object) -> bytes:
    """The golden event with one of its fields replaced."""
    fields = msgspec.msgpack.decode(GOLDEN)
    fields[place] = value
    return msgspec.msgpack.encode(fields)


NOT_UTF8 = GOLDEN.replace(b"post:42", b"post:\xff2")
GARBAGE = {
    "nothing": b"",
    "text": b"not an event",
    "json": msgspec.json.encode(EVENT),
    "a number": msgspec.msgpack.encode(7),
    "a map": msgspec.msgpack.encode({"event": "committed.v1"}),
    "an empty array": msgspec.msgpack.encode([]),
    "one byte short": GOLDEN[:-1],
    "one byte long": GOLDEN + b"\x00",
    "one field short": msgspec.msgpack.encode(msgspec.msgpack.decode(BEFORE)[:-1]),
    "another version": altered(0, "committed.v2"),
    "another kind": altered(0, "created.v1"),
    "no kind": altered(0, None),
    "target is a number": altered(1, 42),
    "an unknown cause": altered(5, "whim"),
    "seq is a text": altered(6, "7"),
    "seq is a fraction": altered(6, 7.5),
    "counts is null": altered(7, None),
    "a recent of one": altered(10, [["bob"]]),
    "a transition of four": altered(11, [["bob", 0, 2, 5]]),
    "text that is not utf-8": NOT_UTF8,
    "nested deeper than the stack": b"\x9f" + GOLDEN[1:] + b"\x91" * 200_000 + b"\xc0",
    "a length that is not there": b"\xdd\xff\xff\xff\xff",
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE.keys())
def test_anything_else_is_corrupt_with_its_cause_chained(body: bytes) -> None:
    with pytest.raises(Corrupt) as failure:
        decode(body)
    assert failure.value.__cause__ is not None


@given(st.binary(max_size=200) | st.binary(max_size=20).map(lambda tail: GOLDEN[:13] + tail))
def test_random_bytes_are_corrupt(body: bytes) -> None:
    with pytest.raises(Corrupt):
        decode(body)


@given(st.lists(st.tuples(st.integers(0, len(GOLDEN) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_flipped_bytes_are_an_event_or_corrupt_and_nothing_else(flips: list[tuple[int, int]]) -> None:
    body = bytearray(GOLDEN)
    for place, value in flips:
        body[place] = value
    try:
        event = decode(bytes(body))
    except Corrupt:
        return
    assert isinstance(event, Committed)


ids = st.text("ab:42|\u00e9👍", max_size=4)
numbers = st.integers(0, 2**63 - 1)
transitions = st.builds(Transition, ids, st.none() | st.integers(0, 15), st.integers(0, 15), numbers, numbers)
headers = st.builds(
    Header,
    numbers,
    ids,
    st.lists(st.integers(-(2**40), 2**63 - 1), max_size=15).map(tuple),
    numbers,
    numbers,
    numbers,
    st.lists(st.tuples(ids, st.integers(1, 15)), max_size=3).map(tuple),
)


@given(ids, headers, st.lists(transitions, max_size=5))
def test_what_is_encoded_comes_back(target: str, header: Header, moved: list[Transition]) -> None:
    event = decode(committed(target, header, "tap", moved))
    assert (event.target, event.seq, event.type, event.counts) == (
        target,
        header.seq,
        header.type,
        header.counts,
    )
    assert (event.rows, event.born, event.recent) == (header.rows, header.born, header.recent)
    assert event.transitions == tuple(moved)
