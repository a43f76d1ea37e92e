"""Reads of several callers travel together, as taps do: what is asked for while enough are under way rides with the
next. A call costs as much as twenty keys in it.

What waits is bounded: whoever went away is not asked for any more, and beyond `MOST_WAITING` keys nobody is let in.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from plaudit.domain.errors import Unavailable

AT_ONCE = 2  # one is on its way while the answer to the other is taken apart
MOST_WAITING = 100_000  # keys; a store in good order answers so many within half a second

Values = list[bytes | None]
Asked = tuple[Sequence[str], asyncio.Future[Values]]


class Reads:
    """See the module. `read`: the values of keys, in their order; `most`: keys at once, unless one caller has more."""

    def __init__(
        self, read: Callable[[list[str]], Awaitable[Values]], most: int, most_waiting: int = MOST_WAITING
    ) -> None:
        self._read = read
        self._most = most
        self._most_waiting = most_waiting
        self._keys = 0  # of all who wait
        self._waiting: deque[Asked] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    def get(self, keys: Sequence[str]) -> asyncio.Future[Values]:
        """The values of these keys, in this order. Raises `Unavailable`, at once where too much waits already."""
        if self._keys >= self._most_waiting:
            raise Unavailable("too many reads wait for Redis")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Values] = loop.create_future()
        self._waiting.append((keys, answer))
        self._keys += len(keys)
        if len(self._waiting) == 1:
            loop.call_soon(self._start)  # with all that is asked for in this turn of the loop
        return answer

    def _start(self) -> None:
        while self._waiting and len(self._under_way) < AT_ONCE:
            if not (asked := self._take()):
                return
            task = asyncio.get_running_loop().create_task(self._carry(asked))
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _take(self) -> list[Asked]:
        """As many as travel together, in their order, without those who have gone away."""
        asked: list[Asked] = []
        room = self._most
        while self._waiting and (not asked or room >= len(self._waiting[0][0])):
            keys, answer = self._waiting.popleft()
            self._keys -= len(keys)
            if not answer.done():
                asked.append((keys, answer))
                room -= len(keys)
        return asked

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._start()

    async def _carry(self, asked: list[Asked]) -> None:
        try:
            values = await self._read([key for keys, _ in asked for key in keys])
        except BaseException as error:
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(Unavailable(str(error)))
            if not isinstance(error, Unavailable):
                raise
            return
        start = 0
        for keys, answer in asked:
            if not answer.done():  # else whoever asked has gone away
                answer.set_result(values[start : start + len(keys)])
            start += len(keys)
