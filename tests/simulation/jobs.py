"""Jobs and leases of many processes for simulations. As in Cassandra, what has ended is never seen to run again."""

import asyncio
from random import Random

from plaudit.ports.removals import Job, JobKind

WAY_S = 0.003


class SimulatedJobs:
    """See `plaudit.ports.removals.Jobs`; one for all processes."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._progress: dict[str, Job] = {}
        self._receipts: dict[str, Job] = {}

    @property
    def all(self) -> list[Job]:
        """Every job as it is now."""
        return list((self._progress | self._receipts).values())

    def lose_receipt(self, job_id: str) -> None:
        """Whoever carried it out died before it said so."""
        del self._receipts[job_id]

    async def save(self, job: Job) -> None:
        await self._way()
        kept = self._progress if job.state == "running" else self._receipts
        kept[job.id] = job
        await self._way()

    async def get(self, job_id: str) -> Job | None:
        await self._way()
        return self._receipts.get(job_id) or self._progress.get(job_id)

    async def unfinished(self) -> list[Job]:
        await self._way()
        return [job for job in self.all if job.state == "running"]

    async def latest(self, kind: JobKind, subject: str) -> Job | None:
        await self._way()
        found = [job for job in self.all if (job.kind, job.subject) == (kind, subject)]
        return max(found, key=lambda job: job.created_at, default=None)

    async def forget(self, ended_before: int, limit: int) -> int:
        return 0

    async def _way(self) -> None:
        await asyncio.sleep(self._random.uniform(0, WAY_S))


Held = dict[str, tuple[str, float]]
"""Who has which lease, and until when (seconds)."""


class SimulatedLeases:
    """See `plaudit.ports.leases.Leases`: those of one owner among all that are held."""

    def __init__(self, owner: str, held: Held) -> None:
        self._owner = owner
        self._held = held

    async def claim(self, name: str, ttl_s: int) -> bool:
        await asyncio.sleep(WAY_S)
        now_s = asyncio.get_running_loop().time()
        owner, until_s = self._held.get(name, ("", 0.0))
        if owner not in ("", self._owner) and until_s > now_s:
            return False
        self._held[name] = self._owner, now_s + ttl_s
        return True

    async def release(self, name: str) -> None:
        if self._held.get(name, ("", 0.0))[0] == self._owner:
            del self._held[name]
