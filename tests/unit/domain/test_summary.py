"""The sentence under a post."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.domain.summary import others, summary_text

NAMES = ["Alice", "Bob", "Cy"]


@pytest.mark.parametrize(
    ("known", "total", "text"),
    [
        (0, 0, ""),
        (3, 0, ""),
        (3, -1, ""),
        (1, 1, "Alice"),
        (2, 2, "Alice and Bob"),
        (3, 3, "Alice, Bob and Cy"),
        (3, 4, "Alice, Bob and 2 others"),
        (3, 1_234, "Alice, Bob and 1,232 others"),
        (3, 1_000_002, "Alice, Bob and 1,000,000 others"),
        # Fewer names than reactors: after a removal only the remaining ones are known.
        (0, 1, "1 person"),
        (0, 2, "2 people"),
        (0, 12_345, "12,345 people"),
        (1, 2, "Alice and 1 other"),
        (1, 3, "Alice and 2 others"),
        (2, 3, "Alice, Bob and 1 other"),
        (2, 1_002, "Alice, Bob and 1,000 others"),
        # More names than reactors: the counts are a moment newer than the names.
        (2, 1, "Alice"),
        (3, 2, "Alice and Bob"),
    ],
)
def test_the_sentence_names_three_or_two_and_counts_the_rest(known: int, total: int, text: str) -> None:
    assert summary_text(NAMES[:known], total, all_likes=False) == text
    assert summary_text(NAMES[:known], total, all_likes=True) == (f"Liked by {text}" if text else "")


def test_names_beyond_the_third_are_not_needed() -> None:
    names = ["Alice", "Bob", "Cy", "Dee"]
    assert summary_text(names, 4, all_likes=False) == "Alice, Bob and 2 others"
    assert others(names, 4) == 2


@given(st.lists(st.text("xyz", min_size=1, max_size=3), max_size=5), st.integers(0, 10**6))
def test_named_and_others_are_all_reactors(names: list[str], total: int) -> None:
    rest = others(names, total)
    assert 0 <= total - rest <= min(3, len(names))
    text = summary_text(names, total, all_likes=False)
    if total - rest:
        assert text.startswith(names[0])
    assert (f"{rest:,} other" in text) is (rest > 0 and rest < total)
