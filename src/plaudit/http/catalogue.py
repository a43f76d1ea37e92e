"""The catalogue as clients read it: public, the same for everyone, and the same until the settings change."""

from hashlib import blake2b

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from plaudit.domain.catalogue import Catalogue
from plaudit.http import bodies
from plaudit.http.routes import timed
from plaudit.telemetry import Metrics

CATALOGUE = "/api/v1/catalogue"
MAX_AGE_S = 300


def catalogue_document(catalogue: Catalogue) -> dict[str, object]:
    """The answer: every reaction in the order of codes, and of each target type what may be given to it."""
    return {
        "reactions": [
            {"name": r.name, "emoji": r.emoji, "label": r.label, "retired": r.retired}
            for r in catalogue.reactions
        ],
        "types": {
            name: {"access": type_.access, "reactions": catalogue.given(name)}
            for name, type_ in catalogue.types.items()
        },
    }


def catalogue_call(catalogue: Catalogue, metrics: Metrics) -> list[BaseRoute]:
    """`GET /api/v1/catalogue`."""
    body = msgspec.json.encode(catalogue_document(catalogue))
    etag = f'"{blake2b(body, digest_size=9).hexdigest()}"'
    headers = {"etag": etag, "cache-control": f"public, max-age={MAX_AGE_S}"}

    async def answer(request: Request) -> Response:
        bodies.parameters(request.scope["query_string"], ())
        known = request.headers.get("if-none-match", "")
        if etag in known or known == "*":
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    answer.__name__ = "catalogue"
    return [Route(CATALOGUE, timed(answer, metrics))]
