"""The other components of the OpenAPI document: parameters, headers, the token."""

from plaudit.http.bodies import MAX_TARGETS
from plaudit.http.schemas import USER_ID, Json, schema

IDEMPOTENCY_KEY = r"^[!-~]{1,128}$"


def parameters() -> Json:
    """Every parameter by name."""

    def header(name: str, inner: Json, description: str, **more: object) -> Json:
        return {"name": name, "in": "header", "schema": inner, "description": description, **more}

    many = {"type": "array", "items": schema("TargetId"), "minItems": 1, "maxItems": MAX_TARGETS}
    return {
        "IdempotencyKey": header(
            "Idempotency-Key",
            {"type": "string", "pattern": IDEMPOTENCY_KEY},
            "A new one for each tap, for example a UUID; the same one when a tap is repeated. It is remembered "
            "for 24 h and that user's next 8 taps on the target, and a repeated tap is answered as the first "
            "time, with `Idempotency-Replayed`.",
        ),
        "PlauditUser": header(
            "Plaudit-User",
            {"type": "string", "pattern": USER_ID},
            "The user a token with the scope `service` acts for. Other tokens may not send it.",
        ),
        "PlauditRoute": header(
            "Plaudit-Route",
            {"type": "string"},
            "The `route` of the last answer to this user about this target, before any answer the target, for load "
            "balancers. Never needed.",
            example="post-42",
        ),
        "IfNoneMatch": header(
            "If-None-Match",
            {"type": "string"},
            "The `ETag` of the last answer: 304 if nothing has changed.",
            example='"0f3c8a5e7d1b2946ac"',
        ),
        "TargetIds": {
            "name": "target_ids",
            "in": "query",
            "required": True,
            "style": "form",
            "explode": False,
            "schema": {**many, "uniqueItems": True},
            "description": "1-100 different targets, with commas between them.",
            "example": ["post-42", "post-43"],
        },
        **_path_parameters(),
        **_list_parameters(),
    }


def _path_parameters() -> Json:
    def path(name: str, inner: Json, description: str, example: str) -> Json:
        return {
            "name": name,
            "in": "path",
            "required": True,
            "schema": inner,
            "description": description,
            "example": example,
        }

    return {
        "TargetId": path("target_id", schema("TargetId"), "The target.", "post-42"),
        "UserId": path("user_id", schema("UserId"), "The user, percent-encoded.", "alice"),
        "JobId": path("job_id", {"type": "string", "minLength": 1}, "The job.", "job_0b5d1c2f3a4e5d6c7b8a"),
    }


def _list_parameters() -> Json:
    def query(name: str, inner: Json, description: str, **more: object) -> Json:
        return {"name": name, "in": "query", "schema": inner, "description": description, **more}

    limit = {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    return {
        "OneTargetId": query(
            "target_id", schema("TargetId"), "The target.", required=True, example="post-42"
        ),
        "DeviceId": query(
            "device_id",
            {"type": "string", "pattern": r"^[A-Za-z0-9_\-]{1,64}$"},
            "The `device_id` that its registration answered.",
            required=True,
            example="0b5d1c2f3a4e5d6c7b8a0b5d1c2f3a4e",
        ),
        "ReactionFilter": query("type", schema("Reaction"), "Only those with this reaction."),
        "Cursor": query("cursor", schema("Cursor"), "`next_cursor` of the page before."),
        "Limit": query("limit", limit, "Entries on a page."),
    }


def headers() -> Json:
    """Every header of answers by name."""

    def header(description: str, inner: Json, *, always: bool = True) -> Json:
        return {"description": description, "schema": inner, "required": always}

    text = {"type": "string"}
    return {
        "ETag": header("Send it as `If-None-Match` with the next request.", text),
        "CacheControl": header("How long, and by whom, it may be kept.", text),
        "RetryAfter": header("Seconds to wait before trying again.", {"type": "integer", "minimum": 1}),
        "IdempotencyReplayed": header(
            "`true`: this key was used before, and this is the answer to that tap.",
            {"type": "string", "const": "true"},
            always=False,
        ),
        "Location": header(
            "Where the job is, seen from this address.", {"type": "string", "format": "uri-reference"}
        ),
        "Challenge": header("Which token is wanted (RFC 6750).", text),
        "ScopeChallenge": header("With `scope_missing`: the scope wanted (RFC 6750).", text, always=False),
    }


def token() -> Json:
    """The security scheme."""
    return {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A JWT with `exp`, and the user's id in `sub` (or the claim that is configured). The claim "
        "`targets` lists target ids, or prefixes ending in `*`, of types with `granted` access. A token "
        "with `service` in `scope` is the host app's own: it may name a user in `Plaudit-User`.",
    }
