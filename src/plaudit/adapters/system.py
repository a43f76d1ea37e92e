"""The operating system's clock."""

import time


class SystemClock:
    """See `plaudit.ports.clock.Clock`."""

    def now_us(self) -> int:
        """Wall-clock time in microseconds UTC."""
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()
