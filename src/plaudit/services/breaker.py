"""Breaker: a provider of pushes that does not answer is left alone for a while, and then tried with one at a time."""

TRIPS_AT = 5  # failures in a row
OPEN_S, MAX_OPEN_S = 1.0, 30.0  # the first pause, and the longest


class Breaker:
    """Whether a provider may be asked. Trips after some failures in a row; then one try at a time, ever more seldom.

    Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._failed_s = 0.0  # when the last of them was counted
        self._until_s = 0.0
        self.answers = False  # the last time it was asked

    def wait_s(self, now_s: float) -> float:
        """Seconds until it may be asked again; 0: now."""
        return max(0.0, self._until_s - now_s)

    @property
    def tripped(self) -> bool:
        """Whether only one push at a time should go out, to see whether it is back."""
        return self._failures >= TRIPS_AT

    def well(self) -> None:
        """It answered as it should."""
        self._failures, self._until_s, self.answers = 0, 0.0, True

    def unwell(self, began_s: float, now_s: float, retry_after_s: float | None) -> None:
        """It did not, and perhaps said for how long.

        Once it has tripped, what was asked before the last failure is no failure of its own: a hundred pushes may have
        been under way over a connection that broke.
        """
        counts = not self.tripped or began_s >= self._failed_s
        self.answers = False
        wait_s = retry_after_s
        if counts:
            self._failures += 1
            self._failed_s = now_s
        if wait_s is None and self.tripped and counts:
            wait_s = min(MAX_OPEN_S, OPEN_S * 2.0 ** min(10, self._failures - TRIPS_AT))
        if wait_s is not None:
            self._until_s = max(self._until_s, now_s + wait_s)
