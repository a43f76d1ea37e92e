"""The calls about notifications as a table, and the schemas of what is sent and answered there; see `calls`."""

from typing import Any

import msgspec

from plaudit.http.call import Answer, Call
from plaudit.http.schemas import Json, as_object, nullable, refine, schema
from plaudit.services.owner import (
    MAX_IDS,
    MAX_TOKEN,
    MAX_UNREAD,
    DeviceDescription,
    NotificationSettings,
    ReadMarks,
)

_TAG = "Notifications"
_USER = (
    *("token_missing", "token_invalid", "token_expired", "scope_missing", "invalid_user_id"),
    *("missing_parameter", "unknown_parameter", "invalid_parameter", "internal", "unavailable", "overloaded"),
)
_WRITE = (*_USER, "rate_limited", "deadline", "outcome_unknown")
_BODY = (
    *("invalid_json", "body_too_large", "unsupported_media_type", "duplicate_field"),
    *("unknown_field", "invalid_field"),
)
_SETTINGS = "/api/v1/me/notification-settings"
_DEVICES = "/api/v1/me/devices"
_COUNTED = ("ETag", "CacheControl")

NOTIFICATION_CALLS = (
    Call(
        *("notifications", "get", "/api/v1/me/notifications", _TAG, "user", "My inbox"),
        "What the user was told about reactions on their targets, newest first, in their language. Cheap to ask for "
        "often: send the `ETag` of the last answer as `If-None-Match`.",
        (
            Answer(200, "A page of the inbox.", "NotificationsPage", _COUNTED),
            Answer(304, "Nothing has changed since that `ETag`.", None, _COUNTED, None),
        ),
        (*_USER, "invalid_cursor"),
        ("Cursor", "Limit", "IfNoneMatch", "PlauditUser"),
    ),
    Call(
        *("read_notifications", "post", "/api/v1/me/notifications/read", _TAG, "user", "Mark as read"),
        "Marks the messages named in `ids`, and all that are not newer than `up_to`: so nothing that came in after "
        "the user looked is marked.",
        (Answer(200, "Marked.", "Unread"),),
        (*_WRITE, *_BODY, "missing_field"),
        ("PlauditUser",),
        "ReadMarks",
    ),
    Call(
        *("notification_settings", "get", _SETTINGS, _TAG, "user", "My notification settings"),
        "What the user wishes to be told.",
        (Answer(200, "The settings.", "NotificationSettings"),),
        _USER,
        ("PlauditUser",),
    ),
    Call(
        *("set_notification_settings", "put", _SETTINGS, _TAG, "user", "Set them"),
        "Replaces the settings; what is left out has its default. In quiet hours, which go by the time zone in the "
        "user's profile, reactions are gathered and told at their end.",
        (Answer(200, "Stored.", "NotificationSettings"),),
        (*_WRITE, *_BODY, "missing_field", "invalid_target_id", "user_erased"),
        ("PlauditUser",),
        "NotificationSettings",
    ),
    Call(
        *("add_device", "post", _DEVICES, _TAG, "user", "Register a device"),
        "Where messages are pushed to. Register it at every start of an app: tokens change. A token belongs to the "
        "user who registered it last; of a user the newest 20 stay.",
        (Answer(200, "Registered.", "Device"),),
        (*_WRITE, *_BODY, "missing_field", "user_erased"),
        ("PlauditUser",),
        "DeviceDescription",
    ),
    Call(
        *("remove_device", "delete", _DEVICES, _TAG, "user", "Forget a device"),
        "For when the user signs out. Forgetting it twice does no harm.",
        (Answer(200, "Forgotten.", "Removed"),),
        _WRITE,
        ("DeviceId", "PlauditUser"),
    ),
)


def notification_schemas() -> Json:
    """Every schema of these calls by name."""
    return {**_sent(), **_answered()}


def _sent() -> Json:
    structs = [NotificationSettings, DeviceDescription, ReadMarks]
    _, derived = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    clock = {"type": "string", "pattern": r"^([01][0-9]|2[0-3]):[0-5][0-9]$", "examples": ["22:00"]}
    message_id = {"type": "string", "pattern": r"^[A-Za-z0-9_\\-]{1,64}$"}
    target = {
        "anyOf": [schema("TargetId"), {"type": "integer", "description": "Stands for its decimal digits."}]
    }
    refined: dict[str, Json] = {
        "QuietHours": {"start": clock, "end": clock},
        "NotificationSettings": {
            "enabled": {"type": "boolean", "description": "`false`: nothing at all."},
            "quiet_hours": nullable(
                schema("QuietHours"), "Hours without messages, by the clock on the user's wall."
            ),
            "muted_targets": {
                "type": "array",
                "items": target,
                "maxItems": 100,
                "description": "Targets whose reactions are not told.",
            },
        },
        "DeviceDescription": {
            "kind": {
                "type": "string",
                "enum": ["fcm", "apns", "webpush"],
                "description": "Which service pushes to it.",
            },
            "token": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_TOKEN,
                "description": "The token of the service; for `webpush` the endpoint of the subscription.",
            },
            "keys": nullable(schema("DeviceKeys"), "For `webpush`: the keys of the subscription."),
            "environment": nullable(
                {"type": "string", "enum": ["production", "sandbox"]}, "For `apns`, `production` by default."
            ),
        },
        "ReadMarks": {
            "ids": {"type": "array", "items": message_id, "maxItems": MAX_IDS},
            "up_to": nullable(message_id, "The newest message the user has seen."),
        },
    }
    for name, fields in refined.items():
        refine(derived[name], fields)
    return derived


def _answered() -> Json:
    whole: dict[str, Any] = {"type": "integer", "minimum": 0}
    return {
        "Notification": as_object(
            {
                "id": {"type": "string", "description": "The same on every channel."},
                "target_id": schema("TargetId"),
                "target_type": {"type": "string"},
                "title": {"type": ["string", "null"], "description": "What the host app calls the target."},
                "text": {"type": "string", "description": "The sentence, in the user's language."},
                "total": {**whole, "description": "How many users reacted."},
                "reactions": {
                    "type": "object",
                    "description": "How many with which reaction.",
                    "additionalProperties": whole,
                },
                "sample": {"type": "array", "items": schema("User"), "maxItems": 3},
                "at": schema("Time"),
                "read": {"type": "boolean"},
            },
            "The reactions on one target in one window, told as one message.",
        ),
        "NotificationsPage": as_object(
            {
                "notifications": {"type": "array", "items": schema("Notification")},
                "unread": {**whole, "maximum": MAX_UNREAD, "description": "Of all pages, counted up to 100."},
                "next_cursor": nullable(schema("Cursor"), "The next page, or null if this is the last one."),
            },
            "A page of the inbox, newest first.",
        ),
        "Unread": as_object(
            {"unread": {**whole, "maximum": MAX_UNREAD}}, "How many are unread now, up to 100."
        ),
        "Device": as_object(
            {
                "device_id": {"type": "string", "description": "Send it to forget the device."},
                "kind": {"type": "string", "enum": ["fcm", "apns", "webpush"]},
                "registered_at": schema("Time"),
            },
            "A device as registered.",
        ),
        "Removed": as_object({"removed": {"type": "boolean"}}, "Whether it was there."),
    }
