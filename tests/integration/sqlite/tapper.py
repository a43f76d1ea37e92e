"""A process that taps a folder until it is killed, and prints a line for every tap after it was acknowledged.

Arguments: the folder, and a prefix for the users. Prints `ready`, then lines of `user target reaction`.
"""

import asyncio
import sys
from itertools import count
from pathlib import Path

from plaudit.adapters.sqlite import database
from tests.support.clock import ManualClock
from tests.support.stores import sqlite_stores
from tests.support.taps import ALL, cell, toggle

CELLS = 5


async def tap_for_ever(folder: Path, prefix: str) -> None:
    """Every commit is one reaction that stays on each of some cells, and one that comes and goes."""
    clock = ManualClock()
    async with sqlite_stores(folder, clock) as stores:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for n in count():
            clock.advance(0.001)
            user, code = f"{prefix}-{n}", ALL[n % 6]
            targets = [f"t{(n + i) % 17}" for i in range(CELLS)]
            await stores.ledger.commit([cell(t, toggle(user, code), toggle("busy", code)) for t in targets])
            sys.stdout.write("".join(f"{user} {target} {code}\n" for target in targets))
            sys.stdout.flush()


if __name__ == "__main__":
    # Checkpoints and restarts of the log all the time, so that a kill hits them too.
    database.CHECKPOINT_EVERY_S = 0.002
    database.RESTART_AT_FRAMES = 50
    asyncio.run(tap_for_ever(Path(sys.argv[1]), sys.argv[2]))
