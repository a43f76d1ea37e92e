"""The lists that are derived from events: who reacted to a target, what a user reacted to."""

from collections.abc import Iterable
from typing import Protocol

from plaudit.domain.events import Committed


class Index(Protocol):
    """Takes events in, in any order and as often as they come."""

    async def apply(self, events: Iterable[Committed]) -> None:
        """Bring the lists to what these events say, where they do not say something newer already.

        Atomicity: none; each entry by itself. Idempotent and commutative: doubled, late and reordered events leave the
        same lists. A transition whose reaction before is not known takes the user off every other one.

        Raises `Unavailable`: some entries may be there; apply the same events again.
        """
