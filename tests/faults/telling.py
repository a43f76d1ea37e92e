"""`plaudit`, and a hand on its notifier: a real process that dies at a step of a message when it is told to.

`python -m tests.faults.telling ARGUMENTS` is `plaudit ARGUMENTS`. What it is to do stands in `DATA/orders`, as for
`tests.faults.dying`:

    die STEP TARGET     SIGKILL, from within, when a message about this target is at that step

The steps: `claimed`: its window has ended and is this notifier's; `rendered`: it is made, and nobody has it; `pushed`:
its pushes are there, and it is in no inbox; `told`: it is in the inbox, and the window is still open; `sent`: a
provider has said yes, and nobody has written that down; `acknowledged`: that is written down.

All that providers are at is private here but one address, which stands for the world outside.
"""

import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Literal

from plaudit.adapters.cassandra import CassandraDeliveries, CassandraInbox
from plaudit.adapters.cassandra.pushes import Line, Pushes
from plaudit.adapters.push import Apns, Fcm, Webhook, WebPush, client
from plaudit.adapters.redis import RedisBatches
from plaudit.cli import main
from plaudit.domain.watch import Watch
from plaudit.ports.batches import Stored
from plaudit.ports.notifications import Address, Notification, Settled
from plaudit.ports.push import Push, Verdict
from tests.faults.dying import ordered
from tests.support.provider import OUTSIDE

Step = Literal["claimed", "rendered", "pushed", "told", "sent", "acknowledged"]
_telling = ContextVar[Sequence[str]]("telling", default=())  # the targets of the messages that are put
_NOTHING: Mapping[str, Watch] = {}
STEPS: Sequence[Step] = ("claimed", "rendered", "pushed", "told", "sent", "acknowledged")


def die_at(step: Step, target: str) -> str:
    """A line of the orders."""
    return f"die {step} {target}"


def _perhaps_die(step: Step, targets: Iterable[str]) -> None:
    if any(ordered(die_at(step, target)) for target in targets):
        os.kill(os.getpid(), signal.SIGKILL)


def take_orders() -> None:
    """Put ourselves between the notifier and its stores and providers."""
    claim, put, settle = RedisBatches.claim, CassandraInbox.put, CassandraDeliveries.settle
    add = Pushes.add

    async def claimed(self: RedisBatches, until: int, lease_s: float, limit: int) -> list[tuple[str, Stored]]:
        found = await claim(self, until, lease_s, limit)
        _perhaps_die("claimed", [target for target, _ in found])
        return found

    async def told(
        self: CassandraInbox,
        messages: Sequence[Notification],
        addresses: Sequence[Address],
        now: int,
        after: Mapping[str, Watch] = _NOTHING,
    ) -> None:
        targets = [message.target for message in messages]
        _perhaps_die("rendered", targets)
        _telling.set(targets)
        await put(self, messages, addresses, now, after)
        _perhaps_die("told", targets)

    async def pushed(self: Pushes, lines: Iterable[Line]) -> None:
        await add(self, lines)
        _perhaps_die("pushed", _telling.get())

    async def settled(self: CassandraDeliveries, results: Sequence[Settled]) -> None:
        await settle(self, results)
        delivered = [its.parcel.notification.target for its in results if its.reason == "delivered"]
        _perhaps_die("acknowledged", delivered)

    RedisBatches.claim = claimed  # type: ignore[method-assign] # that is the point
    Pushes.add = pushed  # type: ignore[method-assign] # that is the point
    CassandraInbox.put = told  # type: ignore[method-assign] # that is the point
    CassandraDeliveries.settle = settled  # type: ignore[method-assign] # that is the point
    for sender in (Webhook, Fcm, Apns, WebPush):
        _die_when_sent(sender)
    is_public = client.is_public
    client.is_public = lambda text: text == OUTSIDE or is_public(text)


def _die_when_sent(sender: Any) -> None:
    send = sender.send

    async def sent(self: object, push: Push) -> Verdict:
        verdict: Verdict = await send(self, push)
        if verdict.reason == "delivered":
            _perhaps_die("sent", [push.target])
        return verdict

    sender.send = sent


if __name__ == "__main__":
    take_orders()
    main()
