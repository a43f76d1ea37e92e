"""All calls but the two hot ones, on Starlette."""

import functools
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Protocol, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from plaudit.domain import ids
from plaudit.domain.errors import Invalid, PlauditError
from plaudit.domain.principal import Principal
from plaudit.http import bodies
from plaudit.http.gate import Gate
from plaudit.http.problems import Problem, failure_of, problem, problem_of
from plaudit.ports.removals import Job
from plaudit.services.describe import Describe, TargetDescription, UserDescription
from plaudit.services.read import FeedItem, Read, User
from plaudit.services.remove import Remove
from plaudit.telemetry import Metrics

Endpoint = Callable[[Request], Awaitable[Response]]
T = TypeVar("T")


class TargetList(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST …/feed` and `POST …/mine`."""

    target_ids: list[str | int]


encode = msgspec.json.Encoder().encode
_target_list = msgspec.json.Decoder(TargetList)
_target = msgspec.json.Decoder(TargetDescription)
_user = msgspec.json.Decoder(UserDescription)


class Api:
    """The calls of `/api/v1` that are not hot."""

    def __init__(self, gate: Gate, read: Read, remove: Remove, describe: Describe) -> None:
        self._gate = gate
        self._read = read
        self._remove = remove
        self._describe = describe

    def routes(self) -> list[tuple[str, list[str], Endpoint]]:
        """Every call as (path, methods, endpoint)."""
        reactions = "/api/v1/reactions"
        return [
            (f"{reactions}/feed", ["GET", "POST"], self.feed),
            (f"{reactions}/mine", ["GET", "POST"], self.mine),
            (f"{reactions}/{{target_id}}", ["GET"], self.one),
            (f"{reactions}/{{target_id}}/reactors", ["GET"], self.reactors),
            ("/api/v1/me/reactions", ["GET"], self.reacted),
            ("/api/v1/targets/{target_id}", ["GET", "PUT", "DELETE"], self.target),
            # A user id may have slashes in it.
            ("/api/v1/users/{user_id:path}", ["PUT", "DELETE"], self.user),
            ("/api/v1/jobs/{job_id}", ["GET"], self.job),
        ]

    async def feed(self, request: Request) -> Response:
        """Counts, own reaction and summary of up to 100 targets."""
        wanted = await _wanted(request)
        who, user = await self._asking(request)
        feed = await self._read.feed(who, user, wanted)
        targets = {id_: _item(id_, item, own=feed.own) for id_, item in feed.items.items()}
        return as_json({"targets": targets, "degraded": feed.degraded})

    async def mine(self, request: Request) -> Response:
        """The user's own reactions on up to 100 targets."""
        wanted = await _wanted(request)
        who = await self._gate.principal(header_of(request, "authorization"))
        user = self._gate.acting(who, header_of(request, "plaudit-user"))
        mine = await self._read.mine(who, user, wanted)
        return as_json({"reactions": mine.reactions, "degraded": mine.degraded})

    async def one(self, request: Request) -> Response:
        """One target of a feed."""
        query_of(request)
        target = ids.target_id(request.path_params["target_id"])
        who, user = await self._asking(request)
        feed = await self._read.feed(who, user, [target], field="target_id")
        item = _item(target, feed.items[target], own=feed.own)
        return as_json({"target_id": target, **item, "degraded": feed.degraded})

    async def reactors(self, request: Request) -> Response:
        """A page of those who reacted to a target."""
        query = query_of(request, "type", "cursor", "limit")
        target = ids.target_id(request.path_params["target_id"])
        limit = bodies.limit_of(query.get("limit"))
        who, _ = await self._asking(request)
        page = await self._read.reactors(who, target, query.get("type"), query.get("cursor"), limit)
        reactors = [
            {"user": person_of(user), "reaction": reaction, "reacted_at": timestamp(at)}
            for user, reaction, at in page.reactors
        ]
        return as_json({"reactors": reactors, "next_cursor": page.next_cursor, "total": page.total})

    async def reacted(self, request: Request) -> Response:
        """A page of what the user reacted to."""
        query = query_of(request, "cursor", "limit")
        limit = bodies.limit_of(query.get("limit"))
        who = await self._gate.principal(header_of(request, "authorization"))
        user = self._gate.acting(who, header_of(request, "plaudit-user"))
        page = await self._read.reacted(user, query.get("cursor"), limit)
        reactions = [
            {"target_id": target, "reaction": reaction, "reacted_at": timestamp(at)}
            for target, reaction, at in page.reactions
        ]
        return as_json({"reactions": reactions, "next_cursor": page.next_cursor})

    async def target(self, request: Request) -> Response:
        """Register, show or delete a target."""
        query_of(request)
        await self._gate.service(header_of(request, "authorization"))
        target = ids.target_id(request.path_params["target_id"])
        if request.method == "DELETE":
            return _begun(request, await self._remove.delete_target(target))
        if request.method == "PUT":
            stored = await self._describe.target(target, await body_of(request, _target))
        else:
            stored = await self._describe.registered(target)
        return as_json({"target_id": target, **stored})

    async def user(self, request: Request) -> Response:
        """Describe or erase a user."""
        query_of(request)
        await self._gate.service(header_of(request, "authorization"))
        user = ids.user_id(_rest(request, "user_id", b"/api/v1/users/"))
        if request.method == "DELETE":
            return _begun(request, await self._remove.erase_user(user))
        description = await self._describe.user(user, await body_of(request, _user))
        return as_json({"user_id": user, **description})

    async def job(self, request: Request) -> Response:
        """How a deletion or erasure goes, and then its receipt."""
        query_of(request)
        await self._gate.service(header_of(request, "authorization"))
        job = await self._remove.job(request.path_params["job_id"])
        if job is None:
            raise Invalid("job_not_found", "There is no job with this id.", field="job_id")
        return _job(job)

    async def _asking(self, request: Request) -> tuple[Principal | None, str | None]:
        """Who asks and for which user, where neither is needed."""
        who = await self._gate.maybe(header_of(request, "authorization"))
        if who is None:
            return None, None
        return who, self._gate.maybe_acting(who, header_of(request, "plaudit-user"))


class Calls(Protocol):
    """A part of the API."""

    def routes(self) -> list[tuple[str, list[str], Endpoint]]:
        """Every call as (path, methods, endpoint)."""


def starlette_app(apis: Sequence[Calls], more: list[BaseRoute], metrics: Metrics) -> Starlette:
    """The Starlette application of these calls, timed and with every error as a problem."""
    own = [
        Route(path, timed(endpoint, metrics), methods=methods)
        for api in apis
        for path, methods, endpoint in api.routes()
    ]
    app = Starlette(
        routes=[*own, *more],
        exception_handlers={PlauditError: _on_error, HTTPException: _on_http_error},
    )
    app.router.redirect_slashes = False  # it would redirect to whatever Host the client sent
    return app


def timed(endpoint: Endpoint, metrics: Metrics) -> Endpoint:
    """The endpoint, counted under its name, with every error as a problem."""
    call = endpoint.__name__

    @functools.wraps(endpoint)
    async def answered(request: Request) -> Response:
        started = perf_counter()
        try:
            response = await endpoint(request)
        except Exception as error:  # here and not in `App`: Starlette would have sent its own answer by then
            response = _respond(failure_of(error, request.scope))
        metrics.answered(call, response.status_code, perf_counter() - started)
        return response

    return answered


def _respond(failure: Problem) -> Response:
    headers = {name.decode(): value.decode() for name, value in failure.headers}
    return Response(failure.body, failure.status, headers)


async def _on_error(_: Request, error: Exception) -> Response:
    return _respond(problem_of(error) if isinstance(error, PlauditError) else problem("internal", ""))


async def _on_http_error(request: Request, error: Exception) -> Response:
    """Starlette's own 404 and 405, in our words."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        detail = f"{request.method} is not for this address; it takes {allow}."
        return _respond(problem("method_not_allowed", detail, headers=[(b"allow", allow.encode())]))
    return _respond(problem("not_found", f"There is nothing at {request.url.path[:128]}; see /docs."))


async def _wanted(request: Request) -> list[str]:
    if request.method == "POST":
        query_of(request)
        return bodies.target_ids((await body_of(request, _target_list)).target_ids)
    return bodies.split_ids(query_of(request, "target_ids").get("target_ids"))


async def body_of(request: Request, decoder: msgspec.json.Decoder[T]) -> T:
    """What a request sends. Raises `Invalid`."""
    body = await bodies.read_body(request.receive, header_of(request, "content-type"))
    decoded = bodies.decode(decoder, body)
    bodies.refuse_doubled(body)
    return decoded


def query_of(request: Request, *known: str) -> dict[str, str]:
    """The parameters of a request. Raises `Invalid` for those that are not known."""
    return bodies.parameters(request.scope["query_string"], known)


def header_of(request: Request, name: str) -> bytes | None:
    """The header as it was sent. Raises `Invalid` if it stands twice."""
    return bodies.header(request.scope, name.encode())


def as_json(document: object, status: int = 200) -> Response:
    """An answer that nobody keeps."""
    return Response(encode(document), status, {"cache-control": "no-store"}, media_type="application/json")


def _item(target: str, item: FeedItem, *, own: bool) -> dict[str, Any]:
    summary = item.summary
    shown: dict[str, Any] = {"counts": msgspec.Raw(item.shown.counts)}
    if own:
        shown["reaction"] = item.reaction
    shown["summary"] = {
        "text": summary.text,
        "sample": [person_of(person) for person in summary.sample],
        "others": summary.others,
    }
    shown["closed"] = item.shown.closed
    shown["route"] = item.route
    return shown


def person_of(user: User) -> dict[str, str | None]:
    """A user as shown."""
    return {"id": user.id, "name": user.name, "avatar_url": user.avatar_url}


def _begun(request: Request, job: Job) -> Response:
    """The job, and where it is: seen from the address of this call, because a proxy may have put all under a path."""
    below = _sent_path(request).partition(b"/api/v1/")[2]
    response = _job(job, status=202)
    response.headers["location"] = "../" * below.count(b"/") + f"jobs/{job.id}"
    return response


def _sent_path(request: Request) -> bytes:
    """The path as it was sent; decoded, where a server tells nothing else."""
    path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return path


def _rest(request: Request, name: str, before: bytes) -> str:
    """The id that is the rest of the path behind `before`. A slash at its ends has to come as %2F: one too many in an
    address is nothing anywhere else, and here it would be somebody else. Raises `Invalid`."""
    id_: str = request.path_params[name]
    sent = _sent_path(request).partition(before)[2]  # nothing, where `before` is written with needless %XX
    if id_ and (not sent or sent.startswith(b"/") or sent.endswith(b"/")):
        raise Invalid("not_found", f"There is nothing at {request.url.path[:128]}; see /docs.")
    return id_


def _job(job: Job, status: int = 200) -> Response:
    document = {
        "job_id": job.id,
        "kind": job.kind,
        "subject": job.subject,
        "state": job.state,
        "created_at": timestamp(job.created_at),
        "finished_at": timestamp(job.finished_at) if job.finished_at else None,
        "removed": job.removed,
        "note": job.note,
    }
    return as_json(document, status)


def timestamp(at_us: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    seconds, microseconds = divmod(at_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{microseconds:06d}Z"
