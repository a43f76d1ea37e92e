"""Handing a message to a provider, and what came of it, by reason."""

from typing import Literal, NamedTuple, Protocol

import msgspec

from plaudit.ports.notifications import Channel, Device

Reason = Literal["delivered", "gone", "suspect", "renew", "slow_down", "unreachable", "refused", "our_fault"]


class Person(NamedTuple):
    """Who reacted, as they are shown."""

    id: str
    name: str
    avatar_url: str | None


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """One message in words, for one device (None for a channel without devices). Times are microseconds UTC; after
    `expires_at` nobody wants it any more. `id` is the collapse id: a push with the same one replaces what is shown.
    `title` and `body` are in the owner's language; `sample` has who reacted, newest first, three at most, and `others`
    says how many more `body` does not name."""

    id: str
    owner: str
    title: str
    body: str
    locale: str
    target: str
    type: str
    target_title: str | None
    sample: tuple[Person, ...]
    others: int
    total: int
    reactions: dict[str, int]
    at: int
    expires_at: int
    device: Device | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a try. `detail` is the provider's own word, for the log. `gone_at`: the token was not valid any more
    at that time (microseconds UTC; None: when it was sent), so a later registration of it counts. `only_device`:
    it says nothing of the provider."""

    reason: Reason
    detail: str = ""
    retry_after_s: float | None = None
    gone_at: int | None = None
    only_device: bool = False


class Sender(Protocol):
    """Speaks to the providers of one channel. Sending may be repeated: a repeat replaces what is shown."""

    channel: Channel
    at_once: int

    def provider(self, push: Push) -> str:
        """Who would be asked: pushes with the same answer share a fate when it is down."""

    async def send(self, push: Push) -> Verdict:
        """Try once. Takes at most 10 s and a bounded amount of memory, whatever the other side does. Never raises but
        when cancelled."""
