"""Every call as data: what is sent, and how its answer is read. Knows no connection."""

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from plaudit.client.errors import PlauditError
from plaudit.client.models import (
    Catalogue,
    Counts,
    Job,
    Profile,
    Reacted,
    Reactor,
    Registration,
    Tap,
    Target,
)

T = TypeVar("T")
Read = Callable[[Any, Mapping[str, str]], T]
"""Makes the result from the decoded answer and its headers."""

# What the service takes for an id of a target.
_ID = re.compile(r"[\w.:@~|=-]{1,128}", re.ASCII)
_RESERVED = frozenset({"counts", "mine", "feed", "stream", ".", ".."})
MOST = 100  # targets in one call, and entries on one page
_HEADER = re.compile(r"([!-~]([ -~]*[!-~])?)?")  # RFC 9110 section 5.5, without what httpx cannot encode
REACTIONS = "/api/v1/reactions"
STREAM = f"{REACTIONS}/stream"


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and how to read its answer.

    `key` is the idempotency key of a tap, which all its repeats have, and `target` what is tapped on. `again`: the
    caller gave the key, so that an earlier call may have had it too.

    Raises `TypeError` for an id or key that is no text, and `ValueError` for a key or user that no header can hold.
    What can be sent is for the service to refuse.
    """

    method: str
    path: str
    read: Read[T]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    user: str | None = None
    key: str | None = None
    again: bool = False
    target: str | None = None

    def __post_init__(self) -> None:
        if self.target is not None:
            _text("target", self.target)
        for name, value in (("key", self.key), ("user", self.user)):
            if value is not None and not _HEADER.fullmatch(_text(name, value)):
                raise ValueError(f"{name}: not what a header can hold: {value!r}")

    @property
    def address(self) -> str:
        """Path and query. Ids stay readable, so that caches on the way see one address for one question."""
        return f"{self.path}?{urlencode(self.query, safe=',:')}" if self.query else self.path


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list, and the cursor of the next one, None for the last."""

    entries: Sequence[T]
    next_cursor: str | None


def tap(
    method: str, target: str, reaction: str | None, type_: str | None, user: str | None, key: str | None
) -> Call[Tap]:
    """`PUT` sets or removes, `POST` toggles, `DELETE` removes. `key`: of an earlier call; None: it gets its own."""
    again, key = bool(key), key or uuid.uuid4().hex

    def read(json: Any, headers: Mapping[str, str]) -> Tap:
        return Tap.read(json, replayed=headers.get("idempotency-replayed") == "true")

    if method == "DELETE":
        query = {"target_id": target}
        return Call(method, REACTIONS, read, query=query, user=user, key=key, again=again, target=target)
    body = {"target_id": target, "reaction_type": reaction}
    if type_ is not None:
        body["target_type"] = type_
    return Call(method, REACTIONS, read, body=body, user=user, key=key, again=again, target=target)


def hundreds(targets: Iterable[str]) -> Iterator[list[str]]:
    """The targets, each once, at most a hundred at a time."""
    ids = list(dict.fromkeys(targets))
    for start in range(0, len(ids), MOST):
        yield ids[start : start + MOST]


def counts(targets: Sequence[str]) -> Call[dict[str, Counts]]:
    """Counts of at most a hundred targets."""
    return Call(
        "GET",
        f"{REACTIONS}/counts",
        lambda json, _: {id_: Counts.read(each) for id_, each in json["counts"].items()},
        query={"target_ids": joined(targets)},
    )


def joined(targets: Sequence[str]) -> str:
    """The ids as a query has them. Raises `ValueError` for one that would become two, `TypeError` for no text."""
    if torn := [id_ for id_ in targets if "," in _text("targets", id_)]:
        raise ValueError(f"a target id has no comma: {torn[0]!r}")
    return ",".join(targets)


def is_id(target: str) -> bool:
    """Whether the service takes this for an id. Only a hint: it is asked all the same."""
    return bool(_ID.fullmatch(target)) and target not in _RESERVED


def culprits(targets: Iterable[str], error: Exception) -> list[str]:
    """Those of the targets because of which a call about many was refused; none where it says nothing of that."""
    if not isinstance(error, PlauditError):
        return []
    if error.code == "invalid_target_id":  # names none
        return [target for target in targets if not is_id(target)]
    return [target for target in targets if target in error.targets]


def feed(targets: Sequence[str], user: str | None) -> Call[dict[str, Target]]:
    """What is shown beside at most a hundred targets."""
    return Call(
        "POST",
        f"{REACTIONS}/feed",
        lambda json, _: {id_: Target.read(id_, each) for id_, each in json["targets"].items()},
        body={"target_ids": list(targets)},
        user=user,
    )


def mine(targets: Sequence[str], user: str | None) -> Call[dict[str, str | None]]:
    """The user's own reaction on at most a hundred targets."""
    body = {"target_ids": list(targets)}
    return Call("POST", f"{REACTIONS}/mine", lambda json, _: dict(json["reactions"]), body=body, user=user)


def reactors(target: str, reaction: str | None, cursor: str | None, limit: int) -> Call[Page[Reactor]]:
    """A page of those who reacted, newest first."""
    query = _page(limit, cursor, type=reaction)
    path = f"{REACTIONS}/{_escaped('target', target)}/reactors"

    def read(json: Any, _: object) -> Page[Reactor]:
        return Page([Reactor.read(each) for each in json["reactors"]], json["next_cursor"])

    return Call("GET", path, read, query=query)


def reacted(cursor: str | None, limit: int, user: str | None) -> Call[Page[Reacted]]:
    """A page of what the user reacted to, newest first."""

    def read(json: Any, _: object) -> Page[Reacted]:
        return Page([Reacted.read(each) for each in json["reactions"]], json["next_cursor"])

    return Call("GET", "/api/v1/me/reactions", read, query=_page(limit, cursor), user=user)


def catalogue() -> Call[Catalogue]:
    """Which reactions there are."""
    return Call("GET", "/api/v1/catalogue", lambda json, _: Catalogue.read(json))


def description(
    owner: str | EllipsisType | None,
    type_: str | EllipsisType,
    title: str | EllipsisType | None,
    closed: bool | EllipsisType,
    allowed: Sequence[str] | EllipsisType | None,
) -> dict[str, Any]:
    """The body that says of a target what is not left out."""
    if not isinstance(allowed, EllipsisType | None):
        allowed = list(allowed)
    told = {"owner_id": owner, "target_type": type_, "title": title, "closed": closed, "allowed": allowed}
    return {name: value for name, value in told.items() if value is not ...}


def register_target(target: str, body: Mapping[str, Any]) -> Call[Registration]:
    """The host app describes a target."""
    return Call(
        "PUT",
        f"/api/v1/targets/{_escaped('target', target)}",
        lambda json, _: Registration.read(json),
        body=body,
    )


def registration(target: str) -> Call[Registration]:
    """How a target is registered."""
    return Call(
        "GET", f"/api/v1/targets/{_escaped('target', target)}", lambda json, _: Registration.read(json)
    )


def delete_target(target: str) -> Call[Job]:
    """The host app deletes a target."""
    return Call("DELETE", f"/api/v1/targets/{_escaped('target', target)}", _job)


def describe_user(user: str, body: Mapping[str, Any]) -> Call[Profile]:
    """The host app describes a user."""
    return Call(
        "PUT", f"/api/v1/users/{_escaped('user', user)}", lambda json, _: Profile.read(json), body=body
    )


def erase_user(user: str) -> Call[Job]:
    """The host app erases a user."""
    return Call("DELETE", f"/api/v1/users/{_escaped('user', user)}", _job)


def job(job_id: str) -> Call[Job]:
    """How a deletion or erasure goes."""
    return Call("GET", f"/api/v1/jobs/{_escaped('job_id', job_id)}", _job)


def _job(json: Any, _: object) -> Job:
    return Job.read(json)


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"{name}: ids and keys are text, not {value!r}")


def _escaped(name: str, id_: str) -> str:
    return quote(_text(name, id_), safe="")


def _page(limit: int, cursor: str | None, **more: str | None) -> dict[str, str]:
    query = {"limit": str(limit), "cursor": cursor, **more}
    return {name: value for name, value in query.items() if value is not None}
