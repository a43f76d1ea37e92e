"""Owner: what owners were told, what they wish of it, and the devices it is pushed to."""

import base64
import binascii
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

from plaudit.domain import ids
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.errors import Conflict, Invalid
from plaudit.domain.quiet import MAX_MUTED, Quiet, Wishes, clock_time
from plaudit.ports.clock import Clock
from plaudit.ports.directory import Directory, Profile
from plaudit.ports.notifications import Audience, Device, DeviceKind, Inbox, Notification
from plaudit.services.cursor import Cursors
from plaudit.services.read import User
from plaudit.services.wording import Wording

MAX_UNREAD = 100
MAX_IDS = 100
MAX_TOKEN = 4096
MAX_ENDPOINT = 2000
SAMPLE_SHOWN = 3

_FCM = re.compile(r"[A-Za-z0-9_:.~%-]{8,4096}\Z")
_APNS = re.compile(r"(?:[0-9a-fA-F]{2}){16,100}\Z")
_ENDPOINT = re.compile(r"[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+\Z")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class QuietHours(msgspec.Struct, forbid_unknown_fields=True):
    """Hours without messages: `HH:MM`, by the clock on the user's wall."""

    start: str
    end: str


class NotificationSettings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `PUT /api/v1/me/notification-settings`. What is left out has its default."""

    enabled: bool = True
    quiet_hours: QuietHours | None = None
    muted_targets: list[str | int] = []


class DeviceKeys(msgspec.Struct, forbid_unknown_fields=True):
    """The keys of a Web Push subscription, as the browser gives them (`PushSubscription.toJSON()`)."""

    p256dh: str
    auth: str


class DeviceDescription(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /api/v1/me/devices`. `keys` is for `webpush`, `environment` for `apns`."""

    kind: DeviceKind
    token: str
    keys: DeviceKeys | None = None
    environment: Literal["production", "sandbox"] | None = None


class ReadMarks(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /api/v1/me/notifications/read`: these, and all that are not newer than `up_to`."""

    ids: list[str] = []
    up_to: str | None = None


class Entry(NamedTuple):
    """A message as its owner sees it."""

    notification: Notification
    text: str
    reactions: dict[str, int]
    sample: list[User]


class Page(NamedTuple):
    """A page of the inbox. `unread` is counted up to 100."""

    entries: list[Entry]
    unread: int
    next_cursor: str | None


class Owner:
    """What users ask for as owners, each about themselves."""

    def __init__(
        self,
        inbox: Inbox,
        audience: Audience,
        directory: Directory,
        catalogue: Catalogue,
        cursors: Cursors,
        wording: Wording,
        clock: Clock,
    ) -> None:
        self._inbox = inbox
        self._audience = audience
        self._directory = directory
        self._catalogue = catalogue
        self._cursors = cursors
        self._wording = wording
        self._clock = clock

    async def notifications(self, user: str, cursor: str | None, limit: int) -> Page:
        """A page of the user's inbox, newest first, in the user's language."""
        context = f"notifications {user}"
        before = self._cursors.read(context, cursor) if cursor is not None else None
        found = await self._inbox.page(user, before, limit + 1)
        page = found[:limit]
        unread = await self._inbox.unread(user, MAX_UNREAD)
        people = {name for message in page for name, _ in message.sample[:SAMPLE_SHOWN]}
        profiles = await self._directory.profiles([user, *sorted(people - {user})])
        locale = profiles.get(user, _NOBODY).locale
        entries = [self._entry(message, profiles, locale) for message in page]
        more = len(found) > limit
        return Page(entries, unread, self._cursors.write(context, page[-1].at, page[-1].id) if more else None)

    def _entry(self, message: Notification, profiles: dict[str, Profile], locale: str | None) -> Entry:
        sample = [
            User(id_, (its := profiles.get(id_, _NOBODY)).name or id_, its.avatar_url)
            for id_, _ in message.sample[:SAMPLE_SHOWN]
        ]
        text = self._wording.words(
            locale,
            target_type=message.type,
            title=message.title,
            names=[person.name for person in sample],
            total=message.total,
            all_likes=list(message.split) == [self._catalogue.codes.get("like", 0)],
        ).body
        names = self._catalogue.names
        reactions = {names[code] or "": count for code, count in sorted(message.split.items())}
        return Entry(message, text, reactions, sample)

    async def mark_read(self, user: str, marks: ReadMarks) -> int:
        """Mark messages as read; how many are unread then. Raises `Invalid`."""
        if len(marks.ids) > MAX_IDS:
            raise Invalid("invalid_field", f"ids names at most {MAX_IDS} messages.", field="ids")
        for field, values in (
            ("ids", marks.ids),
            ("up_to", [marks.up_to] if marks.up_to is not None else []),
        ):
            _check_ids(field, values)
        if not marks.ids and marks.up_to is None:
            raise Invalid(
                "missing_field", "Name ids, or the newest message you have seen: up_to.", field="up_to"
            )
        await self._inbox.mark_read(user, marks.ids, marks.up_to)
        return await self._inbox.unread(user, MAX_UNREAD)

    async def settings(self, user: str) -> NotificationSettings:
        """What the user wishes."""
        wishes = (await self._audience.wishes([user])).get(user, Wishes())
        quiet = wishes.quiet
        return NotificationSettings(
            enabled=wishes.enabled,
            quiet_hours=QuietHours(f"{quiet.start:%H:%M}", f"{quiet.end:%H:%M}") if quiet else None,
            muted_targets=list(wishes.muted),
        )

    async def put_settings(self, user: str, settings: NotificationSettings) -> NotificationSettings:
        """Replace what the user wishes; returns it as stored. Raises `Invalid`."""
        quiet = None
        if (hours := settings.quiet_hours) is not None:
            quiet = Quiet(clock_time(hours.start), clock_time(hours.end))
            if quiet.start == quiet.end:
                raise Invalid("invalid_field", "Quiet hours end later than they start.", field="quiet_hours")
        if len(settings.muted_targets) > MAX_MUTED:
            raise Invalid("invalid_field", f"At most {MAX_MUTED} targets are muted.", field="muted_targets")
        muted = tuple(
            dict.fromkeys(ids.target_id(target, "muted_targets") for target in settings.muted_targets)
        )
        try:
            await self._audience.put_wishes(user, Wishes(enabled=settings.enabled, quiet=quiet, muted=muted))
        except Conflict as error:
            raise Invalid("user_erased", str(error)) from error
        return NotificationSettings(
            enabled=settings.enabled, quiet_hours=hours, muted_targets=list[str | int](muted)
        )

    async def add_device(self, user: str, description: DeviceDescription) -> Device:
        """Register a device, or again. Raises `Invalid`."""
        more = _checked_device(description)
        device = Device(
            id=sha256(f"{description.kind}\0{description.token}".encode()).hexdigest()[:32],
            owner=user,
            kind=description.kind,
            token=description.token,
            more=more,
            registered_at=self._clock.now_us(),
        )
        try:
            await self._audience.put_device(device)
        except Conflict as error:
            raise Invalid("user_erased", str(error)) from error
        return device

    async def remove_device(self, user: str, device_id: str) -> bool:
        """Forget a device; whether it was there. Raises `Invalid`."""
        if not _ID.match(device_id):
            raise Invalid("invalid_parameter", "Send the device_id as it came.", field="device_id")
        return await self._audience.remove_device(user, device_id)


def _check_ids(field: str, values: Iterable[str]) -> None:
    if not all(_ID.match(value) for value in values):
        raise Invalid("invalid_field", "Send the ids of notifications as they came.", field=field)


def _checked_device(device: DeviceDescription) -> dict[str, str]:
    """What is stored beside the token. Raises `Invalid` for what no provider gives out."""
    if (device.keys is not None) != (device.kind == "webpush"):
        raise Invalid("invalid_field", "keys come with webpush, and with nothing else.", field="keys")
    if device.environment is not None and device.kind != "apns":
        raise Invalid("invalid_field", "environment is for apns.", field="environment")
    if device.kind == "fcm":
        fits, more = bool(_FCM.match(device.token)), dict[str, str]()
    elif device.kind == "apns":
        fits, more = bool(_APNS.match(device.token)), {"environment": device.environment or "production"}
    else:
        fits, more = _is_endpoint(device.token), dict[str, str]()
    if not fits:
        raise Invalid("invalid_field", f"This is no {device.kind} token.", field="token")
    if device.keys is not None:
        for name, size in (("p256dh", 65), ("auth", 16)):
            more[name] = key = getattr(device.keys, name)
            if not _is_key(key, size, b"\x04" if name == "p256dh" else b""):
                raise Invalid("invalid_field", f"This is no {name} key of a subscription.", field="keys")
    return more


def _is_endpoint(url: str) -> bool:
    if len(url) > MAX_ENDPOINT or not _ENDPOINT.match(url):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and parts.username is None and port != 0


def _is_key(text: str, size: int, start: bytes) -> bool:
    try:
        key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return False
    return len(key) == size and key.startswith(start)


_NOBODY = Profile()
