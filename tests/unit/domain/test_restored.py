"""Versions of restored files: above everything that any file before could have shown."""

from hypothesis import given
from hypothesis import strategies as st

from plaudit.domain.restored import floor_at

NOW = 1_760_000_000_000_000
IN_2241 = 8_551_000_000_000_000


@given(st.integers(NOW, IN_2241), st.integers(1, 10**7), st.integers(0, 10**6))
def test_a_later_restore_is_above_whatever_was_committed_since(now: int, later_s: int, per_s: int) -> None:
    assert floor_at(now) + later_s * per_s < floor_at(now + later_s * 1_000_000) < 2**53
