"""The calls of `/api/v1/me` about notifications: inbox, settings, devices."""

from hashlib import blake2b
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from plaudit.domain.errors import Invalid
from plaudit.http import bodies
from plaudit.http.gate import Gate
from plaudit.http.routes import Endpoint, as_json, body_of, encode, header_of, person_of, query_of, timestamp
from plaudit.services.owner import DeviceDescription, Entry, NotificationSettings, Owner, ReadMarks

INBOX = "/api/v1/me/notifications"
_marks = msgspec.json.Decoder(ReadMarks)
_settings = msgspec.json.Decoder(NotificationSettings)
_device = msgspec.json.Decoder(DeviceDescription)


class Me:
    """What belongs to the user who asks. Writes count against the user's rate."""

    def __init__(self, gate: Gate, owner: Owner) -> None:
        self._gate = gate
        self._owner = owner

    def routes(self) -> list[tuple[str, list[str], Endpoint]]:
        """Every call as (path, methods, endpoint)."""
        return [
            (INBOX, ["GET"], self.notifications),
            (f"{INBOX}/read", ["POST"], self.read_notifications),
            ("/api/v1/me/notification-settings", ["GET", "PUT"], self.notification_settings),
            ("/api/v1/me/devices", ["POST", "DELETE"], self.devices),
        ]

    async def notifications(self, request: Request) -> Response:
        """A page of the inbox; 304 where nothing has changed."""
        query = query_of(request, "cursor", "limit")
        limit = bodies.limit_of(query.get("limit"))
        page = await self._owner.notifications(await self._user(request), query.get("cursor"), limit)
        document = {
            "notifications": [_entry(entry) for entry in page.entries],
            "unread": page.unread,
            "next_cursor": page.next_cursor,
        }
        body = encode(document)
        etag = f'"{blake2b(body, digest_size=9).hexdigest()}"'
        headers = {"etag": etag, "cache-control": "private, no-cache"}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    async def read_notifications(self, request: Request) -> Response:
        """Mark messages as read."""
        user = await self._user(request)
        query_of(request)
        return as_json({"unread": await self._owner.mark_read(user, await body_of(request, _marks))})

    async def notification_settings(self, request: Request) -> Response:
        """What the user wishes, or to replace it."""
        user = await self._user(request)
        query_of(request)
        if request.method == "PUT":
            return as_json(await self._owner.put_settings(user, await body_of(request, _settings)))
        return as_json(await self._owner.settings(user))

    async def devices(self, request: Request) -> Response:
        """Register a device, or forget one."""
        user = await self._user(request)
        if request.method == "DELETE":
            device_id = query_of(request, "device_id").get("device_id")
            if not device_id:
                raise Invalid("missing_parameter", "Name the device: device_id=…", field="device_id")
            return as_json({"removed": await self._owner.remove_device(user, device_id)})
        query_of(request)
        device = await self._owner.add_device(user, await body_of(request, _device))
        registered_at = timestamp(device.registered_at)
        return as_json({"device_id": device.id, "kind": device.kind, "registered_at": registered_at})

    async def _user(self, request: Request) -> str:
        who = await self._gate.principal(header_of(request, "authorization"))
        user = self._gate.acting(who, header_of(request, "plaudit-user"))
        if request.method not in {"GET", "HEAD"}:
            self._gate.limit(who, user)
        return user


def _entry(entry: Entry) -> dict[str, Any]:
    message = entry.notification
    return {
        "id": message.id,
        "target_id": message.target,
        "target_type": message.type,
        "title": message.title,
        "text": entry.text,
        "total": message.total,
        "reactions": entry.reactions,
        "sample": [person_of(user) for user in entry.sample],
        "at": timestamp(message.at),
        "read": message.read,
    }
