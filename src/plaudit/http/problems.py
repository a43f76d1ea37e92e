"""Errors as RFC 9457 problem details. `CODES` is the closed table of stable codes; docs/errors.md is made from it."""

import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from plaudit.domain.errors import (
    Conflict,
    Corrupt,
    Invalid,
    OutcomeUnknown,
    Overloaded,
    PlauditError,
    Unavailable,
)
from plaudit.http.auth import Denied

log = logging.getLogger("plaudit.http")

Headers = list[tuple[bytes, bytes]]


class Code(NamedTuple):
    """One error code: its HTTP status, and what it means to whoever gets it."""

    status: int
    title: str


CODES = {
    "invalid_json": Code(400, "The body is not JSON in UTF-8."),
    "duplicate_header": Code(400, "A header stands twice that may stand once."),
    "token_missing": Code(401, "Send a token: Authorization: Bearer <JWT>."),
    "token_invalid": Code(401, "The token is not one this server accepts."),
    "token_expired": Code(401, "The token has expired; get a new one."),
    "scope_missing": Code(403, "This call is for the host app: the token lacks the scope 'service'."),
    "target_not_granted": Code(403, "The token does not grant this target."),
    "user_erased": Code(403, "This user was erased; an erased id is never used again."),
    "not_found": Code(404, "There is nothing at this address."),
    "job_not_found": Code(404, "There is no job with this id."),
    "target_not_registered": Code(404, "This target is not registered, and for this it has to be."),
    "method_not_allowed": Code(405, "This address does not take that method."),
    "target_closed": Code(409, "The target is closed: reactions can be removed but not given."),
    "deletion_in_progress": Code(409, "The target is still being deleted; try again when the job is done."),
    "target_deleted": Code(410, "The target was deleted."),
    "body_too_large": Code(413, "A body has at most 16 KiB."),
    "unsupported_media_type": Code(415, "Send Content-Type: application/json."),
    "duplicate_field": Code(422, "A field stands twice in the body."),
    "missing_field": Code(422, "A field is missing in the body."),
    "unknown_field": Code(422, "The body has a field that this call does not know."),
    "invalid_field": Code(422, "A field has a value of the wrong kind."),
    "missing_parameter": Code(422, "A query parameter or header is missing."),
    "unknown_parameter": Code(422, "There is a query parameter that this call does not know."),
    "invalid_parameter": Code(422, "A query parameter has a value it cannot have."),
    "invalid_target_id": Code(422, "This is not a target id."),
    "invalid_user_id": Code(422, "This is not a user id."),
    "invalid_idempotency_key": Code(422, "This is not an idempotency key."),
    "invalid_cursor": Code(422, "This cursor was not given for this list."),
    "too_many_targets": Code(422, "One call takes at most 100 targets."),
    "repeated_target": Code(422, "A target stands twice in the list."),
    "unknown_reaction": Code(422, "This reaction is not in the catalogue."),
    "unknown_target_type": Code(422, "This target type is not configured."),
    "reaction_not_allowed": Code(422, "This reaction cannot be given to this target."),
    "target_type_mismatch": Code(422, "The target has another type."),
    "idempotency_key_reused": Code(422, "The key was used for another tap."),
    "rate_limited": Code(429, "Too many taps; wait for Retry-After seconds."),
    "internal": Code(500, "Something failed that should not have; the log has the details."),
    "overloaded": Code(503, "Too much is waiting. Not stored; try again after Retry-After seconds."),
    "deadline": Code(503, "It could not be stored in time. Not stored; try again."),
    "unavailable": Code(503, "A part is not available right now. Not stored; try again."),
    "outcome_unknown": Code(504, "It may or may not be stored: repeat it with the same Idempotency-Key."),
}


class RateLimited(PlauditError):
    """The user sends more than the limit; `wait_s` until the next tap is allowed."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"Slow down: the next tap is welcome in {wait_s:.1f} s.")
        self.wait_s = wait_s


class Problem(NamedTuple):
    """An answer that says what went wrong."""

    code: str
    status: int
    headers: Headers
    body: bytes


def problem(
    code: str,
    detail: str,
    *,
    field: str | None = None,
    targets: Sequence[str] = (),
    headers: Headers | None = None,
) -> Problem:
    """The problem details of one error code."""
    status, title = CODES[code]
    document: dict[str, object] = {
        "type": f"/docs#error-{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if field is not None:
        document["errors"] = [{"field": field, "message": detail}]
    if targets:
        document["target_ids"] = targets
    body = msgspec.json.encode(document)
    common: Headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    return Problem(code, status, common + (headers or []), body)


def failure_of(error: Exception, scope: Mapping[str, Any]) -> Problem:
    """The answer to whatever a call raised. What nobody foresaw goes into the log, and its caller is told no more."""
    if isinstance(error, PlauditError):
        return problem_of(error)
    log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
    return problem("internal", "The log of the server has the details.")


_CHALLENGE: Headers = [(b"www-authenticate", Denied("token_missing", "").challenge.encode())]


def problem_of(error: PlauditError) -> Problem:
    """The answer to an error that a service or this package raised."""
    match error:
        case Invalid(code=code, message=message, field=field, targets=targets):
            challenge = _CHALLENGE if code == "token_missing" else None
            return problem(code, message, field=field, targets=targets, headers=challenge)
        case Denied():
            return problem(error.code, str(error), headers=[(b"www-authenticate", error.challenge.encode())])
        case RateLimited(wait_s=wait_s):
            return problem("rate_limited", str(error), headers=_retry_after(wait_s))
        case Overloaded(code=code, retry_after_s=retry_after_s):
            return problem(code, str(error), headers=_retry_after(retry_after_s))
        case Conflict():
            return problem("deletion_in_progress", str(error), headers=_retry_after(1))
        case Unavailable():
            return problem("unavailable", CODES["unavailable"].title, headers=_retry_after(1))
        case OutcomeUnknown():
            return problem("outcome_unknown", CODES["outcome_unknown"].title, headers=_retry_after(1))
        case Corrupt(targets=targets):
            return problem("internal", CODES["internal"].title, targets=targets)
        case _:
            return problem("internal", CODES["internal"].title)


def _retry_after(seconds: float) -> Headers:
    return [(b"retry-after", str(max(1, math.ceil(seconds))).encode())]


_UNKNOWN_FIELD = re.compile(r"unknown field `([^`]*)`")
_MISSING_FIELD = re.compile(r"missing required field `([^`]*)`")
_PATH = re.compile(r"^(.*) - at `\$\.?([^`]*)`$")


def invalid_body(error: Exception) -> Invalid:
    """What msgspec found wrong with a body, as one of our codes that names the field."""
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return Invalid("invalid_json", f"The body is not valid JSON: {text}.")
    if found := _UNKNOWN_FIELD.search(text):
        return Invalid(
            "unknown_field", f"This call does not know the field {found[1]!r}.", field=found[1][:64]
        )
    if found := _MISSING_FIELD.search(text):
        return Invalid("missing_field", f"The field {found[1]!r} is missing.", field=found[1])
    if found := _PATH.match(text):
        return Invalid("invalid_field", f"{found[1]}.", field=found[2])
    return Invalid("invalid_field", f"{text}.")
