"""An event loop without a clock and without sockets: when nobody can go on, time jumps to whoever waits shortest.

The same callbacks in the same order for the same seed, on every machine, as fast as Python runs.
"""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jump:
    """Stands where the loop asks the operating system for events: there are none, but time passes."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[object]:
        if timeout is None:
            raise RuntimeError("everybody waits for somebody: the simulation is stuck")
        self._loop.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """`now_s` is the time, from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._selector = _Jump(self)

    def time(self) -> float:
        return self.now_s

    def _process_events(self, event_list: list[object]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        """There is no other thread to be woken by."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop of its own."""
    loop = VirtualLoop()
    unhandled: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    try:
        result = loop.run_until_complete(main)
    finally:
        loop.close()
    gc.collect(0)  # a task that failed without anybody looking says so when it goes
    assert not unhandled, unhandled
    return result
