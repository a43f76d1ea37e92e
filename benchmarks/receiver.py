"""A webhook receiver for benchmarks.notify: takes every POST and writes how many there were into a file."""

import sys
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

port, chain, key, tally = int(sys.argv[1]), *map(Path, sys.argv[2:5])
count = 0


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the body, count, say 204."""
    global count
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    count += 1
    if count % 100 == 0:
        tally.write_text(str(count))
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    import asyncio

    asyncio.run(
        Server(
            app,
            address="127.0.0.1",
            port=port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.auto,
            ssl_cert=chain,
            ssl_key=key,
            websockets=False,
            log_enabled=False,
        ).serve()
    )
