"""The log of commits, for consumers that derive something from them."""

from typing import Protocol


class EventLog(Protocol):
    """Events in commit order, each with a position that only grows. At least once: a consumer that stops before it
    acknowledges sees the same events again."""

    async def read(self, consumer: str, limit: int) -> list[tuple[int, bytes]]:
        """Up to `limit` (position, encoded event) after what this consumer acknowledged, oldest first.

        What cannot be read comes as an event that nobody can decode; where many may be lost, after one `Corrupt`.
        """

    async def acknowledge(self, consumer: str, position: int) -> None:
        """This consumer is done with everything up to `position` (inclusive). Never moves back."""

    async def trim(self, limit: int) -> int:
        """Forget about `limit` events that every known consumer has acknowledged; returns how many. 0: none is left."""

    async def behind(self, consumer: str | None, end: int) -> int:
        """How many events up to the position `end` this consumer has not acknowledged; None: the known one that has
        acknowledged least. Of very many, at least so many."""

    async def end(self) -> int:
        """The position of the newest event; 0 if there never was one."""
