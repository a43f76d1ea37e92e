"""The demo page at /demo, to which / leads: its files, what it shows, and tokens for its users and nobody else.

The files are read once at start, so no request can name another one. Refuses to know how a token is signed.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from plaudit.domain.errors import Invalid
from plaudit.http.routes import as_json, body_of
from plaudit.services.demo import TARGETS, USERS
from plaudit.services.viral import Viral

TOKEN_TTL_S = 900
PAGE = "index.html"
SNIPPETS = "snippets.html"
# A file named in a comment of a page is put in its place, as text.
_QUOTED = re.compile(r"<!-- (snippets/[a-z_]+\.txt) -->")
MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
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


class Going(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /demo/viral`."""

    target: str


class Asking(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /demo/token`."""

    user: str


_asking = msgspec.json.Decoder(Asking)
_going = msgspec.json.Decoder(Going)


def demo_pages(made_at_us: int, mint: Mint, viral: Viral) -> Routes:
    """The routes of a demo that was made at `made_at_us` (microseconds UTC)."""
    found = dict(_read(files("plaudit") / "widget" / "demo"))
    found[SNIPPETS] = _quoting(found[SNIPPETS], found)
    open_ids = {target.id for target in TARGETS if not target.closed}
    shown = msgspec.json.encode(_content(made_at_us))
    names = {user.id for user in USERS}

    async def page(request: Request) -> Response:
        return _file(request, found[PAGE])

    async def snippets(request: Request) -> Response:
        return _file(request, found[SNIPPETS])

    async def go_viral(request: Request) -> Response:
        target = (await body_of(request, _going)).target
        if target not in open_ids:
            raise Invalid("not_found", f"The demo has no open target {target[:64]!r}.", field="target")
        started = viral.start(target)
        return as_json(viral.look(), 202 if started else 200)

    async def look(_: Request) -> Response:
        return as_json(viral.look())

    async def asset(request: Request) -> Response:
        return _file(request, _named(found, request.path_params["name"]))

    async def avatar(request: Request) -> Response:
        return _file(request, _named(found, "avatars/" + request.path_params["name"]))

    async def content(_: Request) -> Response:
        return Response(shown, media_type="application/json", headers={"cache-control": "no-cache"})

    async def token(request: Request) -> Response:
        user = (await body_of(request, _asking)).user
        if user not in names:
            raise Invalid("not_found", f"There is no demo user {user[:64]!r}.", field="user")
        return as_json({"token": mint(user, TOKEN_TTL_S), "expires_in": TOKEN_TTL_S})

    async def home(_: Request) -> Response:
        return RedirectResponse("/demo")

    return [
        Route("/", home),
        Route("/demo", page),
        Route("/demo/snippets", snippets),
        Route("/demo/content", content),
        Route("/demo/viral", go_viral, methods=["POST"]),
        Route("/demo/viral", look),
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
            yield f"{prefix}{entry.name}", _made(body, media_type)


def _made(body: bytes, media_type: str) -> File:
    etag = f'"{blake2b(body, digest_size=9).hexdigest()}"'
    return File(body, {**HEADERS, "content-type": media_type, "etag": etag})


def _quoting(page: File, found: Mapping[str, File]) -> File:
    """The page with the files it names."""
    text = _QUOTED.sub(lambda name: escape(found[name[1]].body.decode()), page.body.decode())
    return _made(text.encode(), page.headers["content-type"])


def _named(found: Mapping[str, File], name: str) -> File:
    if name not in found:
        raise Invalid("not_found", f"The demo page has no file {name[:64]!r}.")
    return found[name]


def _file(request: Request, file: File) -> Response:
    if file.headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=file.headers)
    return Response(file.body, headers=file.headers)


def _content(made_at_us: int) -> dict[str, Any]:
    """What the page shows: users, whether there is a bell, and targets with their texts in the order of the feed."""
    made_at_s = made_at_us // 1_000_000
    return {
        "bell": (files("plaudit") / "widget" / "plaudit-bell.js").is_file(),
        "users": [{"id": user.id, "name": user.name, "avatar_url": user.avatar_url} for user in USERS],
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
