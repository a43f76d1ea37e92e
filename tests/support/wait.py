"""Waiting for a state, never for a time. How long says nothing of the product: a machine may be slow, and stall."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(true: Callable[[], bool], what: str, *, within_s: float = 60.0) -> None:
    """Return as soon as `true()` is; raise `AssertionError` saying `what` was awaited after that long."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        await asyncio.sleep(0.002)


async def happens(true: Callable[[], Awaitable[bool]], what: str, *, within_s: float = 60.0) -> None:
    """The same of something that has to be asked for."""
    deadline = time.monotonic() + within_s
    while not await true():
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        await asyncio.sleep(0.05)


async def turns(doing: Awaitable[object]) -> int:
    """How many turns of the event loop something takes, to which no stall of the machine adds any: few where it waits
    for nobody, thousands where it waits for a tenth of a second. Raises what it raises."""
    task, found = asyncio.ensure_future(doing), 0
    while not task.done():
        await asyncio.sleep(0)
        found += 1
    await task
    return found
