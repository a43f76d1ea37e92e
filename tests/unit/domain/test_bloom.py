"""Nobody who was added is denied; few others are taken for one of them; it takes the room it says."""

from hypothesis import given
from hypothesis import strategies as st

from plaudit.domain.bloom import Bloom


@given(st.lists(st.text(max_size=30)), st.integers(0, 50))
def test_nobody_who_was_added_is_denied(users: list[str], expected: int) -> None:
    bloom = Bloom(expected)
    for n, user in enumerate(users):
        bloom.add(user)
        assert all(each in bloom for each in users[: n + 1])


def test_few_strangers_are_taken_for_known() -> None:
    bloom = Bloom(10_000)
    for n in range(10_000):
        bloom.add(f"u{n}")
    assert all(f"u{n}" in bloom for n in range(10_000))
    assert sum(f"stranger{n}" in bloom for n in range(10_000)) < 200
    assert bloom.size_bytes == 12_500


def test_an_empty_one_has_nobody() -> None:
    assert "ann" not in Bloom(0)
