"""The demo page at /demo: its files, what it shows, and tokens for its users and nobody else.

The files are read once at start, so no request can name another one. Refuses to know how a token is signed.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.errors import Invalid
from plaudit.http import bodies
from plaudit.services.demo import TARGETS, USERS

TOKEN_TTL_S = 900
PAGE = "index.html"
MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}

Routes = list[BaseRoute]
Mint = Callable[[str, int], str]
"""Makes a token for this user that is good for so many seconds."""


class File(NamedTuple):
    """One file of the page."""

    body: bytes
    headers: dict[str, str]


class Asking(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /demo/token`."""

    user: str


_asking = msgspec.json.Decoder(Asking)


def demo_pages(catalogue: Catalogue, made_at_us: int, mint: Mint) -> Routes:
    """The routes of a demo that was made at `made_at_us` (microseconds UTC)."""
    found = dict(_read(files("plaudit") / "widget" / "demo"))
    shown = msgspec.json.encode(_content(catalogue, made_at_us))
    names = {user.id for user in USERS}

    async def page(request: Request) -> Response:
        return _file(request, found[PAGE])

    async def asset(request: Request) -> Response:
        return _file(request, _named(found, request.path_params["name"]))

    async def avatar(request: Request) -> Response:
        return _file(request, _named(found, "avatars/" + request.path_params["name"]))

    async def content(_: Request) -> Response:
        return Response(shown, media_type="application/json", headers={"cache-control": "no-cache"})

    async def token(request: Request) -> Response:
        body = await bodies.read_body(request.receive, request.headers.get("content-type", "").encode())
        user = bodies.decode(_asking, body).user
        if user not in names:
            raise Invalid("not_found", f"There is no demo user {user[:64]!r}.", field="user")
        document = {"token": mint(user, TOKEN_TTL_S), "expires_in": TOKEN_TTL_S}
        return Response(
            msgspec.json.encode(document),
            media_type="application/json",
            headers={"cache-control": "no-store"},
        )

    return [
        Route("/demo", page),
        Route("/demo/content", content),
        Route("/demo/token", token, methods=["POST"]),
        Route("/demo/assets/{name:path}", asset),
        Route("/demo/avatars/{name}", avatar),
    ]


def no_demo_pages() -> Routes:
    """The routes where the demo is off: they say how to switch it on."""

    async def off(_: Request) -> Response:
        raise Invalid("not_found", "The demo page is off here. `plaudit serve --demo` serves it.")

    methods = ["GET", "POST"]
    return [Route("/demo", off, methods=methods), Route("/demo/{name:path}", off, methods=methods)]


def _read(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, File]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read(entry, f"{prefix}{entry.name}/")
        elif media_type := MEDIA_TYPES.get(entry.name.rpartition(".")[2]):
            body = entry.read_bytes()
            etag = f'"{blake2b(body, digest_size=9).hexdigest()}"'
            yield f"{prefix}{entry.name}", File(body, {**HEADERS, "content-type": media_type, "etag": etag})


def _named(found: Mapping[str, File], name: str) -> File:
    if name not in found:
        raise Invalid("not_found", f"The demo page has no file {name[:64]!r}.")
    return found[name]


def _file(request: Request, file: File) -> Response:
    if file.headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=file.headers)
    return Response(file.body, headers=file.headers)


def _content(catalogue: Catalogue, made_at_us: int) -> dict[str, Any]:
    """What the page shows: users, reactions, and targets with their texts in the order of the feed."""
    made_at_s = made_at_us // 1_000_000
    return {
        "users": [{"id": user.id, "name": user.name, "avatar_url": user.avatar_url} for user in USERS],
        "reactions": [
            {"name": reaction.name, "emoji": reaction.emoji, "label": reaction.label}
            for reaction in catalogue.reactions
        ],
        "targets": [
            {
                "id": target.id,
                "type": target.type,
                "parent": target.parent,
                "author": target.author,
                "text": target.text,
                "closed": target.closed,
                "posted_at": f"{datetime.fromtimestamp(made_at_s - target.age_min * 60, UTC):%Y-%m-%dT%H:%M:%SZ}",
                "picture": target.picture and {"file": target.picture[0], "alt": target.picture[1]},
            }
            for target in TARGETS
        ],
    }
