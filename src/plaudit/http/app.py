"""The ASGI application: the hot calls and the stream in front, Starlette behind them, CORS around them if it is set."""

from collections.abc import Awaitable, Callable, Sequence

from starlette.middleware.cors import CORSMiddleware

from plaudit.http.bodies import Receive, Scope, Send
from plaudit.http.hot import COUNTS, TAP, CountsCall, TapCall, answer_problem, refuse_method
from plaudit.http.problems import failure_of
from plaudit.http.stream import STREAM, StreamCall

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

PREFLIGHT_MAX_AGE_S = 7200


class App:
    """Sends each request to its call, and turns what nobody foresaw into a 500 that says so."""

    def __init__(self, tap: TapCall, counts: CountsCall, stream: StreamCall, rest: Asgi) -> None:
        self._tap = tap
        self._counts = counts
        self._stream = stream
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        try:
            await self._route(scope, receive, send)
        except Exception as error:  # of what no call counts; each of those answers its own failures
            await answer_problem(send, failure_of(error, scope))

    def _route(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path, method = scope["path"], scope["method"]
        if path == TAP:
            if method in {"POST", "PUT", "DELETE"}:
                return self._tap(scope, receive, send)
            return refuse_method(scope, send, b"POST, PUT, DELETE")
        if path == COUNTS:
            if method in {"GET", "HEAD"}:
                return self._counts(scope, receive, send)
            return refuse_method(scope, send, b"GET, HEAD")
        if path == STREAM:
            if method in {"GET", "HEAD"}:
                return self._stream(scope, receive, send)
            return refuse_method(scope, send, b"GET, HEAD")
        return self._rest(scope, receive, send)


def with_cors(app: Asgi, origins: Sequence[str]) -> Asgi:
    """The app for browsers on other origins; without origins, the app as it is."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=list(origins),
        allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
        allow_headers=[
            *("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Plaudit-Route"),
            "Plaudit-User",
        ],
        expose_headers=["ETag", "Idempotency-Replayed", "Retry-After"],
        max_age=PREFLIGHT_MAX_AGE_S,
    )
