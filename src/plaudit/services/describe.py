"""Describe: what the host app tells us about its targets and users."""

import re
from functools import cache
from typing import Any
from zoneinfo import available_timezones

import msgspec
from msgspec import UNSET, UnsetType

from plaudit.domain import ids
from plaudit.domain.catalogue import DEFAULT_TYPE, Catalogue, Registration
from plaudit.domain.errors import Conflict, Invalid, OutcomeUnknown
from plaudit.domain.transfer import UserRecord
from plaudit.ports.directory import Directory, Profile
from plaudit.ports.ledger import Target
from plaudit.services.near import NearCache

MAX_TITLE = 300
MAX_NAME = 100
MAX_URL = 2000

_LOCALE = re.compile(r"[A-Za-z]{2,8}([_-][A-Za-z0-9]{1,8}){0,4}\Z")
# The characters of RFC 3986 without brackets. A browser reads a backslash as a slash: "/\" would be another site.
_AVATAR = re.compile(r"(https?://|/(?!/))[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")


class TargetDescription(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `PUT /api/v1/targets/{id}`: what is left out stays as it is registered.

    `allowed` lists reactions; null means those of the type.
    """

    owner_id: str | int | UnsetType | None = UNSET
    target_type: str | UnsetType = UNSET
    title: str | UnsetType | None = UNSET
    closed: bool | UnsetType = UNSET
    allowed: list[str] | UnsetType | None = UNSET


class UserDescription(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `PUT /api/v1/users/{id}`. `locale` is BCP 47, `time_zone` an IANA name."""

    name: str | None = None
    avatar_url: str | None = None
    locale: str | None = None
    time_zone: str | None = None


class Describe:
    """Registers targets and keeps profiles."""

    def __init__(self, directory: Directory, near: NearCache, catalogue: Catalogue) -> None:
        self._directory = directory
        self._near = near
        self._catalogue = catalogue

    async def target(self, target: str, description: TargetDescription) -> dict[str, object]:
        """Register a target; returns what is stored then. Raises `Invalid`, `Conflict` while it is deleted.

        What is left out is filled in by the commit itself: of two who each tell a part, neither undoes the other.
        """
        told: dict[str, Any] = {}
        if (type_name := description.target_type) is not UNSET:
            told["type"] = self._catalogue.target_type(type_name).name
        if (owner := description.owner_id) is not UNSET:
            told["owner"] = None if owner is None else ids.user_id(owner, "owner_id")
        if description.title is not UNSET:
            told["title"] = check_title(description.title)
        if description.closed is not UNSET:
            told["closed"] = description.closed
        if (allowed := description.allowed) is not UNSET:
            told["allowed"] = None if allowed is None else self._catalogue.mask(allowed)
        registration = Registration(**{"type": DEFAULT_TYPE, **told})
        kept = [name for name in Registration.__struct_fields__ if name not in told]
        try:
            stored = await self._directory.register(target, registration, kept)
        except OutcomeUnknown:
            self._near.forget(target)
            raise
        self._near.publish(target, stored)
        return self._as_stored(stored)

    async def registered(self, target: str) -> dict[str, object]:
        """What is stored of a target. Raises `Invalid` (`target_not_registered`)."""
        return self._as_stored(await self._directory.registered(target))

    def _as_stored(self, stored: Target) -> dict[str, object]:
        known, header = stored.registration, stored.header
        if known is None or header is None:
            raise Invalid("target_not_registered", "This target is not registered.", field="target_id")
        return {
            "owner_id": known.owner,
            "target_type": known.type,
            "title": known.title,
            "closed": known.closed,
            "allowed": None if known.allowed is None else self._catalogue.named(known.allowed),
            "version": header.seq,
        }

    async def user(self, user: str, description: UserDescription) -> dict[str, object]:
        """Store a profile; returns it as stored. Raises `Invalid`."""
        check_profile(description)
        profile = Profile(**msgspec.structs.asdict(description))
        try:
            await self._directory.put_profile(user, profile)
        except Conflict as error:
            raise Invalid("user_erased", str(error), field="user_id") from error
        return msgspec.structs.asdict(description)


def check_profile(profile: UserDescription | UserRecord) -> None:
    """Raise `Invalid` unless this may be shown as somebody's profile."""
    url = profile.avatar_url
    if url is not None and (len(url) > MAX_URL or not _AVATAR.match(url)):
        raise Invalid(
            "invalid_field", "An avatar_url is http(s)://… or a path on your site.", field="avatar_url"
        )
    if profile.locale is not None and not _LOCALE.match(profile.locale):
        raise Invalid("invalid_field", "A locale is a BCP 47 tag such as en or pt-BR.", field="locale")
    if profile.time_zone is not None and profile.time_zone not in _time_zones():
        raise Invalid("invalid_field", "A time_zone is an IANA name such as Europe/Paris.", field="time_zone")
    _text(profile.name, MAX_NAME, "name")


def check_title(title: str | None) -> str | None:
    """The title of a target. Raises `Invalid`."""
    return _text(title, MAX_TITLE, "title")


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _text(text: str | None, longest: int, field: str) -> str | None:
    if text is not None and (not text.strip() or len(text) > longest or _CONTROL.search(text)):
        raise Invalid(
            "invalid_field", f"{field} is 1-{longest} characters without control characters.", field=field
        )
    return text
