"""Quiet hours by the owner's wall clock."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.domain.quiet import Quiet, quiet_until
from plaudit.domain.windows import QUIET_FOR

NIGHT = Quiet(time(22), time(8))


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


@pytest.mark.parametrize(
    ("zone", "now", "until"),
    [
        ("Europe/Paris", "2026-01-10T21:59:59+01:00", None),
        ("Europe/Paris", "2026-01-10T22:00:00+01:00", "2026-01-11T08:00:00+01:00"),
        ("Europe/Paris", "2026-01-11T07:59:59+01:00", "2026-01-11T08:00:00+01:00"),
        ("Europe/Paris", "2026-01-11T08:00:00+01:00", None),
        ("Asia/Tokyo", "2026-01-10T14:00:00+00:00", "2026-01-10T23:00:00+00:00"),
        ("America/New_York", "2026-03-08T01:00:00-05:00", "2026-03-08T08:00:00-04:00"),
    ],
)
def test_a_night(zone: str, now: str, until: str | None) -> None:
    assert quiet_until(NIGHT, ZoneInfo(zone), us(now)) == (None if until is None else us(until))


def test_hours_within_a_day() -> None:
    siesta = Quiet(time(13), time(15, 30))
    assert quiet_until(siesta, UTC, us("2026-01-10T13:00:00+00:00")) == us("2026-01-10T15:30:00+00:00")
    assert quiet_until(siesta, UTC, us("2026-01-10T12:59:59+00:00")) is None


def test_no_hours_are_never_quiet() -> None:
    assert quiet_until(None, UTC, 1) is None


@given(
    start=st.times(),
    end=st.times(),
    now=st.integers(0, 2_000_000_000_000_000),
    zone=st.sampled_from(["Europe/Paris", "America/St_Johns", "Pacific/Apia", "Australia/Lord_Howe"]),
)
def test_the_end_is_ahead_and_no_further_than_a_window_is_postponed(
    start: time, end: time, now: int, zone: str
) -> None:
    until = quiet_until(Quiet(start, end), ZoneInfo(zone), now)
    if until is not None:
        assert now < until <= now + QUIET_FOR
