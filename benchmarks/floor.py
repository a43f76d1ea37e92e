"""The floor: what this server could do at most. Reads the body and answers constant bytes of the same size.

Same server, same settings, same process shape as Plaudit, but no authentication, no rules and no disk.
Run as `python -m benchmarks.floor PORT`.
"""

import sys

import uvloop

from plaudit.http.bodies import Receive, Scope, Send
from plaudit.http.server import serve

COUNTS = (
    b'{"total":1,"reactions":{"like":0,"love":1,"haha":0,"wow":0,"sad":0,"angry":0},"version":1,"lanes":1}'
)
TAP = (
    b'{"target_id":"post:1234567","reaction":"love","previous":null,"outcome":"created","counts":%b,'
    b'"route":"post:1234567"}' % COUNTS
)
TWENTY = b'{"counts":{%b},"degraded":false}' % b",".join([b'"post:1234567":%b' % COUNTS] * 20)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a GET like 20 counts and anything else like a tap."""
    body = TWENTY if scope["method"] == "GET" else TAP
    await receive()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _nothing() -> None:
    """Nothing is queued here."""


if __name__ == "__main__":
    uvloop.run(serve(app, "127.0.0.1", int(sys.argv[1]), _nothing))
