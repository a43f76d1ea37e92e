"""A push to send."""

from plaudit.ports.notifications import Device, DeviceKind
from plaudit.ports.push import Person, Push
from tests.support.clock import START_US

ID = "tHsBkJ4vTq0sXb8yLw2mPz6dRc9nHf3g"


def push(
    kind: DeviceKind | None = None,
    token: str = "",
    more: dict[str, str] | None = None,
    id_: str = ID,
    body: str = "Ann and 3 others reacted to your post “Ünïcode 🎉”",
) -> Push:
    """One to a device of this kind, or to nobody in particular."""
    device = None
    if kind is not None:
        device = Device(id=f"id-of-{token}"[:64], owner="owner", kind=kind, token=token, more=more or {})
    return Push(
        id=id_,
        owner="owner",
        title="New reactions",
        body=body,
        locale="en",
        target="post:42",
        type="post",
        target_title="Ünïcode 🎉",
        sample=(Person("ann", "Ann", "/ann.png"),),
        others=3,
        total=4,
        reactions={"like": 3, "love": 1},
        at=START_US,
        expires_at=START_US + 24 * 3600 * 1_000_000,
        device=device,
    )
