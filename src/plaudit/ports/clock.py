"""Time as a port, so that tests own it."""

from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now_us(self) -> int:
        """Wall-clock time in microseconds UTC. May step; nothing but `max(now, last + 1)` relies on it."""

    def monotonic_s(self) -> float:
        """Seconds that never go back, for deadlines and rates."""


class StoreClock(Protocol):
    """The clock of a store that many processes write."""

    async def now_us(self) -> int:
        """The store's wall clock in microseconds UTC, at some moment during the call. Raises `Unavailable`."""
