"""Events of commits on their way to whoever derives something from them, and what is still owed of them."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from plaudit.ports.cells import CellKey

SHARDS = 64
OWED_AT_ONCE = 1000  # debts of a shard, at most


class Events(Protocol):
    """The log of events, by cell. Events are absolute: doubled, late and reordered ones do no harm."""

    async def publish(self, key: CellKey, event: bytes) -> None:
        """Append an encoded event; returns when every replica in sync has it.

        At least once. Raises `Unavailable`: it is not there and will not be. `OutcomeUnknown`: it may be there, now or
        later; to publish it again is safe.
        """


class Debt(NamedTuple):
    """A published state that is owed: that of these users in this cell. `place` is the store's own."""

    key: CellKey
    users: tuple[str, ...]
    place: tuple[int, int, object]


class Debts(Protocol):
    """What is owed, kept where commits are kept, so that it outlives the process that owes it."""

    async def owe(self, key: CellKey, users: Iterable[str]) -> None:
        """Remember a debt; at a quorum when it returns. Raises `Unavailable` and `OutcomeUnknown`: owe it again."""

    async def owed(self, shard: int) -> list[Debt]:
        """Debts in one of the `SHARDS` shards, oldest first, at most 1,000. Raises `Unavailable`."""

    async def settle(self, debt: Debt) -> None:
        """Forget a debt. Idempotent. Raises `Unavailable` and `OutcomeUnknown`: it is paid once more, which is safe."""
