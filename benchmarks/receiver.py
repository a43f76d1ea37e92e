"""A webhook receiver for benchmarks.notify: takes every POST and writes how many there were into a file.

It shares the cores with what is measured, so it does as little as one can in Python.
"""

import sys
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

port, chain, key, tally = int(sys.argv[1]), *map(Path, sys.argv[2:5])
count = 0


async def app(scope: Any, protocol: Any) -> None:
    """Read the body, count, say 204."""
    global count
    await protocol()
    count += 1
    if count % 100 == 0:
        tally.write_text(str(count))
    protocol.response_empty(204, [])


if __name__ == "__main__":
    import uvloop

    uvloop.run(
        Server(
            app,
            address="127.0.0.1",
            port=port,
            interface=Interfaces.RSGI,
            http=HTTPModes.auto,
            ssl_cert=chain,
            ssl_key=key,
            websockets=False,
            log_enabled=False,
        ).serve()
    )
