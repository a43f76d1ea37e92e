"""Remove: deleting a target and erasing a user, as jobs in the background with receipts.

A job is stored in the same transaction that begins it and every later step is idempotent, so a job that a killed
process left behind simply goes on at the next start.
"""

import asyncio
import logging
import secrets
from typing import Self

import msgspec

from plaudit.domain.errors import OutcomeUnknown, Overloaded, PlauditError, Unavailable
from plaudit.ports.clock import Clock
from plaudit.ports.removals import Job, JobKind, Jobs, Removals
from plaudit.services.near import NearCache

log = logging.getLogger("plaudit.remove")

ROWS_PER_STEP = 500
RETRY_S = 1.0

_NOTES = {
    "delete_target": "Rows are gone from the ledger. What is left: the id with its sequence number, and backups.",
    "erase_user": "Reactions, profile, inbox, devices and notification settings are gone. What is left: the mark that "
    "keeps this id erased, "
    "the owner of targets until the host app registers or deletes those, events until every consumer has read them, "
    "and backups until they expire.",
}
_FAILED = (
    "Something in the store cannot be read; the log has the details. Ask for it again once that is mended."
)


class Remove:
    """Starts jobs, runs them one after the other, and tells how they went. Use as an async context manager."""

    def __init__(self, removals: Removals, jobs: Jobs, near: NearCache, clock: Clock) -> None:
        self._removals = removals
        self._jobs = jobs
        self._near = near
        self._clock = clock
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        for job in await self._jobs.unfinished():
            self._queue.put_nowait(job)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop between two steps; what is left goes on at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def delete_target(self, target: str) -> Job:
        """Close a target now and remove its rows in the background. A deletion under way is returned as it is."""
        running = await self._running("delete_target", target)
        if running is not None:
            header = (await self._near.load([target]))[target].target.header
            if header is not None and header.deleted:
                return running  # else it was registered again since: that is a new target to delete
        job = self._new("delete_target", target)
        try:
            self._near.publish(target, await self._removals.begin_purge(target, job))
        finally:
            self._queue.put_nowait(job)  # also where nobody knows whether it was stored: running it finds out
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
            self._queue.put_nowait(job)
        return job

    async def job(self, job_id: str) -> Job | None:
        """The job or its receipt."""
        return await self._jobs.get(job_id)

    async def _running(self, kind: JobKind, subject: str) -> Job | None:
        latest = await self._jobs.latest(kind, subject)
        return latest if latest is not None and latest.state == "running" else None

    def _new(self, kind: JobKind, subject: str) -> Job:
        id_ = f"job_{secrets.token_hex(10)}"
        return Job(id=id_, kind=kind, subject=subject, state="running", created_at=self._clock.now_us())

    async def _run(self) -> None:
        while True:
            job = await self._queue.get()
            while True:
                try:
                    await self._carry_out(job.id)
                    break
                except (Unavailable, OutcomeUnknown, Overloaded) as error:
                    log.warning("job %s goes on in %s s: %s", job.id, RETRY_S, error)
                    await asyncio.sleep(RETRY_S)
                except Exception:
                    log.exception("job %s failed", job.id)
                    await self._fail(job.id)
                    break

    async def _fail(self, job_id: str) -> None:
        """Say in its receipt that a job cannot be carried out; asking for it again starts a new one."""
        try:
            job = await self._jobs.get(job_id)
            if job is not None:
                finished = self._clock.now_us()
                await self._jobs.save(
                    msgspec.structs.replace(job, state="failed", finished_at=finished, note=_FAILED)
                )
        except PlauditError as error:
            log.warning("job %s could not be marked as failed: %s", job_id, error)

    async def _carry_out(self, job_id: str) -> None:
        job = await self._jobs.get(job_id)
        if job is None or job.state != "running":
            return
        step = self._purge if job.kind == "delete_target" else self._erase
        while removed := await step(job.subject):
            job = msgspec.structs.replace(job, removed={"rows": job.removed.get("rows", 0) + removed})
            await self._jobs.save(job)
        finished = self._clock.now_us()
        await self._jobs.save(
            msgspec.structs.replace(job, state="done", finished_at=finished, note=_NOTES[job.kind])
        )

    async def _purge(self, target: str) -> int:
        return await self._removals.purge_some(target, ROWS_PER_STEP)

    async def _erase(self, user: str) -> int:
        changed = await self._removals.erase_some(user, ROWS_PER_STEP)
        for target, state in changed.items():
            self._near.publish(target, state)
        return len(changed)
