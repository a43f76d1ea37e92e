"""The one error of the client library: fields, so that nobody has to read a sentence."""

from collections.abc import Mapping, Sequence

LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
NOT_STORED = frozenset({429, 503})


class PlauditError(Exception):
    """A call failed for good, after all the repeating that made sense.

    `code` is a stable error code of the API (docs/errors.md) with its HTTP `status`, or None where no answer of the API
    came. `errors` names the offending inputs as {"field", "message"}, `targets` all those because of which a call about
    many was refused. `stored`: False if no attempt was stored, None if nobody knows. Then the same call with the same
    key settles it: `key` is that of a tap. Where the caller gave the key, earlier calls with it count as attempts.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        errors: Sequence[Mapping[str, str]] = (),
        targets: Sequence[str] = (),
        retry_after_s: float = 0.0,
        unsendable: bool = False,
    ) -> None:
        super().__init__(message)
        self._unsendable = unsendable
        self.code = code
        self.status = status
        self.errors = tuple(errors)
        self.targets = tuple(targets)
        self.retry_after_s = retry_after_s
        self.key: str | None = None
        refused = status in NOT_STORED or (status is not None and status not in LATER)
        self.stored: bool | None = False if unsendable or refused else None

    @property
    def temporary(self) -> bool:
        """Whether the same call may work later. One that fails because of `targets` works at once without them."""
        return not (self._unsendable or self.targets) and (self.status is None or self.status in LATER)
