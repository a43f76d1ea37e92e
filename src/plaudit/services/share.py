"""One commit's share of a cell's queue: the rule that both committers follow, and nothing else."""

from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

from plaudit.domain.cell import MAX_TAPS_PER_USER, MAX_USERS_PER_COMMIT, Tap


class HasTap(Protocol):
    """What waits in a queue."""

    @property
    def tap(self) -> Tap:
        """The tap that waits."""


W = TypeVar("W", bound=HasTap)


def share(queue: deque[W], room: int, gone: Callable[[W], bool] | None = None) -> list[W]:
    """Take the next commit's share from the front: at most 128 users, 4 taps of each and `room` taps, in order.

    A user's fifth tap stays, in front of what came after it. Who is `gone` is taken out and left out.
    """
    if len(queue) == 1 and gone is None:
        return [queue.popleft()]
    taken: list[W] = []
    later: list[W] = []
    taps_of: dict[str, int] = {}
    while queue and len(taken) < room:
        waiting = queue.popleft()
        if gone is not None and gone(waiting):
            continue
        user = waiting.tap.user
        count = taps_of.get(user, 0)
        if count == MAX_TAPS_PER_USER:
            later.append(waiting)
            continue
        if count == 0 and len(taps_of) == MAX_USERS_PER_COMMIT:
            queue.appendleft(waiting)
            break
        taps_of[user] = count + 1
        taken.append(waiting)
    queue.extendleft(reversed(later))
    return taken
