"""The two hot calls as plain ASGI: the tap and the counts. Everything else goes through Starlette (`routes`).

The way of a tap starts here: headers, token (one dictionary lookup once it is known), rate limit, body, then
`React.tap`, whose answer comes back when the tap is on disk.
"""

from array import array
from collections.abc import Sequence
from hashlib import blake2b
from time import perf_counter

import msgspec

from plaudit.domain import ids
from plaudit.domain.cell import Verb
from plaudit.domain.errors import Invalid
from plaudit.domain.principal import Principal
from plaudit.http.bodies import (
    Patience,
    Receive,
    Scope,
    Send,
    decode,
    once,
    parameters,
    raw_ids,
    refuse_doubled,
    split_ids,
)
from plaudit.http.gate import Gate
from plaudit.http.problems import Headers, Problem, failure_of, problem
from plaudit.services.near import NearCache, Shown
from plaudit.services.react import React, Reacted
from plaudit.services.read import Read
from plaudit.telemetry import Metrics

TAP = "/api/v1/reactions"
COUNTS = "/api/v1/reactions/counts"


class Toggle(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /api/v1/reactions`."""

    target_id: str | int
    reaction_type: str
    target_type: str | msgspec.UnsetType = msgspec.UNSET


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `PUT /api/v1/reactions`: this reaction, or null for none."""

    target_id: str | int
    reaction_type: str | None
    target_type: str | msgspec.UnsetType = msgspec.UNSET


_DECODERS: dict[str, tuple[Verb, msgspec.json.Decoder[Toggle | Wish]]] = {
    "POST": (Verb.TOGGLE, msgspec.json.Decoder(Toggle)),
    "PUT": (Verb.SET, msgspec.json.Decoder(Wish)),
}


class TapCall:
    """`POST`, `PUT` and `DELETE /api/v1/reactions`."""

    def __init__(self, gate: Gate, react: React, metrics: Metrics) -> None:
        self._gate = gate
        self._react = react
        self._metrics = metrics
        self._patience = Patience()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one tap."""
        started = perf_counter()
        try:
            reacted, target = await self._tap(scope, receive)
            body = _tap_body(target, reacted)
        except Exception as error:
            failure = failure_of(error, scope)
            self._metrics.tap(failure.code)
            await answer_problem(send, failure)
            self._metrics.answered("tap", failure.status, perf_counter() - started)
            return
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        if reacted.replayed:
            headers.append((b"idempotency-replayed", b"true"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
        self._metrics.tap(reacted.outcome)
        self._metrics.answered("tap", 200, perf_counter() - started)

    async def _tap(self, scope: Scope, receive: Receive) -> tuple[Reacted, str]:
        authorization = key = user_header = content_type = length = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = once(authorization, name, value)
            elif name == b"idempotency-key":
                key = ids.idempotency_key(once(key, name, value))
            elif name == b"content-type":
                content_type = once(content_type, name, value)
            elif name == b"content-length":
                length = value
            elif name == b"plaudit-user":
                user_header = once(user_header, name, value)
        who = self._gate.cached(authorization) if authorization is not None else None
        if who is None:
            who = await self._gate.principal(authorization)
        user = self._gate.acting(who, user_header)
        self._gate.limit(who, user)
        method = scope["method"]
        if method == "DELETE":
            query = parameters(scope["query_string"], ("target_id",))
            if "target_id" not in query:
                raise Invalid("missing_parameter", "Name the target: ?target_id=a.", field="target_id")
            target = ids.target_id(query["target_id"])
            reacted = await self._react.tap(who, user, target, Verb.SET, None, key, None)
            return reacted, target
        if scope["query_string"]:
            parameters(scope["query_string"], ())
        verb, decoder = _DECODERS[method]
        body = await self._patience.read(receive, content_type, length)
        wish: Toggle | Wish = decode(decoder, body)
        target_type = None if wish.target_type is msgspec.UNSET else wish.target_type
        _refuse_doubled(body, wish, target_type)
        target = ids.target_id(wish.target_id)
        reacted = await self._react.tap(who, user, target, verb, wish.reaction_type, key, target_type)
        return reacted, target


def _refuse_doubled(body: bytes, wish: Toggle | Wish, target_type: str | None) -> None:
    """The decoder takes the last of two equal keys. More quotes than the fields need give them away (or escapes)."""
    quotes = 4 if target_type is None else 8
    quotes += 2 * isinstance(wish.target_id, str) + 2 * isinstance(wish.reaction_type, str)
    if body.count(b'"') != quotes or b"\\" in body:
        refuse_doubled(body)


def _tap_body(target: str, reacted: Reacted) -> bytes:
    """The answer; target ids and reaction names have no character that JSON would escape."""
    return b'{"target_id":"%b","reaction":%b,"previous":%b,"outcome":"%b","counts":%b,"route":"%b"}' % (
        target.encode(),
        _name(reacted.reaction),
        _name(reacted.previous),
        reacted.outcome.encode(),
        reacted.shown.counts,
        reacted.route.encode(),
    )


def _name(reaction: str | None) -> bytes:
    return b"null" if reaction is None else b'"%b"' % reaction.encode()


class CountsCall:
    """`GET /api/v1/reactions/counts`."""

    def __init__(self, gate: Gate, near: NearCache, read: Read, metrics: Metrics) -> None:
        self._gate = gate
        self._near = near
        self._read = read
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request for counts."""
        started = perf_counter()
        try:
            status, headers, body = await self._answer(scope)
        except Exception as error:
            _, status, headers, body = failure_of(error, scope)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
        self._metrics.answered("counts", status, perf_counter() - started)

    async def _answer(self, scope: Scope) -> tuple[int, Headers, bytes]:
        authorization = known_etag = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = once(authorization, name, value)
            elif name == b"if-none-match":
                known_etag = value
        # Before anything is read: who is let past a limit for those without a token has to have a good one.
        who = await self._gate.maybe(authorization) if authorization is not None else None
        found, public = self._cached(scope["query_string"])
        if found is None:
            found, public = await self._load(scope["query_string"], who)
        members = b",".join([shown.member for shown in found])
        degraded = self._near.degraded()
        body = b'{"counts":{%b},"degraded":%b}' % (members, b"true" if degraded else b"false")
        etag = self._etag(found, degraded=degraded)
        status = 200
        if known_etag is not None and (etag in known_etag or known_etag == b"*"):
            status, body = 304, b""
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"etag", etag),
            (b"cache-control", b"public, max-age=1" if public else b"private, max-age=1"),
        ]
        if not public:
            headers.append((b"vary", b"authorization"))
        if status == 304:
            del headers[:2]
        if scope["method"] == "HEAD":
            body = b""
        return status, headers, body

    def _etag(self, found: Sequence[Shown], *, degraded: bool) -> bytes:
        """A tag of the versions, the catalogue and `degraded`, which say what the body is; a digest of the body costs
        five times as much."""
        versions = array("Q", [degraded, *[shown.seq for shown in found]])
        digest = blake2b(versions, digest_size=9, key=self._near.fingerprint)
        return b'"%b"' % digest.hexdigest().encode()

    def _cached(self, query: bytes) -> tuple[list[Shown] | None, bool]:
        """The targets, if the query is nothing but ids and all of them are in the near cache and public."""
        asked = raw_ids(query)
        if asked is None or len(asked) > 100 or len(set(asked)) != len(asked):
            return None, False
        found = self._near.all(asked)
        if found is None or not all(shown.public for shown in found):
            return None, False
        return found, True

    async def _load(self, query: bytes, who: Principal | None) -> tuple[list[Shown], bool]:
        wanted = split_ids(parameters(query, ("target_ids",)).get("target_ids"))
        shown = await self._near.load(wanted)
        if all(one.public for one in shown.values()):
            return list(shown.values()), True
        return list((await self._read.targets(who, wanted)).values()), False


async def answer_problem(send: Send, failure: Problem) -> None:
    """Send a problem."""
    await send({"type": "http.response.start", "status": failure.status, "headers": failure.headers})
    await send({"type": "http.response.body", "body": failure.body, "more_body": False})


async def refuse_method(scope: Scope, send: Send, allow: bytes) -> None:
    """Answer 405 with the methods that are allowed."""
    detail = f"{scope['method']} is not for this address; it takes {allow.decode()}."
    await answer_problem(send, problem("method_not_allowed", detail, headers=[(b"allow", allow)]))
