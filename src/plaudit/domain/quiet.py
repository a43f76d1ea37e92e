"""What an owner wishes of notifications: none at all, none of a target, none at night."""

import re
from datetime import UTC, datetime, time, timedelta, tzinfo

import msgspec

from plaudit.domain.errors import Invalid

SECOND = 1_000_000
MAX_MUTED = 100  # what fits a body

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]\Z")


class Quiet(msgspec.Struct, frozen=True):
    """Hours without messages, by the clock on the owner's wall; the end may lie on the next day."""

    start: time
    end: time


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """One owner's settings."""

    enabled: bool = True
    quiet: Quiet | None = None
    muted: tuple[str, ...] = ()


def quiet_until(quiet: Quiet | None, zone: tzinfo, now: int) -> int | None:
    """When these quiet hours end (microseconds UTC) if it is quiet now, else None.

    On a day whose clock jumps over the end they end at the moment of the jump or an hour from it, never in the past.
    """
    if quiet is None:
        return None
    here = datetime.fromtimestamp(now / SECOND, zone)
    at = here.time()
    over_midnight = quiet.end <= quiet.start
    if not (at >= quiet.start or at < quiet.end if over_midnight else quiet.start <= at < quiet.end):
        return None
    day = here.date() + timedelta(days=over_midnight and at >= quiet.start)
    end = datetime.combine(day, quiet.end, zone).astimezone(UTC)
    until = round(end.timestamp()) * SECOND
    return until if until > now else None


def clock_time(text: str) -> time:
    """`HH:MM`. Raises `Invalid` for anything else."""
    if _CLOCK.match(text):
        return time(int(text[:2]), int(text[3:]))
    raise Invalid("invalid_field", "A time of day is HH:MM, such as 22:00.", field="quiet_hours")
