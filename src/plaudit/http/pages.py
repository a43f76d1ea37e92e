"""What operators and newcomers look at: health, metrics, the API's description, and its docs page."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from plaudit.domain.catalogue import Catalogue
from plaudit.http.openapi import docs_page, document
from plaudit.http.widget import widget_pages
from plaudit.telemetry import Metrics


def operator_pages(metrics: Metrics, ready: Callable[[], str | None]) -> list[BaseRoute]:
    """The routes that every process has. `ready` says why it should get no traffic now, or None."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        reason = ready()
        return PlainTextResponse(f"{reason or 'ready'}\n", 503 if reason else 200)

    async def metrics_page(_: Request) -> Response:
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics_page),
    ]


def pages(
    catalogue: Catalogue, metrics: Metrics, ready: Callable[[], str | None], user_claim: str
) -> list[BaseRoute]:
    """The routes of a process that serves the API. `user_claim`: which claim of a token is the user's id."""
    described = document(catalogue)
    page = docs_page(described)

    async def openapi(_: Request) -> Response:
        return JSONResponse(described)

    async def docs(_: Request) -> Response:
        return HTMLResponse(page)

    return [
        *operator_pages(metrics, ready),
        Route("/openapi.json", openapi),
        Route("/docs", docs),
        *widget_pages(user_claim),
    ]
