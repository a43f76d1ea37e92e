"""Damaged: numbers of rows that could not be read. They are left out for an hour, and then tried again: somebody may
have mended them."""

from collections.abc import Iterable

from plaudit.ports.clock import Clock

FOR_S = 3600.0


class Damaged:
    """See the module; of one table."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers: frozenset[int] = frozenset()
        self._until_s = float("-inf")

    def numbers(self) -> frozenset[int]:
        """Those to leave out now."""
        return self._numbers if self._clock.monotonic_s() < self._until_s else frozenset()

    def add(self, numbers: Iterable[int]) -> None:
        """These cannot be read either."""
        known = self.numbers()
        if not known:
            self._until_s = self._clock.monotonic_s() + FOR_S
        self._numbers = known.union(numbers)
