"""Peer (i), in place: Plaudit's cluster profile with the plain design where it commits; all else is the same.

`python -m benchmarks.cluster.in_place` takes the settings that `plaudit serve` takes. Each tap reads row and header and
proposes by itself; who is refused reads and proposes again after a random pause, until the deadline.
"""

import asyncio
import random
from collections.abc import Callable

import uvloop

import plaudit.bootstrap.cluster as building
from plaudit.bootstrap import configure_logging
from plaudit.bootstrap.serving import run
from plaudit.domain.cell import Tap
from plaudit.domain.errors import OutcomeUnknown, Overloaded
from plaudit.ports.cells import CellKey
from plaudit.ports.clock import Clock
from plaudit.services.commit import Committed
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.pace import Backoff, Limits
from plaudit.services.propose import Lost, Open, Proposer, Sealed
from plaudit.services.publish import Publish
from plaudit.settings import Settings
from plaudit.telemetry import Metrics


class PlainCommitter:
    """In the place of `CellCommitter`: a task per tap, and a commit per tap."""

    def __init__(
        self,
        proposer: Proposer,
        near: NearCache,
        clock: Clock,
        metrics: Metrics,
        random: random.Random,
        publish: Publish,
        limits: Limits,
        wrote: Callable[[str, str, int, int], None],
        hot: object = None,
    ) -> None:
        self._proposer = proposer
        self._near = near
        self._clock = clock
        self._metrics = metrics
        self._random = random
        self._publish = publish
        self._limits = limits
        self._wrote = wrote
        self._backoff = Backoff()
        self._tasks: set[asyncio.Task[Committed]] = set()
        self.open = 0

    @property
    def waiting(self) -> int:
        """Taps that are not answered yet."""
        return len(self._tasks)

    def submit(self, target: str, tap: Tap) -> asyncio.Future[Committed]:
        """Commit a tap; the future has its answer or an error of Plaudit's."""
        task = asyncio.get_running_loop().create_task(self._commit(CellKey(target), tap))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self, within_s: float = 15.0) -> None:
        """Wait until everything is answered."""
        await asyncio.wait({*self._tasks, asyncio.create_task(asyncio.sleep(0))}, timeout=within_s)

    async def close(self) -> None:
        """Stop where it stands."""
        for task in self._tasks:
            task.cancel()

    async def _commit(self, key: CellKey, tap: Tap) -> Committed:
        deadline_s = self._clock.monotonic_s() + self._limits.deadline_s
        failures = 0
        while True:
            result = await self._proposer.attempt(key, [tap])
            if isinstance(result, Open | Sealed):  # nothing is split here
                self._near.forget(key.target)
                raise OutcomeUnknown("The store did not confirm in time.")
            if not isinstance(result, Lost):
                break
            failures += 1
            self._metrics.commits_refused += 1
            if self._clock.monotonic_s() > deadline_s:
                raise Overloaded("The tap could not be stored in time.", code="deadline")
            await asyncio.sleep(self._backoff.pause_s(failures, self._random))
        shown = self._near.publish(key.target, result.target)
        if (plan := result.wrote) is not None:
            self._metrics.committed(1, 1)
            for t in plan.transitions:
                self._wrote(t.user, key.target, t.after, t.at)
            registration = result.target.registration
            await self._publish.commit(key, plan.header, plan.transitions, registration=registration)
        self._proposer.published(result.entry)
        return Committed(result.answers[0], shown)


def main() -> None:
    """Serve, until told to stop."""
    setattr(building, "CellCommitter", PlainCommitter)  # noqa: B010 - mypy would not have it assigned
    setattr(building, "Known", lambda: Known(max_rows=0))  # noqa: B010 - the plain design always reads
    settings = Settings()
    configure_logging(settings)
    uvloop.run(run(settings))


if __name__ == "__main__":
    main()
