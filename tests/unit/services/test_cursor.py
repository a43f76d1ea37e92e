"""Cursors come back as they were given, for their own list only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.domain.errors import Invalid
from plaudit.services.cursor import Cursors

CURSORS = Cursors(b"secret")


@given(
    st.integers(0, 2**62),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128),
)
def test_what_was_written_is_read(at: int, key: str) -> None:
    assert CURSORS.read("list", CURSORS.write("list", at, key)) == (at, key)


@given(st.text(max_size=200))
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="next_cursor"):
        CURSORS.read("list", text)


def test_a_cursor_of_an_old_secret_is_read_and_none_is_written() -> None:
    before = CURSORS.write("list", 7, "alice")
    after = Cursors(b"new", [b"secret", b"older"])
    assert after.read("list", before) == (7, "alice")
    assert after.read("list", after.write("list", 7, "alice")) == (7, "alice")
    with pytest.raises(Invalid):
        CURSORS.read("list", after.write("list", 7, "alice"))
    with pytest.raises(Invalid):
        Cursors(b"new").read("list", before)


def test_a_cursor_of_another_list_secret_or_length_is_refused() -> None:
    cursor = CURSORS.write("reactors post:1 like", 7, "alice")
    forged = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
    for context, foreign in (
        ("reactors post:1 love", cursor),
        ("reactors post:2 like", cursor),
        ("reactors post:1 like", Cursors(b"other").write("reactors post:1 like", 7, "alice")),
        ("reactors post:1 like", cursor[:-4]),
        ("reactors post:1 like", cursor + "AAAA"),
        ("reactors post:1 like", forged),
    ):
        with pytest.raises(Invalid) as refusal:
            CURSORS.read(context, foreign)
        assert (refusal.value.code, refusal.value.field) == ("invalid_cursor", "cursor")
