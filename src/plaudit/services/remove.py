"""Remove: deleting a target and erasing a user, as jobs in the background with receipts.

A job is stored together with what begins it, or before, and every later step is idempotent, so a job that a killed
process left behind goes on at the next start; or, where many processes share a store, in any that looks for such jobs.
There a lease keeps two from doing the same; if they do all the same, it is only done twice.
"""

import asyncio
import logging
from typing import Self

import msgspec

from plaudit.domain.errors import AWAY, Corrupt, OutcomeUnknown, PlauditError
from plaudit.ports.clock import Clock
from plaudit.ports.leases import Leases
from plaudit.ports.removals import RECEIPT_KEPT_S, Job, JobKind, Jobs, Removals, Stays, new_job
from plaudit.services.near import NearCache
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.remove")

ROWS_PER_STEP = 500
RETRY_S = 1.0
RETRY_AT_MOST_S = 15.0
AT_LEAST_S = 0.01
RECEIPTS_AT_ONCE = 500
SECOND = 1_000_000
LEASE_S = 60  # longer than a step and the longest pause together

# Who saw a target before it was closed may tell its owner for another minute, and a push that was just made goes out
# without another look, for a minute too (`plaudit.services.tell`, `plaudit.adapters.cassandra.fresh`).
UNDER_WAY_S = 100.0

_EVERYWHERE = (
    "this receipt for 30 days, events until every consumer has read them (in the cluster as long as the log keeps "
    "them, 7 days), room in the files of the stores until it is used again, and backups until they expire."
)
_NOTES = {
    "delete_target": "Reactions, registration, what owners were told of the target, and pushes that were still to be "
    "made of it are gone. What is left: what devices and the webhook's receiver had been sent by then, the id with its "
    f"sequence number, also where somebody muted it, {_EVERYWHERE}",
    "erase_user": "Reactions, profile, inbox, devices and notification settings are gone. What is left: the mark that "
    "keeps this id erased, the owner of targets until the host app registers or deletes those (in the cluster a former "
    "one until it deletes them, and for a day the id among those of whom owners are not told again), "
    f"{_EVERYWHERE}",
}
_FAILED = "cannot be read; the log has the details. Ask for it again once that is mended."


class Remove:
    """Starts jobs, runs them one after the other, and tells how they went. Use as an async context manager.

    `look_every_s`: how often to look for jobs that other processes left, or of whose begin nobody was told, and for
    receipts that are to be forgotten; not at all without it. `under_way_s`: how long others, who saw a target before it
    was closed, may still tell its owner. A job that cannot go on now lets the others pass.
    """

    def __init__(
        self,
        removals: Removals,
        jobs: Jobs,
        near: NearCache,
        clock: Clock,
        metrics: Metrics,
        leases: Leases | None = None,
        look_every_s: float | None = None,
        under_way_s: float = 0.0,
    ) -> None:
        self._removals = removals
        self._jobs = jobs
        self._near = near
        self._clock = clock
        self._metrics = metrics
        self._leases = leases
        self._look_every_s = look_every_s
        self._under_way_s = under_way_s
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._failures: dict[
            str, int
        ] = {}  # of every job that is in the queue, on its way there, or carried out
        self._tasks: list[asyncio.Task[None]] = []
        metrics.gauge("plaudit_jobs_waiting_seconds", self._waits_s)

    async def __aenter__(self) -> Self:
        if self._leases is None or self._look_every_s is not None:
            try:
                await self._look()
            except Corrupt as error:  # all else can be served; asking for a job again begins a new one
                log.error("jobs that were left unfinished cannot be looked for: %s", error)
        self._tasks.append(asyncio.create_task(self._run()))
        if self._look_every_s is not None:
            self._tasks.append(asyncio.create_task(self._keep_looking(self._look_every_s)))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop between two steps; what is left goes on at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def delete_target(self, target: str) -> Job:
        """Close a target now and remove its rows in the background. A deletion under way is returned as it is."""
        job = await self._running("delete_target", target)
        if job is not None and job.begun:
            header = (await self._near.load([target]))[target].target.header
            if header is not None and header.deleted:
                return job
            job = None  # it was registered again since: that is a new target to delete
        job = job or self._new("delete_target", target)
        try:
            self._near.publish(target, await self._removals.begin_purge(target, job))
        except OutcomeUnknown:
            self._near.forget(target)
            raise
        finally:
            self._take(job.id)  # also where nobody knows whether it was stored: running it finds out
        return job

    async def erase_user(self, user: str) -> Job:
        """Refuse the user's taps now and remove their reactions in the background."""
        running = await self._running("erase_user", user)
        if running is not None:
            return running
        job = self._new("erase_user", user)
        try:
            await self._removals.mark_erased(user, job)
        finally:
            self._take(job.id)
        return job

    async def job(self, job_id: str) -> Job | None:
        """The job or its receipt."""
        return await self._jobs.get(job_id)

    async def _running(self, kind: JobKind, subject: str) -> Job | None:
        latest = await self._jobs.latest(kind, subject)
        return latest if latest is not None and latest.state == "running" else None

    def _new(self, kind: JobKind, subject: str) -> Job:
        return new_job(kind, subject, self._clock.now_us())

    def _take(self, job_id: str) -> None:
        if job_id not in self._failures:
            self._failures[job_id] = 0
            self._queue.put_nowait(job_id)

    async def _look(self) -> None:
        for job in await self._jobs.unfinished():
            self._take(job.id)

    async def _keep_looking(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await self._look()
                await self._jobs.forget(self._clock.now_us() - RECEIPT_KEPT_S * 1_000_000, RECEIPTS_AT_ONCE)
            except PlauditError as error:
                log.warning("unfinished jobs and old receipts could not be looked for: %s", error)
            except Exception:
                log.exception("looking for jobs and receipts failed in a way nobody foresaw; it goes on")

    async def _run(self) -> None:
        while True:
            job_id = await self._queue.get()
            try:
                pause_s = await self._carry_out(job_id)
            except AWAY as error:
                self._put_off(job_id, error)
                continue
            except Exception as error:
                log.exception("job %s failed", job_id)
                self._metrics.jobs_failed += 1
                await self._fail(job_id, error)
                pause_s = 0.0
            self._metrics.job_waits.pop(job_id, None)
            if pause_s > 0:
                self._go_on_in(job_id, pause_s)
            else:
                del self._failures[job_id]

    def _put_off(self, job_id: str, error: PlauditError) -> None:
        """Go on with it after a while, longer each time, and with the others meanwhile."""
        pause_s = min(RETRY_AT_MOST_S, RETRY_S * 2 ** min(self._failures[job_id], 10))
        self._failures[job_id] += 1
        self._metrics.job_waits.setdefault(job_id, self._clock.monotonic_s())
        log.warning("job %s goes on in %s s: %s", job_id, pause_s, error)
        self._go_on_in(job_id, pause_s)

    def _waits_s(self) -> float:
        waits = self._metrics.job_waits.values()
        return self._clock.monotonic_s() - min(waits) if waits else 0.0

    def _go_on_in(self, job_id: str, pause_s: float) -> None:
        asyncio.get_running_loop().call_later(pause_s, self._queue.put_nowait, job_id)

    async def _ours(self, job_id: str) -> bool:
        """Whether this process may go on with it: nobody else does."""
        return self._leases is None or await self._leases.claim(f"job/{job_id}", LEASE_S)

    async def _fail(self, job_id: str, error: Exception) -> None:
        """Say in its receipt that a job cannot be carried out; asking for it again starts a new one."""
        what = f"All else is gone, but {error.what}" if isinstance(error, Stays) else "Something in the store"
        finished, note = self._clock.now_us(), f"{what} {_FAILED}"
        try:
            job = await self._jobs.get(job_id)
            if job is not None:
                await self._jobs.save(
                    msgspec.structs.replace(job, state="failed", finished_at=finished, note=note)
                )
        except Exception as also:  # the next look finds it
            log.warning("job %s could not be marked as failed: %s", job_id, also)

    async def _carry_out(self, job_id: str) -> float:
        """Do what can be done now; how many seconds later there is more (0: nothing more is for us)."""
        job = await self._jobs.get(job_id)
        if job is None or job.state != "running" or not await self._ours(job_id):
            return 0.0
        if not job.begun:  # whoever was asked died before, or is about to
            self._near.publish(job.subject, await self._removals.begin_purge(job.subject, job))
            job = msgspec.structs.replace(job, begun=True, begun_at=self._clock.now_us())
        last = self._pause_s(job) <= 0
        faults: list[Exception] = []  # what they are decides `_run`; all that can be done is done first
        if job.kind == "delete_target":
            try:
                await self._removals.take_back(job.subject, job_id, last=last)
            except Exception as error:
                faults.append(error)
        step = self._purge if job.kind == "delete_target" else self._erase
        try:
            while await step(job.subject, job_id):
                self._failures[job_id] = 0
                self._metrics.job_waits.pop(job_id, None)
                if not await self._ours(job_id):
                    return 0.0
        except Exception as error:
            faults.append(error)
        faults.sort(key=lambda fault: not isinstance(fault, AWAY))
        # What ends a job for good does so once nothing is away, and all was taken back for the last time.
        if faults and (last or isinstance(faults[0], AWAY)):
            raise faults[0]
        if last:
            counted = await self._jobs.get(job_id) or job
            finished = self._clock.now_us()
            done = msgspec.structs.replace(counted, state="done", finished_at=finished, note=_NOTES[job.kind])
            await self._jobs.save(done)
        if self._leases is not None:
            await self._leases.release(f"job/{job_id}")
        return 0.0 if last else max(AT_LEAST_S, self._pause_s(job))

    def _pause_s(self, job: Job) -> float:
        """How long somebody may still tell of what the job takes away; then it is done for the last time."""
        if job.kind == "erase_user":
            return 0.0
        closed_at = job.created_at if job.begun_at is None else job.begun_at
        return self._under_way_s - (self._clock.now_us() - closed_at) / SECOND

    async def _purge(self, target: str, job_id: str) -> int:
        return await self._removals.purge_some(target, ROWS_PER_STEP, job_id)

    async def _erase(self, user: str, job_id: str) -> int:
        changed = await self._removals.erase_some(user, ROWS_PER_STEP, job_id)
        for target, state in changed.items():
            self._near.publish(target, state)
        return len(changed)
