"""The calls about notifications as a table, and the schemas of what is sent and answered there; see `calls`."""

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
    *("duplicate_header", "token_missing", "token_invalid", "token_expired", "scope_missing"),
    "invalid_user_id",
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
_TEXT: Json = {"type": "string"}
_WHOLE: Json = {"type": "integer", "minimum": 0}
_TARGET_TITLE: Json = {"type": ["string", "null"], "description": "What the host app calls the target."}
_TOTAL: Json = {**_WHOLE, "description": "How many users reacted."}
_SPLIT: Json = {
    "type": "object",
    "description": "How many with which reaction.",
    "additionalProperties": _WHOLE,
}
_SAMPLE: Json = {
    "type": "array",
    "items": schema("User"),
    "maxItems": 3,
    "description": "Some of who reacted, newest first.",
}

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


CREATED = "notification.created"


def webhooks(example: Json) -> Json:
    """What the host app's receiver is sent; see `plaudit.adapters.push.webhook`."""
    names = {
        "webhook-id": "The message: a repeat has the same, and replaces what was shown.",
        "webhook-timestamp": "When it was sent, seconds since the epoch: refuse what is minutes old.",
        "webhook-signature": "`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, one for each secret, with "
        "spaces between.",
    }
    text = {"type": "string"}
    headers = [
        {"name": name, "in": "header", "required": True, "description": about, "schema": text}
        for name, about in names.items()
    ]
    answers = {
        "2XX": "You have it.",
        "3XX": "A redirect is not followed: the message becomes a dead letter.",
        "410": "You want no more: the message becomes a dead letter.",
        "default": "Later: it is sent again for 24 hours, ever more seldom, or when `Retry-After` says. So is what you "
        "do not answer within 10 seconds.",
    }
    post = {
        "operationId": "notification_created",
        "tags": [_TAG],
        "summary": "An owner is told",
        "description": "Sent to `PLAUDIT_WEBHOOK_URL` for every message, signed as "
        "[Standard Webhooks](https://www.standardwebhooks.com) says. It may come twice, or after a later one.",
        "security": [],
        "parameters": headers,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema("NotificationCreated"), "example": example}},
        },
        "responses": {status: {"description": about} for status, about in answers.items()},
    }
    return {CREATED: {"post": post}}


def notification_schemas() -> Json:
    """Every schema of these calls by name."""
    return {**_sent(), **_answered(), "NotificationCreated": _created()}


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


def _created() -> Json:
    """The body of the webhook."""
    told = {
        "id": {"type": "string", "description": "The message, as in the inbox."},
        "user_id": {"type": "string", "description": "Who is told: the owner of the target."},
        "target_id": schema("TargetId"),
        "target_type": {**_TEXT, "description": "Its type."},
        "target_title": _TARGET_TITLE,
        "title": {"type": "string", "description": "A heading, in the owner's language."},
        "text": {"type": "string", "description": "The sentence, in the owner's language."},
        "locale": {"type": "string", "description": "That language."},
        "total": _TOTAL,
        "reactions": _SPLIT,
        "sample": _SAMPLE,
        "others": {**_WHOLE, "description": "Reactors whom the sentence does not name."},
    }
    return as_object(
        {
            "type": {"const": CREATED},
            "timestamp": schema("Time", description="When the owner was told, whenever this is sent."),
            "data": as_object(told, "The message."),
        },
        "What the webhook's receiver is sent.",
    )


def _answered() -> Json:
    return {
        "Notification": as_object(
            {
                "id": {"type": "string", "description": "The same on every channel."},
                "target_id": schema("TargetId"),
                "target_type": _TEXT,
                "title": _TARGET_TITLE,
                "text": {"type": "string", "description": "The sentence, in the user's language."},
                "total": _TOTAL,
                "reactions": _SPLIT,
                "sample": _SAMPLE,
                "at": schema("Time"),
                "read": {"type": "boolean"},
            },
            "The reactions on one target in one window, told as one message.",
        ),
        "NotificationsPage": as_object(
            {
                "notifications": {"type": "array", "items": schema("Notification")},
                "unread": {
                    **_WHOLE,
                    "maximum": MAX_UNREAD,
                    "description": "Of all pages, counted up to 100.",
                },
                "next_cursor": nullable(schema("Cursor"), "The next page, or null if this is the last one."),
            },
            "A page of the inbox, newest first.",
        ),
        "Unread": as_object(
            {"unread": {**_WHOLE, "maximum": MAX_UNREAD}}, "How many are unread now, up to 100."
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
