"""The API as OpenAPI 3.1: puts the table of calls, the schemas and the examples together.

Guarantees that whatever the server answers to one of these calls is described: status, media type, headers, shape, and
each code that a problem can have there.
"""

import json
from http import HTTPStatus
from itertools import groupby

from plaudit import __version__
from plaudit.domain.catalogue import Catalogue
from plaudit.http import parameters
from plaudit.http.call import Answer, Call
from plaudit.http.calls import CALLS, TAGS
from plaudit.http.docs_page import docs_page
from plaudit.http.examples import Example, Story
from plaudit.http.notification_calls import notification_schemas, webhooks
from plaudit.http.problems import CODES, problem
from plaudit.http.schemas import Json, ref, schema, schemas

__all__ = ["docs_page", "document"]

ABOUT = (
    "A **tap** is a request to change a reaction, a **target** is what is reacted to, and the **catalogue** says which "
    "reactions there are.\n\n"
    "Times are RFC 3339 in UTC, ids are strings. A body is JSON of at most 16 KiB; body fields and query parameters "
    "that a call does not know are refused by name (parameters starting with `_` are ignored). Every `GET` answers "
    "`HEAD` too.\n\n"
    "Errors are problem details (RFC 9457) with a stable `code`. An address that does not exist answers `not_found`, "
    "another method `method_not_allowed`. After a 503 nothing was stored; after a 504 it may have been: repeat the "
    "call, a tap with the same `Idempotency-Key`."
)
SECURITY: dict[str, list[Json]] = {
    "user": [{"token": []}],
    "public": [{}, {"token": []}],
    "service": [{"token": ["service"]}],
    "nobody": [],
}
WAIT = frozenset(
    {"rate_limited", "overloaded", "deadline", "unavailable", "outcome_unknown", "deletion_in_progress"}
)
CHALLENGES = frozenset({"token_missing", "token_invalid", "token_expired", "scope_missing"})
HEADER_NAMES = {
    "ETag": "ETag",
    "CacheControl": "Cache-Control",
    "RetryAfter": "Retry-After",
    "IdempotencyReplayed": "Idempotency-Replayed",
    "Location": "Location",
    "Challenge": "WWW-Authenticate",
    "ScopeChallenge": "WWW-Authenticate",
}


def document(catalogue: Catalogue) -> Json:
    """The OpenAPI document of this installation."""
    story = Story(catalogue)
    examples = story.examples()
    paths: Json = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method] = _operation(call, examples.get(call.id))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Plaudit",
            "version": __version__,
            "summary": "Likes and reactions, exact and durable.",
            "description": ABOUT,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "webhooks": webhooks(story.webhook()),
        "components": {
            "schemas": {**schemas(catalogue), **notification_schemas()},
            "parameters": parameters.parameters(),
            "headers": parameters.headers(),
            "examples": {code: {"value": _problem_example(code)} for code in CODES},
            "securitySchemes": {"token": parameters.token()},
        },
    }


def _operation(call: Call, example: Example | None) -> Json:
    operation: Json = {
        "operationId": call.id,
        "tags": [call.tag],
        "summary": call.summary,
        "description": call.description,
        "security": SECURITY[call.access],
        "responses": _responses(call, example),
    }
    if call.parameters:
        operation["parameters"] = [ref("parameters", name) for name in call.parameters]
    if call.body is not None:
        content: Json = {"schema": schema(call.body)}
        if example is not None:
            content["example"] = example.body
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    return operation


def _responses(call: Call, example: Example | None) -> Json:
    responses = {str(answer.status): _answer(answer, example) for answer in call.answers}
    for status, codes in groupby(sorted(call.codes, key=_status), key=_status):
        responses[str(status)] = _problems(status, list(codes))
    return responses


def _answer(answer: Answer, example: Example | None) -> Json:
    response: Json = {"description": answer.description}
    if answer.headers:
        response["headers"] = _header_refs(*answer.headers)
    if answer.media is not None:
        content: Json = {}
        if answer.schema is not None:
            content["schema"] = schema(answer.schema)
        elif answer.media == "application/json":
            content["schema"] = {"type": "object"}
        else:
            content["schema"] = {"type": "string"}
        if answer.schema is not None and example is not None:
            content["example"] = example.answer
        response["content"] = {answer.media: content}
    return response


def _problems(status: int, codes: list[str]) -> Json:
    headers = ["CacheControl"]
    if WAIT.issuperset(codes):
        headers.append("RetryAfter")
    if CHALLENGES.issuperset(codes):
        headers.append("Challenge")
    elif not CHALLENGES.isdisjoint(codes):
        headers.append("ScopeChallenge")
    narrowed = {"status": {"const": status}, "code": {"enum": codes}}
    return {
        "description": f"{HTTPStatus(status).phrase}.\n\n"
        + "\n".join(f"- `{code}`: {CODES[code].title}" for code in codes),
        "headers": _header_refs(*headers),
        "content": {
            "application/problem+json": {
                "schema": schema("Problem", properties=narrowed),
                "examples": {code: ref("examples", code) for code in codes},
            }
        },
    }


def _status(code: str) -> int:
    return CODES[code].status


def _header_refs(*names: str) -> Json:
    return {HEADER_NAMES[name]: ref("headers", name) for name in names}


def _problem_example(code: str) -> Json:
    example: Json = json.loads(problem(code, CODES[code].title).body)
    return example
