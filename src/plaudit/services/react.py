"""React: the one use case that writes. A tap in, an answer out."""

import asyncio
import os
from typing import NamedTuple, Protocol

from plaudit.domain.catalogue import NONE, Catalogue
from plaudit.domain.cell import Answer, Outcome, Refused, Tap, Verb
from plaudit.domain.errors import Invalid, Overloaded
from plaudit.domain.lanes import route
from plaudit.domain.operations import ID_BYTES, operation_id
from plaudit.domain.principal import Principal
from plaudit.services.commit import Committed
from plaudit.services.near import Shown

_OUTCOMES = ["", *(outcome.name.lower() for outcome in Outcome)]

REFUSALS = {
    "target_deleted": "This target was deleted.",
    "target_closed": "This target is closed: reactions can be removed but not given.",
    "target_not_registered": "This target is not known here; the host app registers targets first.",
    "target_not_granted": "Your token does not grant this target.",
    "target_type_mismatch": "This target has another type; leave target_type out or send the right one.",
    "reaction_not_allowed": "This reaction cannot be given to this target.",
    "idempotency_key_reused": "This Idempotency-Key was used for another tap; use a new key for a new tap.",
    "user_erased": "This user was erased and cannot react.",
}


class Commits(Protocol):
    """Takes taps and commits them: `plaudit.services.commit` or `plaudit.services.commit_cells`."""

    waiting: int

    def submit(self, target: str, tap: Tap) -> asyncio.Future[Committed]:
        """Queue a tap; the future has its answer. Both raise as `React.tap` does."""

    async def drain(self) -> None:
        """Wait until everything queued has been committed and answered."""


class Reacted(NamedTuple):
    """The answer to a tap, in the words of the API."""

    reaction: str | None
    previous: str | None
    outcome: str
    replayed: bool
    shown: Shown
    route: str  # for whoever sends the next tap of this user on this target


class React:
    """Turns requests into taps and taps into answers."""

    def __init__(self, committer: Commits, catalogue: Catalogue) -> None:
        self._committer = committer
        self._catalogue = catalogue
        self.stopping = False

    async def tap(
        self,
        principal: Principal,
        user: str,
        target: str,
        verb: Verb,
        reaction: str | None,
        key: bytes | None,
        target_type: str | None,
    ) -> Reacted:
        """Carry out one tap. `reaction` None removes.

        Raises `Invalid` with one of the codes in `REFUSALS` (or for an unknown reaction or type), `Overloaded`,
        `Unavailable`: not stored; `OutcomeUnknown`: repeat it with the same key.
        """
        if self.stopping:
            raise Overloaded("This process is stopping; the next one will take it.", code="unavailable")
        catalogue = self._catalogue
        code = NONE if reaction is None else catalogue.code(reaction)
        if target_type is not None:
            catalogue.target_type(target_type)
        op = operation_id(key) if key else os.urandom(ID_BYTES)
        granted = bool(principal.grants or principal.service) and principal.granted(target)
        tap = Tap(user, verb, code, op, key is not None, target_type, granted)
        answer, shown, bucket = await self._committer.submit(target, tap)
        if isinstance(answer, Refused):
            raise Invalid(answer.code, REFUSALS[answer.code], field=_FIELDS.get(answer.code, "target_id"))
        return self._words(answer, shown, route(target, bucket))

    async def stop(self) -> None:
        """Take no more taps, and wait until those already taken are committed and answered."""
        self.stopping = True
        await self._committer.drain()

    def _words(self, answer: Answer, shown: Shown, route: str) -> Reacted:
        names = self._catalogue.names
        return Reacted(
            names[answer.reaction],
            names[answer.previous],
            _OUTCOMES[answer.outcome],
            answer.replayed,
            shown,
            route,
        )


_FIELDS = {
    "target_type_mismatch": "target_type",
    "reaction_not_allowed": "reaction_type",
    "idempotency_key_reused": "Idempotency-Key",
    "user_erased": "user_id",
}
