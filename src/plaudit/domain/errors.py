"""The whole error tree: every failure has one of these named outcomes.

An error says what the caller now knows. `Unavailable`: nothing happened. `OutcomeUnknown`: it may have happened;
repeat with the same idempotency key. `Invalid`: the caller's fault, and repeating it unchanged will not help.
"""

from collections.abc import Sequence


class PlauditError(Exception):
    """Base of every error Plaudit raises on purpose."""


class Unavailable(PlauditError):
    """A part is missing or failing and nothing was stored; trying again later may work."""


class Overloaded(PlauditError):
    """Too much is waiting, or a deadline passed while waiting; nothing was stored."""

    def __init__(self, message: str, *, code: str = "overloaded", retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


class OutcomeUnknown(PlauditError):
    """The write may or may not have been stored; the same idempotency key settles it."""


AWAY = (Unavailable, OutcomeUnknown, Overloaded)
"""Those that are over in a while: work that can be repeated waits, and goes on."""


class Conflict(PlauditError):
    """Somebody else won: another writer holds the file, or a newer state is there."""


class Corrupt(PlauditError):
    """Stored bytes are not what this version of Plaudit writes or reads.

    `targets` are all those because of which a question about many fails, where that is known.
    """

    def __init__(self, message: str, *, targets: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.targets = targets


class Invalid(PlauditError):
    """The request cannot be carried out as it is.

    `code` is one of the stable error codes (see `plaudit.http.problems`), `field` names the offending input, `targets`
    all those because of which a question about many is refused.
    """

    def __init__(
        self, code: str, message: str, *, field: str | None = None, targets: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.targets = targets
