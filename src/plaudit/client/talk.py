"""How a call is brought to its end: repeats, pauses and a new token, without a connection and without waiting.

`talk` is a generator that says what to do next and is told what came of it, so that the blocking and the asyncio client
share every rule. A call is repeated while its failure is temporary (no answer, 408, 425, 429, 500, 502, 503, 504) and
`Retries` allow it; a tap always with the same key. A refused token is asked for anew, once.

A tap says by its route which process it goes to best. Where that one gave no answer, or cannot store anything now, the
tap is repeated without: any process can take it.
"""

import json
import random
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from plaudit.client.calls import Call
from plaudit.client.errors import PlauditError

T = TypeVar("T")
# No answer of the service (whoever answered in its place), or a process that stores nothing now. Whatever else it says,
# it is there, and others would only get in its way.
ELSEWHERE = frozenset({None, "unavailable"})
# Refusals that say of a key that nothing of it is stored: it was looked for before, or whatever was stored is gone.
SETTLES = frozenset(
    {"target_closed", "reaction_not_allowed", "target_type_mismatch", "idempotency_key_reused"}
    | {"target_deleted", "user_erased"}
)
LONGEST_WAIT_S = 3600.0  # whatever an answer asks for
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750 section 2.1


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a call is tried, and for how long in all; 1 attempt is no retry.

    Pauses are random up to `first_s` doubled with each failure (the "full jitter" of the AWS architecture blog). What
    the service asks for with `Retry-After` comes before that, and then as much again at random: a crowd that was told
    the same second must not be back in it together.
    """

    attempts: int = 5
    first_s: float = 0.2
    longest_s: float = 5.0
    within_s: float = 30.0

    def pause_s(self, failures: int, asked_s: float) -> float:
        """How long to wait after so many failures."""
        # A stream counts on for as long as an outage lasts, and no float is that large.
        most: float = min(self.longest_s, self.first_s * 2 ** min(failures - 1, 30))
        return asked_s + random.random() * max(most, asked_s)  # noqa: S311 - jitter needs no secrecy


@dataclass(frozen=True, slots=True)
class AskToken:
    """Say which token to send, and not the one that was refused.

    Answered with the token or None, or with the exception that came instead.
    """

    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send this. Answered with an `Answer`, or with the exception that came instead: a `PlauditError` is final."""

    method: str
    address: str
    headers: dict[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


Do = AskToken | Send | Pause


def talk(
    call: Call[T], retries: Retries, now_s: Callable[[], float], *, renewable: bool, route: str | None = None
) -> Generator[Do, Any, T]:
    """Bring a call to its end. Raises `PlauditError`."""
    until_s = now_s() + retries.within_s
    stored: bool | None = False  # None from the first request here on of which nobody knows what became
    token = _given(call, (yield AskToken()), stored)
    renewed, failures = not renewable, 0
    while True:
        answer = yield Send(call.method, call.address, _headers(call, token, route), _body(call))
        try:
            return _read(call, answer)
        except PlauditError as error:
            if error.status == 401 and token is not None and not renewed:
                renewed = True
                token = _given(call, (yield AskToken(token)), stored)
                continue
            stored = error.stored if stored is False else None
            failures += 1
            if error.code in ELSEWHERE:
                route = None
            pause_s = retries.pause_s(failures, error.retry_after_s)
            readable = not isinstance(answer, Answer) or answer.status != 200
            if (
                not (error.temporary and readable)
                or failures >= retries.attempts
                or now_s() + pause_s > until_s
            ):
                error.key, error.stored = call.key, _stored(call, stored, error.code)
                raise
        yield Pause(pause_s)


def usable(token: str | None) -> str | None:
    """The token that a function gave. Raises `PlauditError` if it cannot be one, like a proxy's page of errors."""
    if token is None or _TOKEN.fullmatch(token := token.strip()):
        return token
    raise PlauditError("The function for tokens gave something else.")


def lasting(token: str) -> str:
    """The token that is given once for all. Raises `ValueError` if it cannot be one, without showing it."""
    if _TOKEN.fullmatch(token := token.strip()):
        return token
    raise ValueError("token: no bearer token looks like this one")


def base(url: str) -> str:
    """The address of the service, without a slash at its end.

    Raises `ValueError` for what is none, without showing it: it is the token where the two were mixed up.
    """
    url = url.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("url: say where the service is, with http:// or https://")
    return url


def unsendable(error: Exception) -> PlauditError:
    """For what httpx refuses to send. It shows only the type of the error, whose text may have the token in it."""
    return PlauditError(f"This cannot be sent: {type(error).__name__}", unsendable=True)


def problem(answer: Answer) -> PlauditError:
    """What a refusal says; whatever a proxy on the way says is told by its status alone."""
    told: Any = None
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        try:
            told = json.loads(answer.body)
        except ValueError:
            pass
    waits = answer.headers.get("retry-after", "")
    return PlauditError(
        _member(told, "detail", str) or f"The service answers {answer.status}.",
        code=_member(told, "code", str),
        status=answer.status,
        errors=_member(told, "errors", list) or (),
        targets=_member(told, "target_ids", list) or (),
        retry_after_s=min(LONGEST_WAIT_S, float(waits)) if waits.isascii() and waits.isdigit() else 0.0,
    )


def _given(call: Call[Any], token: str | Exception | None, stored: bool | None) -> str | None:
    """The token. Where there was none to be had it raises an error of this call: others may share the failure."""
    if not isinstance(token, Exception):
        return token
    said = str(token) if isinstance(token, PlauditError) else f"The function for tokens failed: {token!r}"
    error = PlauditError(said)
    error.key, error.stored = call.key, _stored(call, stored)
    raise error from token


def _stored(call: Call[Any], here: bool | None, code: str | None = None) -> bool | None:
    """Whether any call with this key was stored. Of an earlier one most refusals say nothing."""
    return None if call.again and code not in SETTLES else here


def _member(told: Any, name: str, kind: type[T]) -> T | None:
    found = told.get(name) if isinstance(told, dict) else None
    return found if isinstance(found, kind) else None


def _read(call: Call[T], answer: Answer | Exception) -> T:
    if isinstance(answer, PlauditError):
        raise answer
    if not isinstance(answer, Answer):
        raise PlauditError(f"The service does not answer: {answer!r}") from answer
    if not 200 <= answer.status < 300:
        raise problem(answer)
    try:
        return call.read(json.loads(answer.body), answer.headers)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlauditError("The answer is not one of this service.") from error


def _headers(call: Call[Any], token: str | None, route: str | None) -> dict[str, str]:
    headers = {
        "authorization": f"Bearer {token}" if token is not None else None,
        "content-type": "application/json" if call.body is not None else None,
        "idempotency-key": call.key,
        "plaudit-user": call.user,
        "plaudit-route": route,
    }
    return {name: value for name, value in headers.items() if value is not None}


def _body(call: Call[Any]) -> bytes | None:
    return None if call.body is None else json.dumps(call.body).encode()
