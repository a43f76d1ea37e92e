"""Messages to owners: the inbox, who wants what, where pushes go, and the pushes under way.

All methods raise `Unavailable` (nothing happened) and, where they write, `OutcomeUnknown`; writes are durable when they
return. Times are microseconds UTC.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from plaudit.domain.quiet import Wishes
from plaudit.domain.watch import Watch

_NOTHING: Mapping[str, Watch] = {}

DeviceKind = Literal["fcm", "apns", "webpush"]
Channel = Literal["fcm", "apns", "webpush", "webhook", "console"]


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One message: `total` people reacted, `split` by reaction code, and a `sample` of them as (user, code), newest
    first. `id` is its collapse id."""

    id: str
    owner: str
    at: int
    target: str
    type: str
    title: str | None
    total: int
    split: dict[int, int]
    sample: tuple[tuple[str, int], ...]
    read: bool = False


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """Where pushes of a user go: a provider's token (for `webpush` the endpoint), and what the kind needs besides."""

    id: str
    owner: str
    kind: DeviceKind
    token: str
    more: dict[str, str] = {}
    registered_at: int = 0
    suspect: int = 0


class Address(msgspec.Struct, frozen=True):
    """One push to be made: which message, over which channel, to which device ('' where the channel has none)."""

    message: str
    channel: Channel
    device: str = ""


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """A push under way. `due` is None for a dead letter; `reason` is what came of the last try."""

    no: int
    channel: Channel
    notification: Notification
    device: Device | None
    created_at: int
    due: int | None
    tries: int
    reason: str


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a try. `due`: try again then. `dead`: keep it as a dead letter. Neither: it is done with.

    `reason` is why, "" if no try was made: then the parcel goes back with its tries and its reason as they were.
    `device`: what becomes of the device. `gone_at` narrows `gone` to a device that was not registered after it.
    """

    parcel: Parcel
    reason: str
    due: int | None = None
    dead: bool = False
    device: Literal["keep", "gone", "suspect", "fine"] = "keep"
    gone_at: int | None = None


class Inbox(Protocol):
    """What owners were told."""

    async def put(
        self,
        messages: Sequence[Notification],
        addresses: Sequence[Address],
        now: int,
        after: Mapping[str, Watch] = _NOTHING,
    ) -> None:
        """Store messages with the pushes that are to be made of them. Where it raises some may be there: do it again.

        `after`: their watches, by target, as the messages leave them. Where watches may be lost each is kept for
        `plaudit.ports.batches.Told` if its message is there, and only then; in place of an earlier one.

        Idempotent by id: a message that is there takes the new content and keeps its time and its read mark; a push
        that is there stays as it is, and one that is done with need not be made again. An erased owner's are left out,
        and of each owner only the newest 500 stay.
        """

    async def page(self, owner: str, before: tuple[int, str] | None, limit: int) -> list[Notification]:
        """An owner's messages, newest first (`at`, then id, descending), after the place `before`. Erased users are in
        no sample."""

    async def unread(self, owner: str, most: int) -> int:
        """How many messages have no read mark, counted up to `most`."""

    async def mark_read(self, owner: str, ids: Sequence[str], up_to: str | None) -> int:
        """Mark these, and all that are not newer than `up_to`; returns how many were not marked yet."""


class Audience(Protocol):
    """What owners wish, and where they are reached."""

    async def wishes(self, owners: Sequence[str]) -> dict[str, Wishes]:
        """Of those who have said something; one read however many owners."""

    async def put_wishes(self, owner: str, wishes: Wishes) -> None:
        """Replace them. Raises `Conflict` for an erased user."""

    async def devices(self, owners: Sequence[str]) -> dict[str, list[Device]]:
        """Of those who have any; one read however many owners."""

    async def put_device(self, device: Device) -> None:
        """Register it, or again: it is its owner's now, whoever's it was, and not suspect. Of a user only the newest 20
        stay. Raises `Conflict` for an erased user."""

    async def remove_device(self, owner: str, device_id: str) -> bool:
        """Forget it, and have the pushes to it never made; whether it was there and theirs."""


class Deliveries(Protocol):
    """Pushes under way, and dead letters."""

    async def claim(self, channel: Channel, now: int, lease_s: float, limit: int) -> list[Parcel]:
        """Up to `limit` pushes that are due, the oldest first, for the caller alone for `lease_s`, until it settles
        them or dies. Without a device or message to go with they are done with. Others may be settled meanwhile."""

    async def settle(self, results: Sequence[Settled]) -> None:
        """Store what came of tries. Where it raises some may be stored; the rest comes up again when its lease ends."""

    async def dead(self, after: int, limit: int) -> list[Parcel]:
        """Dead letters with a number above `after`, the oldest first."""

    async def resend(self, numbers: Sequence[int] | None, now: int) -> int:
        """Make these dead letters (None: all of them) due again with fresh tries; returns how many."""

    async def waiting(self) -> Mapping[str, int]:
        """How many pushes are under way in each channel, and under `dead` how many dead letters there are. Where many
        processes deliver, each answers for a part, and the parts add up."""
