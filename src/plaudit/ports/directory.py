"""The directory: what the host app tells us about targets and users."""

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from plaudit.domain.catalogue import Registration
from plaudit.ports.ledger import Target


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """How a user is shown. `locale` is BCP 47, `time_zone` an IANA name; both are for notifications."""

    name: str | None = None
    avatar_url: str | None = None
    locale: str | None = None
    time_zone: str | None = None


class Directory(Protocol):
    """Registrations and profiles. Writes are durable when they return and idempotent."""

    async def register(self, target: str, registration: Registration, kept: Collection[str] = ()) -> Target:
        """Create or replace a registration, by a commit of the cell: its header takes the registered type, and a
        purged target is there again. The same registration again changes nothing.

        The fields in `kept` stay as they are at the moment of that commit (see `Registration.keeping`).

        Returns the target as it is now. Raises `Conflict` while the target is being purged; `Unavailable` and
        `OutcomeUnknown` as the ledger does.
        """

    async def registered(self, target: str) -> Target:
        """The target with every registration that was told of before the call; of a split one the header says
        everything. Raises `Unavailable` and `Corrupt`.
        """

    async def put_profile(self, user: str, profile: Profile) -> None:
        """Create or replace a profile. Raises `Conflict` for an erased user."""

    async def profiles(self, users: Sequence[str]) -> dict[str, Profile]:
        """The profiles that exist; one read however many users."""
