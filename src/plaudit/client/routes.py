"""Which process a user's taps on a target go to best: what the service said last, sent back as `Plaudit-Route`.

Until it has said something it is the target, which is right for all but the few targets that are split over lanes. A
route is a hint for the load balancer and is never computed here. Safe to use from several threads.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping

from plaudit.client.calls import is_id
from plaudit.client.models import Tap, Target

REMEMBERED = 10_000


class Routes:
    """Routes by target and user, of those who tapped or were shown a feed last."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._routes: OrderedDict[tuple[str, str | None], str] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, target: str, user: str | None) -> str | None:
        """The route to send with a tap; None for a target that the service will refuse."""
        with self._lock:
            told = self._routes.get((target, user))
        return told or (target if is_id(target) else None)

    def learn(self, user: str | None, result: object) -> None:
        """Remember the routes in the answer to a tap, or in a feed; other results say nothing."""
        if isinstance(result, Tap):
            told = {result.target_id: result.route}
        elif isinstance(result, Mapping):
            told = {target: item.route for target, item in result.items() if isinstance(item, Target)}
        else:
            return
        with self._lock:
            for target, route in told.items():
                self._routes[target, user] = route
                self._routes.move_to_end((target, user))
            while len(self._routes) > self._remembered:
                self._routes.popitem(last=False)
