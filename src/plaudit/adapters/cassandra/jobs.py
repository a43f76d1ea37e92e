"""Jobs and receipts in Cassandra. What is written first is found by whoever goes on; what is read last is believed."""

import asyncio
import logging
from typing import Any
from zlib import crc32

import msgspec

from plaudit.adapters.cassandra.session import Session
from plaudit.adapters.cassandra.statements import Statements
from plaudit.domain.errors import Corrupt, OutcomeUnknown, Unavailable
from plaudit.ports.clock import Clock
from plaudit.ports.removals import RECEIPT_KEPT_S, Job, JobKind, JobState

log = logging.getLogger("plaudit.cassandra")

SHARDS = 16
AT_MOST = 200  # unfinished jobs of one shard; whoever looks again sees the rest
# A job is noted as unfinished before it is stored; a note alone is left to its writer for this long.
NOTED_FOR_S = 3600
# A job that makes no step for so long is forgotten. Not for ever, because who carries one out beside another may say so
# after the receipt was stored.
PROGRESS_KEPT_S = 180 * 86_400

PROGRESS = "UPDATE $keyspace.job USING TTL ? SET progress = ? WHERE id = ?"
RECEIPT = "UPDATE $keyspace.job USING TTL ? SET receipt = ?, progress = null WHERE id = ?"
GET = "SELECT progress, receipt FROM $keyspace.job WHERE id = ?"
NAME = "INSERT INTO $keyspace.job_by_subject (kind, subject, created_at, id) VALUES (?, ?, ?, ?) USING TTL ?"
LATEST = "SELECT id FROM $keyspace.job_by_subject WHERE kind = ? AND subject = ? LIMIT 10"
BEGIN = "INSERT INTO $keyspace.unfinished_job (shard, id, created_at) VALUES (?, ?, ?)"
UNFINISHED = "SELECT id, created_at FROM $keyspace.unfinished_job WHERE shard = ? LIMIT ?"
END = "DELETE FROM $keyspace.unfinished_job WHERE shard = ? AND id = ?"


class _Job(msgspec.Struct, frozen=True, array_like=True, tag_field="packed", tag="job.v1"):
    id: str
    kind: JobKind
    subject: str
    state: JobState
    created_at: int
    finished_at: int | None
    removed: dict[str, int]
    note: str
    begun: bool = True
    begun_at: int | None = None


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Job)


def pack_job(job: Job) -> bytes:
    """The bytes of a job."""
    return _encode(_Job(*msgspec.structs.astuple(job)))


def unpack_job(body: bytes) -> Job:
    """The job in `body`. Raises `Corrupt`."""
    try:
        return Job(**msgspec.structs.asdict(_decoder.decode(body)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"not a job: {error}") from error


class CassandraJobs(Statements):
    """See `plaudit.ports.removals.Jobs`; use as an async context manager inside an open session.

    A job that has ended is not seen to run again, whatever is saved later. One that cannot be read holds up nobody: it
    is logged and passed over, and stays for whoever can read it.
    """

    queries = (PROGRESS, RECEIPT, GET, NAME, LATEST, BEGIN, UNFINISHED, END)

    def __init__(self, session: Session, clock: Clock) -> None:
        super().__init__(session)
        self._clock = clock

    async def save(self, job: Job) -> None:
        shard = crc32(job.id.encode()) % SHARDS
        kept_s = PROGRESS_KEPT_S if job.state == "running" else RECEIPT_KEPT_S
        named = (NAME, job.kind, job.subject, job.created_at, job.id, kept_s)
        first: tuple[Any, ...]
        rest: list[tuple[Any, ...]]
        if job.state == "running":
            first = (BEGIN, shard, job.id, job.created_at)
            rest = [named, (PROGRESS, kept_s, pack_job(job), job.id)]
        else:
            first = (RECEIPT, kept_s, pack_job(job), job.id)
            rest = [named, (END, shard, job.id)]
        await self._write(*first)
        try:
            for statement in rest:
                await self._write(*statement)
        except Unavailable as error:
            raise OutcomeUnknown("the job is stored in part") from error

    async def get(self, job_id: str) -> Job | None:
        for progress, receipt in await self._rows(GET, job_id):
            if body := receipt or progress:
                return unpack_job(body)
        return None

    async def unfinished(self) -> list[Job]:
        found = await asyncio.gather(*(self._unfinished(shard) for shard in range(SHARDS)))
        return sorted((job for jobs in found for job in jobs), key=lambda job: job.created_at)

    async def latest(self, kind: JobKind, subject: str) -> Job | None:
        for (id_,) in await self._rows(LATEST, kind, subject):
            try:
                job = await self.get(id_)
            except Corrupt as error:
                _passed_over(id_, error)
                continue
            if job is not None and (job.kind, job.subject) == (kind, subject):
                return job
        return None

    async def forget(self, ended_before: int, limit: int) -> int:
        """They end by themselves."""
        return 0

    async def _unfinished(self, shard: int) -> list[Job]:
        jobs = []
        for id_, created_at in await self._rows(UNFINISHED, shard, AT_MOST):
            try:
                job = await self.get(id_)
            except Corrupt as error:
                _passed_over(id_, error)
                continue
            if job is not None and job.state == "running":
                jobs.append(job)
            elif job is not None or self._clock.now_us() > (created_at or 0) + NOTED_FOR_S * 1_000_000:
                await self._drop(shard, id_)
        return jobs

    async def _drop(self, shard: int, id_: str) -> None:
        try:
            await self._write(END, shard, id_)
        except OutcomeUnknown:
            pass  # it is looked at once more


def _passed_over(id_: str, error: Corrupt) -> None:
    log.error("job %s cannot be read, and others go on: %s", id_, error)
