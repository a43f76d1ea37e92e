"""Taking things away: deleting a target, erasing a user, and the jobs that do it in the background.

Every step is durable, small enough not to hold up taps, and idempotent: a job that was interrupted is simply run
again. All raise `Unavailable` (nothing of this step happened) and `OutcomeUnknown`.
"""

import secrets
from typing import Literal, Protocol

import msgspec

from plaudit.domain.errors import Corrupt
from plaudit.ports.ledger import Target

JobKind = Literal["delete_target", "erase_user"]
JobState = Literal["running", "done", "failed"]


RECEIPT_KEPT_S = 30 * 86_400  # since the job ended; it names who was erased


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Work that outlives a request, and then its receipt. Times are microseconds UTC.

    `begun`: whether what it begins with is known to be done. If not, whoever carries it out does that first.
    `begun_at`: when it was, if that may be long after `created_at`. A store that does both in one commit keeps neither.
    """

    id: str
    kind: JobKind
    subject: str
    state: JobState
    created_at: int
    finished_at: int | None = None
    removed: dict[str, int] = {}
    note: str = ""
    begun: bool = True
    begun_at: int | None = None


class Stays(Corrupt):
    """All of a job that could be done is done. `what` says, for its receipt, what stays: "reactions to 3 targets"."""

    def __init__(self, what: str) -> None:
        super().__init__(f"cannot be read, and stays: {what}")
        self.what = what


def what_stays(targets: int, *, forgotten: bool) -> str:
    """Of an erasure: reactions to so many targets, and whether all else is `forgotten`. Empty: nothing stays."""
    what = [f"reactions to {targets:,} target{'s' * (targets != 1)}"] if targets else []
    if not forgotten:
        what.append("some of inbox, devices and settings")
    return " and ".join(what)


def new_job(kind: JobKind, subject: str, now_us: int) -> Job:
    """A job that begins, under an id that nobody can guess."""
    id_ = f"job_{secrets.token_hex(10)}"
    return Job(id=id_, kind=kind, subject=subject, state="running", created_at=now_us)


class Jobs(Protocol):
    """Where jobs are kept. `get` raises `Corrupt` for one that cannot be read; who looks for many passes over it."""

    async def save(self, job: Job) -> None:
        """Replace the job with this id (or create it). Idempotent.

        Atomicity: none; a store may do it in several writes. Raises `Unavailable`, and `OutcomeUnknown`: the job, or a
        part of it, may be stored; whoever looks for unfinished jobs may find it.
        """

    async def get(self, job_id: str) -> Job | None:
        """The job, or None."""

    async def unfinished(self) -> list[Job]:
        """Jobs that a stopped process left running, oldest first."""

    async def latest(self, kind: JobKind, subject: str) -> Job | None:
        """The newest job of this kind on this subject, or None."""

    async def forget(self, ended_before: int, limit: int) -> int:
        """Forget up to `limit` receipts of jobs that ended before (microseconds UTC); returns how many.

        A store that lets them end by themselves, `RECEIPT_KEPT_S` after they were saved, has nothing to do.
        """


class Removals(Protocol):
    """The steps of deletion and erasure. What a step removes it counts in the job `job_id`, if there is one: in the
    same commit, or right after it; then a process that ends in between leaves it out."""

    async def begin_purge(self, target: str, job: Job) -> Target:
        """Store the job, and close the target for ever: counts 0, taps refused. Creates the header of one never seen.

        Both in one commit, or the job before, as one that is not `begun`, so that whoever finds a closed target finds
        who purges it. Idempotent. Raises `OutcomeUnknown`: the job may be stored, and whoever finds it begins it then.
        """

    async def purge_some(self, target: str, limit: int, job_id: str = "") -> int:
        """Remove up to `limit` rows of a target that is being purged; returns how many (`rows`). 0: it is purged.

        Raises `Stays` once nothing is left but what cannot be read, and another `Corrupt` where that is unknown.
        """

    async def take_back(self, target: str, job_id: str = "", *, last: bool) -> int:
        """Remove what owners, former ones too, were told of a target that was deleted, with the pushes that are to be
        made of it; returns how many (`messages`). What was told of one that is there again by now stays.

        Where many processes tell, one that saw the target before it was closed may do so a little later: then it takes
        another call. `last`: this is the one, and who owned the target may be forgotten.
        """

    async def mark_erased(self, user: str, job: Job) -> None:
        """Store the job; from then on this user's taps are refused and their profile is gone.

        Both in one commit, or the job before, so that whoever is marked is erased by somebody. Raises `OutcomeUnknown`:
        the job may be stored and the user not marked, whom the job marks then.
        """

    async def erase_some(self, user: str, limit: int, job_id: str = "") -> dict[str, Target]:
        """Remove up to `limit` `rows` of a marked user, one commit per cell; the targets as they are after.

        Raises `Stays` once nothing is left but what cannot be read; called after that, all of it is tried again. Or
        `Corrupt` where that is so much that all is likely to be.
        """
