"""A clock that stands still until a test moves it."""

START_US = 1_760_000_000_000_000  # microseconds UTC


class ManualClock:
    """See `plaudit.ports.clock.Clock`. Safe to read from any thread."""

    def __init__(self, now_us: int = START_US) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        return self._now_us

    def monotonic_s(self) -> float:
        return self._now_us / 1_000_000

    def advance(self, seconds: float) -> None:
        """Let that much time pass."""
        self._now_us += round(seconds * 1_000_000)

    def step_to(self, now_us: int) -> None:
        """Set the wall clock, backwards too, as an operator or NTP may."""
        self._now_us = now_us
