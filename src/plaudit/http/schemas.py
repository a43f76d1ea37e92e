"""The schemas of the OpenAPI document: what is sent and what is answered.

Bodies that clients send are derived from the structs that decode them, so their fields cannot differ; what JSON Schema
can say beyond that (which ids, which reactions) is added here. Answers are written down here and held against real
ones by tests/integration/openapi/.
"""

from functools import partial
from typing import Any, get_args

import msgspec

from plaudit.domain.catalogue import Access, Catalogue
from plaudit.domain.cell import Outcome
from plaudit.domain.ids import RESERVED_TARGETS
from plaudit.http.bodies import MAX_TARGETS
from plaudit.http.hot import Toggle, Wish
from plaudit.http.problems import CODES
from plaudit.http.routes import TargetList
from plaudit.ports.removals import JobKind, JobState
from plaudit.services.describe import MAX_NAME, MAX_TITLE, MAX_URL, TargetDescription, UserDescription

Json = dict[str, Any]

_RESERVED = "|".join(sorted(name.replace(".", r"\.") for name in RESERVED_TARGETS))
TARGET_ID = rf"^(?!(?:{_RESERVED})$)[A-Za-z0-9_.:@~|=\-]{{1,128}}$"
USER_ID = r"^(?!\.\.?$)[!#$%&()*+\-./0-9:;=?@A-Z\[\]\^_`a-z{|}~]{1,128}$"
TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$"
CURSOR = r"^[A-Za-z0-9_\-]+$"
AVATAR_URL = r"^(https?://|/(?!/))[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+$"
LOCALE = r"^[A-Za-z]{2,8}([_\-][A-Za-z0-9]{1,8}){0,4}$"
LINE = r"^(?=[\s\S]*\S)[^\u0000-\u001f\u007f\u2028\u2029]+$"  # a blank one is refused


_WHOLE_ID: Json = {"type": "integer", "description": "Stands for the text of its decimal digits."}


def ref(kind: str, name: str, **beside: object) -> Json:
    """A reference to a component; OpenAPI 3.1 lets keywords stand beside it."""
    return {"$ref": f"#/components/{kind}/{name}", **beside}


schema = partial(ref, "schemas")


def schemas(catalogue: Catalogue) -> Json:
    """Every schema by name; the words of the catalogue are its own."""
    return {**_words(catalogue), **_sent(), **_answers(catalogue), **_problem()}


def _words(catalogue: Catalogue) -> Json:
    """Ids, and the words that the catalogue decides."""
    shown = ", ".join(f"{r.emoji} `{r.name}`{' (retired)' if r.retired else ''}" for r in catalogue.reactions)
    types = ", ".join(f"`{t.name}` ({t.access})" for t in catalogue.types.values())
    return {
        "TargetId": {
            "type": "string",
            "pattern": TARGET_ID,
            "description": "What is reacted to: an id of the host app, 1-128 characters of "
            "`A-Z a-z 0-9 _ . : @ ~ | = -`.",
            "examples": ["post-42"],
        },
        "UserId": {
            "type": "string",
            "pattern": USER_ID,
            "description": "A user's id in the host app: 1-128 printable ASCII characters without space, comma, "
            "quotes, `<`, `>` and backslash.",
            "examples": ["alice"],
        },
        "Reaction": {
            "type": "string",
            "enum": [reaction.name for reaction in catalogue.reactions],
            "description": f"A reaction of the catalogue: {shown}. A retired one can be removed but not given.",
        },
        "TargetType": {
            "type": "string",
            "enum": list(catalogue.types),
            "description": f"A target type: {types}. Everyone may see an `open` one; a `granted` one takes a "
            "token that lists the target.",
        },
        "Time": {
            "type": "string",
            "format": "date-time",
            "pattern": TIME,
            "description": "RFC 3339, UTC, with microseconds.",
        },
        "Degraded": {
            "type": "boolean",
            "description": "`true` while a part is missing and the answer may lag behind; today always `false`.",
        },
        "Cursor": {
            "type": "string",
            "pattern": CURSOR,
            "description": "A place in a list, opaque. Send it as it came.",
        },
        "Route": {
            "type": "string",
            "description": "Send it back as `Plaudit-Route` with this user's next tap on this target.",
        },
    }


def _sent() -> Json:
    """The bodies of requests: the structs of the code, and what JSON Schema can say beyond their types."""
    structs = [Toggle, Wish, TargetList, TargetDescription, UserDescription]
    _, derived = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    target = {"anyOf": [schema("TargetId"), _WHOLE_ID]}
    user = {"anyOf": [schema("UserId"), _WHOLE_ID]}
    its_type = schema("TargetType", description="Only for targets nobody has registered; checked otherwise.")
    many = {"type": "array", "items": target, "minItems": 1, "maxItems": MAX_TARGETS, "uniqueItems": True}
    reactions = {"type": "array", "items": schema("Reaction")}
    refined: dict[str, Json] = {
        "Toggle": {"target_id": target, "reaction_type": schema("Reaction"), "target_type": its_type},
        "Wish": {
            "target_id": target,
            "reaction_type": nullable(schema("Reaction"), "The reaction to have, or null for none."),
            "target_type": its_type,
        },
        "TargetList": {"target_ids": many},
        "TargetDescription": {
            "owner_id": nullable(user, "The user it belongs to."),
            "target_type": schema("TargetType"),
            "title": nullable(_line(MAX_TITLE), "What notifications call it."),
            "closed": {"type": "boolean", "description": "Reactions can be removed but not given."},
            "allowed": nullable(reactions, "Reactions that may be given; null for those of its type."),
        },
        "UserDescription": {
            "name": nullable(_line(MAX_NAME), "Shown in summaries and lists; the id stands in for it."),
            "avatar_url": nullable(
                {"type": "string", "maxLength": MAX_URL, "pattern": AVATAR_URL},
                "`http(s)://…`, or a path on your site.",
            ),
            "locale": nullable({"type": "string", "pattern": LOCALE}, "A BCP 47 tag such as `pt-BR`."),
            "time_zone": nullable({"type": "string"}, "An IANA name such as `Europe/Paris`."),
        },
    }
    for name, fields in refined.items():
        refine(derived[name], fields)
    return derived


def refine(derived: Json, fields: Json) -> None:
    """Replace what the types say of each field by what we know. Raises `KeyError` for a field there is not."""
    properties = derived["properties"]
    for name, field in fields.items():
        default = {"default": properties[name]["default"]} if "default" in properties[name] else {}
        properties[name] = {**field, **default}


def _line(longest: int) -> Json:
    return {"type": "string", "minLength": 1, "maxLength": longest, "pattern": LINE}


def nullable(inner: Json, description: str = "") -> Json:
    """The schema, or null."""
    branches = inner["anyOf"] if set(inner) == {"anyOf"} else [inner]
    found: Json = {"anyOf": [*branches, {"type": "null"}]}
    return {**found, "description": description} if description else found


def as_object(properties: Json, description: str, optional: tuple[str, ...] = ()) -> Json:
    """The schema of an object with these properties and no others."""
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _answers(catalogue: Catalogue) -> Json:
    counted = schema("Counts")
    own = nullable(schema("Reaction"), "The user's own reaction, or null.")
    item = {
        "counts": counted,
        "reaction": {
            **own,
            "description": "Only with a user: their own reaction, or null. Left out while nobody can tell; then "
            "`degraded` is true.",
        },
        "summary": schema("Summary"),
        "closed": {"type": "boolean", "description": "No reaction can be given: it is closed or deleted."},
        "route": schema("Route"),
    }
    degraded = {"degraded": schema("Degraded")}
    listed = {"anyOf": [schema("Reaction"), {"type": "string", "pattern": "^reaction_[0-9]+$"}]}
    cursor = nullable(schema("Cursor"), "The next page, or null if this is the last one.")
    return {
        **_catalogue(),
        **_counting(catalogue),
        **_people(listed, cursor),
        "Tap": as_object(
            {
                "target_id": schema("TargetId"),
                "reaction": own,
                "previous": nullable(schema("Reaction"), "The reaction before this tap."),
                "outcome": {"type": "string", "enum": [outcome.name.lower() for outcome in Outcome]},
                "counts": counted,
                "route": schema("Route"),
            },
            "What a tap did. `outcome` and `previous` are of its first application, also when it is replayed.",
        ),
        "CountsAnswer": as_object({"counts": _by_target(counted), **degraded}, "Counts by target."),
        "FeedItem": as_object(item, "One target of a feed.", ("reaction",)),
        "FeedAnswer": as_object({"targets": _by_target(schema("FeedItem")), **degraded}, "A feed by target."),
        "TargetAnswer": as_object(
            {"target_id": schema("TargetId"), **item, **degraded}, "One target.", ("reaction",)
        ),
        "MineAnswer": as_object(
            {"reactions": _by_target(nullable(schema("Reaction"))), **degraded},
            "The user's own reaction by target, null for none.",
        ),
        "Reacted": as_object(
            {"target_id": schema("TargetId"), "reaction": listed, "reacted_at": schema("Time")},
            "A target that the user reacted to.",
        ),
        "ReactedPage": as_object(
            {"reactions": {"type": "array", "items": schema("Reacted")}, "next_cursor": cursor},
            "A page of what the user reacted to, newest first.",
        ),
        **_registered(listed),
    }


def _catalogue() -> Json:
    shown = {
        "name": schema("Reaction"),
        "emoji": {"type": "string"},
        "label": {"type": "string", "description": "For people, in the language of the installation."},
        "retired": {"type": "boolean", "description": "It can be removed but not given."},
    }
    access = {"type": "string", "enum": list(get_args(Access)), "description": "`granted`: needs a token."}
    given = {"type": "array", "items": schema("Reaction"), "description": "Those that may be given."}
    return {
        "CatalogueReaction": as_object(shown, "A reaction as it is shown."),
        "CatalogueType": as_object({"access": access, "reactions": given}, "A kind of target."),
        "CatalogueAnswer": as_object(
            {
                "reactions": {"type": "array", "items": schema("CatalogueReaction")},
                "types": {
                    "type": "object",
                    "propertyNames": schema("TargetType"),
                    "additionalProperties": schema("CatalogueType"),
                },
            },
            "Which reactions there are, in their order, and which may be given to targets of each type. A target may "
            "have a list of its own: its counts name those.",
        ),
    }


def _by_target(inner: Json) -> Json:
    return {"type": "object", "propertyNames": schema("TargetId"), "additionalProperties": inner}


def _counting(catalogue: Catalogue) -> Json:
    whole = {"type": "integer", "minimum": 0}
    return {
        "Counts": as_object(
            {
                "total": {**whole, "description": "Users with a reaction."},
                "reactions": {
                    "type": "object",
                    "description": "Users by reaction: every one that may be given here, and any other in use.",
                    "properties": {reaction.name: whole for reaction in catalogue.reactions},
                    "additionalProperties": False,
                },
                "version": {
                    **whole,
                    "description": "Of two counts the one with the higher version is newer.",
                },
                "lanes": {"type": "integer", "minimum": 1, "description": "Cells this target is split over."},
            },
            "How many users gave each reaction to a target.",
        ),
        "Summary": as_object(
            {
                "text": {"type": "string", "description": "The sentence, empty for nobody."},
                "sample": {"type": "array", "items": schema("User"), "maxItems": 3},
                "others": {**whole, "description": "Reactors whom the sentence does not name."},
            },
            "The sentence under a post, and what it is made of.",
        ),
    }


def _people(listed: Json, cursor: Json) -> Json:
    return {
        "User": as_object(
            {
                "id": schema("UserId"),
                "name": {"type": "string", "description": "The id where no name is known."},
                "avatar_url": {"type": ["string", "null"]},
            },
            "A user as shown to others.",
        ),
        "Reactor": as_object(
            {"user": schema("User"), "reaction": listed, "reacted_at": schema("Time")},
            "Somebody who reacted. `reacted_at` is when they first did.",
        ),
        "ReactorsPage": as_object(
            {
                "reactors": {"type": "array", "items": schema("Reactor")},
                "next_cursor": cursor,
                "total": {"type": "integer", "minimum": 0, "description": "Of all pages together."},
            },
            "A page of reactors, newest first.",
        ),
    }


def _registered(listed: Json) -> Json:
    """The answers to the host app: descriptions as stored, and jobs."""
    text = {"type": ["string", "null"]}
    return {
        "Target": as_object(
            {
                "target_id": schema("TargetId"),
                "owner_id": nullable(schema("UserId")),
                "target_type": {"type": "string", "description": "Of the catalogue, as it was then."},
                "title": text,
                "closed": {"type": "boolean"},
                "allowed": nullable({"type": "array", "items": listed}),
                "version": {"type": "integer", "minimum": 1, "description": "That of its counts."},
            },
            "A registration as stored.",
        ),
        "Profile": as_object(
            {
                "user_id": schema("UserId"),
                "name": text,
                "avatar_url": text,
                "locale": text,
                "time_zone": text,
            },
            "A profile as stored.",
        ),
        "Job": as_object(
            {
                "job_id": {"type": "string"},
                "kind": {"type": "string", "enum": list(get_args(JobKind))},
                "subject": {"type": "string", "description": "The id of the target or user."},
                "state": {"type": "string", "enum": list(get_args(JobState))},
                "created_at": schema("Time"),
                "finished_at": nullable(schema("Time")),
                "removed": {
                    "type": "object",
                    "description": "What was removed so far, by kind: `rows`, `messages`. In the cluster "
                    "profile at least so much.",
                    "additionalProperties": {"type": "integer", "minimum": 0},
                },
                "note": {
                    "type": "string",
                    "description": "What is left, and for how long; or why it failed.",
                },
            },
            "A deletion or erasure under way, and then its receipt.",
        ),
    }


def _problem() -> Json:
    fault = as_object({"field": {"type": "string"}, "message": {"type": "string"}}, "One offending input.")
    return {
        "Problem": as_object(
            {
                "type": {"type": "string", "format": "uri-reference"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string", "description": "For people; its wording may change."},
                "code": {"type": "string", "enum": list(CODES), "description": "For programs; it is stable."},
                "errors": {"type": "array", "items": fault, "description": "The offending inputs, by name."},
                "target_ids": {
                    "type": "array",
                    "items": schema("TargetId"),
                    "description": "All targets because of which a call about many was refused, or failed.",
                },
            },
            "What went wrong (RFC 9457).",
            ("errors", "target_ids"),
        )
    }
