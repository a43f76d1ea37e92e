"""Answer: whoever waits for a commit hears of it when its event is in the log, or owed.

The cell's next commit does not wait for that.
"""

import asyncio
import logging
from collections.abc import Sequence

from plaudit.domain.cell import Answer
from plaudit.domain.errors import OutcomeUnknown, PlauditError
from plaudit.ports.cells import CellKey
from plaudit.ports.clock import Clock
from plaudit.services.commit import Committed
from plaudit.services.pace import Limits
from plaudit.services.propose import Moved, Open, Proposer, Settled
from plaudit.services.publish import Publish
from plaudit.services.waiting import Waiting, answer_all, fail

log = logging.getLogger("plaudit.answer")


class Answering:
    """See the module. Lives on the event loop."""

    def __init__(self, publish: Publish, proposer: Proposer, limits: Limits, clock: Clock) -> None:
        self._publish = publish
        self._proposer = proposer
        self._limits = limits
        self._clock = clock

    async def known(
        self, key: CellKey, result: Settled | Moved, told: Sequence[tuple[Waiting, Committed]]
    ) -> None:
        """Publish a commit, and give everybody their answer.

        Where an answer says that something is there already, it may have been committed by a process that died before
        it published: the state of every user whom this commit did not move is published again.
        """
        batch = [waiting for waiting, _ in told]
        unknown = OutcomeUnknown("The log of events did not confirm in time.")
        waited_since = batch[0].since if batch else self._clock.monotonic_s()
        give_up_s = max(0.0, waited_since + self._limits.answer_within_s - self._clock.monotonic_s())
        overdue = asyncio.get_running_loop().call_later(give_up_s, fail, batch, unknown)
        wrote = result.wrote if isinstance(result, Settled) else None
        moved = {transition.user for transition in wrote.transitions} if wrote else set()
        again = {w.tap.user for w, (answer, *_) in told if isinstance(answer, Answer)} - moved
        try:
            if wrote is not None:
                registration = result.target.registration
                await self._publish.commit(key, wrote.header, wrote.transitions, registration=registration)
            if again:
                await self._publish.again(key, again)
            self._proposer.published(result.entry)
            answer_all(told)
        except PlauditError as error:
            log.warning("a commit could not be published again: %s", error)
            fail(batch, unknown)
        except Exception:
            log.exception("publishing a commit failed in a way nobody foresaw")
            fail(batch, unknown)
        finally:
            overdue.cancel()

    async def never_known(self, key: CellKey, open_: Open) -> None:
        """Nobody will know what became of a proposal, but what its rows say now can be published."""
        try:
            await self._publish.again(key, open_.proposal.rows)
            self._proposer.published(open_.entry)
        except Exception:
            log.exception("the rows of a commit that nobody knows of could not be published")
