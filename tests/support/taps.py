"""Short ways to write taps."""

from itertools import count

from plaudit.domain.cell import Tap, Verb
from plaudit.domain.operations import operation_id
from plaudit.ports.ledger import CellTaps

NONE, LIKE, LOVE, HAHA, WOW, SAD, ANGRY = range(7)
ALL = (LIKE, LOVE, HAHA, WOW, SAD, ANGRY)

_nobody_else = count(1)


def set_to(user: str, reaction: int, key: str | None = None) -> Tap:
    """A wish for this reaction (0: none). Without a key it has an operation id that no other tap has."""
    return _tap(user, Verb.SET, reaction, key)


def toggle(user: str, reaction: int = LIKE, key: str | None = None) -> Tap:
    """A toggle. Without a key it has an operation id that no other tap has."""
    return _tap(user, Verb.TOGGLE, reaction, key)


def cell(target: str, *taps: Tap) -> CellTaps:
    """The taps of one target in one call."""
    return CellTaps(target, taps)


def _tap(user: str, verb: Verb, reaction: int, key: str | None) -> Tap:
    op = next(_nobody_else).to_bytes(8, "big") if key is None else operation_id(key.encode())
    return Tap(user, verb, reaction, op, keyed=key is not None)
