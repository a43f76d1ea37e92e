"""Leases: who of many processes does a piece of work for now."""

from typing import Protocol


class Leases(Protocol):
    """Leases of one owner. A lease saves work and is no lock: whoever was slow may find somebody else at the same
    piece, so only work that may be done twice is shared out like this.
    """

    async def claim(self, name: str, ttl_s: int) -> bool:
        """Take the lease, or go on having it, for so many seconds from now; False: somebody else has it.

        Of several that claim at once one has it. It ends by itself, so that nobody has to notice that its owner died.

        Raises `Unavailable`: nothing happened. `OutcomeUnknown`: we may have it; act as if we had not.
        """

    async def release(self, name: str) -> None:
        """Give it back, if we have it. Idempotent. Raises `Unavailable` and `OutcomeUnknown`: it ends by itself."""
