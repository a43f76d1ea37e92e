"""What a worker answers: whether it lives, whether it works, and its metrics."""

from collections.abc import Callable

from starlette.applications import Starlette

from plaudit.http.app import Asgi
from plaudit.http.pages import operator_pages
from plaudit.telemetry import Metrics


def worker_app(metrics: Metrics, ready: Callable[[], str | None]) -> Asgi:
    """/healthz, /readyz and /metrics. `ready` says why this worker is no good at the moment, or None."""
    return Starlette(routes=operator_pages(metrics, ready))
