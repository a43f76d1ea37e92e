"""Background: the task that a service has of its own, while it is entered."""

import asyncio


async def ended(task: "asyncio.Task[None] | None") -> None:
    """End it where it stands, if it was begun; return when it is over. How it ended does not matter any more."""
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
