"""The widget at /widget: JavaScript modules that any page may load.

`/widget/plaudit-bar.js` sends a browser to the same name below the digest of all files. There every file may be kept
for ever, and a page whose modules come one by one never mixes two versions. Comments stay in the repository: what is
served is the code without them, and with the claim that names the user here.
"""

import gzip
import json
import re
from collections.abc import Iterator
from hashlib import blake2b
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from plaudit.domain.errors import Invalid

# What a page loads by its name alone; the rest is found from there.
ENTRIES = ("plaudit-bar.js", "plaudit-bell.js", "plaudit-client.js")
HEADERS = {
    "content-type": "text/javascript; charset=utf-8",
    "access-control-allow-origin": "*",  # modules of another origin are loaded with CORS
    "cross-origin-resource-policy": "cross-origin",
    "x-content-type-options": "nosniff",
}
FOR_EVER = "public, max-age=31536000, immutable"
ASK_FIRST = "no-cache"
ENTRY_MAX_AGE_S = 300

# Documentation comments wherever they stand, comments that fill a line, and those that end one behind code. None of
# them is inside a text of ours.
_COMMENT = re.compile(
    rb"[ \t]*/\*\*(?:(?!\*/).)*\*/|^[ \t]*//[^\n]*$|(?<=[;,{}()]) // [^\n]*$", re.DOTALL | re.MULTILINE
)
# The widget keeps users apart by what their tokens say, and only the service knows where.
_CLAIM = b"const CLAIM = %b;"
_INDENT = re.compile(rb"^\s+", re.MULTILINE)


class Module(NamedTuple):
    """One file as it is sent."""

    body: bytes
    gzipped: bytes
    etag: str


def served(source: bytes) -> bytes:
    """The module without comments, indentation and empty lines."""
    return _INDENT.sub(b"", _COMMENT.sub(b"", source))


def read_widget(user_claim: str = "sub") -> dict[str, Module]:
    """Every module by its name: `plaudit-bar.js`, `texts/de.js`."""
    return dict(_read(files("plaudit") / "widget", _CLAIM % json.dumps(user_claim).encode()))


def widget_pages(user_claim: str) -> list[BaseRoute]:
    """The routes. Raises `Invalid` for a name that no file has."""
    found = read_widget(user_claim)
    digest = blake2b(b"".join(name.encode() + one.body for name, one in sorted(found.items())), digest_size=6)
    version = digest.hexdigest()

    async def entry(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ENTRIES:
            return _module(request, found, name, ASK_FIRST)
        headers = {
            **HEADERS,
            "location": f"{version}/{name}",
            "cache-control": f"public, max-age={ENTRY_MAX_AGE_S}",
        }
        return Response(status_code=307, headers=headers)

    async def module(request: Request) -> Response:
        # A page from before an upgrade asks with the old version, and gets what there is.
        current = request.path_params["version"] == version
        return _module(request, found, request.path_params["name"], FOR_EVER if current else ASK_FIRST)

    methods = ["GET"]
    return [
        Route("/widget/{name}", entry, methods=methods),
        Route("/widget/{version}/{name:path}", module, methods=methods),
    ]


def _read(folder: Traversable, claim: bytes, prefix: str = "") -> Iterator[tuple[str, Module]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            if entry.name != "demo":  # a page of its own
                yield from _read(entry, claim, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".js"):
            body = served(entry.read_bytes()).replace(_CLAIM % b'"sub"', claim)
            etag = f'"{blake2b(body, digest_size=9).hexdigest()}"'
            yield f"{prefix}{entry.name}", Module(body, gzip.compress(body, 9, mtime=0), etag)


def _module(request: Request, found: dict[str, Module], name: str, cache: str) -> Response:
    if name not in found:
        raise Invalid("not_found", f"The widget has no file {name[:64]!r}.")
    one = found[name]
    headers = {**HEADERS, "cache-control": cache, "etag": one.etag, "vary": "accept-encoding"}
    if one.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(one.gzipped, headers={**headers, "content-encoding": "gzip"})
    return Response(one.body, headers=headers)
