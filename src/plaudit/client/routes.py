"""Which process a target's calls go to best: what the service said last, sent back as `Plaudit-Route`."""

from collections import OrderedDict

from plaudit.client.models import Tap

REMEMBERED = 10_000


class Routes:
    """Routes by target, of the targets tapped last."""

    def __init__(self) -> None:
        self._routes: OrderedDict[str, str] = OrderedDict()

    def of(self, target: str | None) -> str | None:
        """The route to send with a call about this target, if it is known."""
        return self._routes.get(target) if target is not None else None

    def learn(self, result: object) -> None:
        """Remember the route in the answer to a tap; other results say nothing."""
        if isinstance(result, Tap):
            self._routes[result.target_id] = result.route
            self._routes.move_to_end(result.target_id)
            if len(self._routes) > REMEMBERED:
                self._routes.popitem(last=False)
