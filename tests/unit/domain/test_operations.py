"""The memory of a row: nine operations, 24 h, and no false memories."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.domain.operations import (
    KEPT,
    KEPT_FOR_S,
    newest,
    operation_id,
    recall,
    recalls,
    remember,
    remembered,
)

RECORD_BYTES = 14
NOW_S = 1_760_000_000


def op(number: int) -> bytes:
    return number.to_bytes(8, "big")


def test_golden_bytes_of_one_record() -> None:
    """The stored format: id, seconds, verb and reaction asked, outcome and previous. Files are full of it."""
    ops = remember(b"", bytes.fromhex("0102030405060708"), 0x68E77800, 1 << 4 | 2, 3 << 4 | 5)
    assert ops.hex() == "010203040506070868e778001235"


def test_golden_bytes_of_a_key() -> None:
    """BLAKE2b with a digest of 8 bytes: a key sent before an upgrade must be known after it."""
    assert operation_id(b"9b2f6c1e").hex() == "9e443bc16a1870b1"


def test_an_operation_is_recalled_as_it_was_remembered() -> None:
    assert recall(remember(b"", op(7), NOW_S, 0x12, 0x35), op(7), NOW_S) == (0x12, 0x35)
    assert recall(remember(b"", op(7), NOW_S, 0x12, 0x35), op(8), NOW_S) is None
    assert recall(b"", op(7), NOW_S) is None


def test_the_newest_nine_are_kept_newest_first() -> None:
    ops = b""
    for number in range(12):
        ops = remember(ops, op(number), NOW_S + number, 0x11, 0x10)
    assert len(ops) == KEPT * RECORD_BYTES == 9 * RECORD_BYTES
    assert [ops[at : at + 8] for at in range(0, len(ops), RECORD_BYTES)] == [op(n) for n in range(11, 2, -1)]
    assert [recall(ops, op(n), NOW_S + 11) is not None for n in range(12)] == [False] * 3 + [True] * 9


def test_an_operation_survives_the_next_eight_and_not_the_ninth() -> None:
    ops = remember(b"", op(0), NOW_S, 0x11, 0x10)
    for number in range(1, 9):
        ops = remember(ops, op(number), NOW_S, 0x11, 0x10)
        assert recall(ops, op(0), NOW_S) == (0x11, 0x10)
    assert recall(remember(ops, op(9), NOW_S, 0x11, 0x10), op(0), NOW_S) is None


@pytest.mark.parametrize(("later_s", "known"), [(0, True), (KEPT_FOR_S, True), (KEPT_FOR_S + 1, False)])
def test_an_operation_is_known_for_24_hours(later_s: int, known: bool) -> None:
    ops = remember(b"", op(1), NOW_S, 0x11, 0x10)
    assert (recall(ops, op(1), NOW_S + later_s) is not None) is known
    kept = remember(ops, op(2), NOW_S + later_s, 0x11, 0x10)
    assert len(kept) == (2 if known else 1) * RECORD_BYTES


def test_all_that_is_too_old_falls_off_at_once() -> None:
    ops = b""
    for number in range(5):
        ops = remember(ops, op(number), NOW_S + number * 3600, 0x11, 0x10)
    kept = remember(ops, op(9), NOW_S + 2 * 3600 + KEPT_FOR_S, 0x11, 0x10)
    assert [kept[at : at + 8] for at in range(0, len(kept), RECORD_BYTES)] == [op(9), op(4), op(3), op(2)]


def test_a_key_that_was_forgotten_can_be_remembered_again() -> None:
    later_s = NOW_S + KEPT_FOR_S + 1
    ops = remember(remember(b"", op(1), NOW_S, 0x11, 0x10), op(1), later_s, 0x12, 0x21)
    assert recall(ops, op(1), later_s) == (0x12, 0x21)


def test_a_clock_that_steps_back_forgets_nothing() -> None:
    ops = remember(remember(b"", op(1), NOW_S, 0x11, 0x10), op(2), NOW_S - 3600, 0x12, 0x21)
    assert recall(ops, op(1), NOW_S - 3600) == (0x11, 0x10)
    assert recall(ops, op(2), NOW_S - 3600) == (0x12, 0x21)


def test_the_same_bytes_across_two_records_are_no_match() -> None:
    """Every window of 8 bytes that does not start a record is unknown, even where it looks like an id."""
    ops = remember(
        remember(b"", bytes(range(8)), NOW_S, 0x11, 0x10), bytes(range(100, 108)), NOW_S, 0x12, 0x21
    )
    for at in range(len(ops) - 7):
        assert (recall(ops, ops[at : at + 8], NOW_S) is not None) is (at % RECORD_BYTES == 0)


def test_a_match_is_found_behind_an_earlier_misaligned_one() -> None:
    wanted = bytes(range(1, 7)) + NOW_S.to_bytes(4, "big")[:2]
    ops = remember(b"", wanted, NOW_S, 0x12, 0x21)
    ops = remember(ops, bytes(2) + wanted[:6], NOW_S, 0x11, 0x10)
    assert ops.find(wanted) == 2
    assert recall(ops, wanted, NOW_S) == (0x12, 0x21)


@given(st.lists(st.binary(min_size=8, max_size=8), unique=True, max_size=15), st.data())
def test_recall_answers_what_a_list_of_nine_would(ids: list[bytes], data: st.DataObject) -> None:
    ops, model = b"", list[tuple[bytes, int, int]]()
    for each in ids:
        asked, did = data.draw(st.integers(0, 255)), data.draw(st.integers(0, 255))
        ops = remember(ops, each, NOW_S, asked, did)
        model = [(each, asked, did), *model][:9]
    known = {each: (asked, did) for each, asked, did in model}
    for each in [*ids, bytes(8)]:
        assert recall(ops, each, NOW_S) == known.get(each)


def test_keys_that_differ_in_one_character_have_different_ids() -> None:
    ids = [operation_id(key) for key in (b"a", b"b", b"aa", b"A", b"a" * 128, b"a" * 127)]
    assert {len(each) for each in ids} == {8}
    assert all(a != b for a, b in pairwise(sorted(ids)))


def test_what_a_row_remembers_can_be_counted_and_looked_up_whatever_its_age() -> None:
    ops = b""
    for n in range(KEPT + 3):
        ops = remember(ops, b"%08d" % n, 1000 + n, 0x11, 0x10)
        assert (newest(ops), remembered(ops)) == (b"%08d" % n, min(n + 1, KEPT))
    assert [recalls(ops, b"%08d" % n) for n in range(KEPT + 3)] == [False] * 3 + [True] * KEPT
    assert not recalls(ops, ops[7:15]), "the same bytes across two records are no match"
    assert not recalls(b"", b"%08d" % 0)
