"""Users where many processes serve: profiles, and the marks of those who were erased.

Who reads may know a mark from before: a mark is never taken back.
"""

from collections.abc import AsyncIterator, Collection
from typing import Protocol

from plaudit.ports.directory import Profile


class Profiles(Protocol):
    """How users are shown."""

    async def put(self, user: str, profile: Profile, at: int) -> None:
        """Create or replace a profile as a whole; of several the one with the latest `at` (microseconds UTC) stays.

        One whose `at` is not behind the moment at which the user was marked leaves nothing, whenever it arrives.
        Idempotent. Raises `Unavailable` and `OutcomeUnknown`.
        """

    async def get(self, users: Collection[str]) -> dict[str, Profile]:
        """The profiles that exist. Raises `Unavailable`, and `Corrupt` where one cannot be read."""

    def walk(self) -> AsyncIterator[dict[str, Profile]]:
        """Every profile, in pages. Raises as `get`, also on the way."""


class Marks(Protocol):
    """Users who were erased."""

    async def mark(self, user: str, erased_at: int | None = None) -> None:
        """Mark a user and take the profile away. Idempotent: the first mark stays.

        `erased_at` (microseconds UTC): when the user was erased elsewhere, if the mark is taken over from there.

        Once it returns, `since` of any earlier moment and every `walk_marks` begun later have the user.

        Raises `Unavailable` and `OutcomeUnknown`: the user may be marked in part; do it again.
        """

    async def marked_at(self, user: str) -> int | None:
        """When the user was marked (microseconds UTC), at the earliest; None: not at all. Raises `Unavailable`."""

    def walk_marks(self) -> AsyncIterator[dict[str, int]]:
        """Every marked user, in pages, with when they were erased (microseconds UTC), wherever that was.

        Raises `Unavailable`, also on the way.
        """

    async def since(self, at: int) -> list[str]:
        """Users marked since `at` (microseconds UTC), which is not more than a day ago; others may be among them, and
        some who are about to be marked. Raises `Unavailable`.
        """
