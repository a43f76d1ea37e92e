"""Follow: brings every lane of a split target to what its root says of the whole target.

After a commit on the root that registers, closes or deletes the target. Lanes that nobody wrote yet are written too: a
tap that read the root before that commit would otherwise create one with what was true then. A lane is read before the
root each time (see `plaudit.domain.lanes`), so of two that follow at once neither takes a lane back.
"""

import asyncio

from plaudit.domain.cell import Header
from plaudit.domain.errors import Unavailable
from plaudit.domain.events import Cause
from plaudit.domain.lanes import first, follow, follows, merge
from plaudit.ports.cells import CellKey, CellState, Proposal
from plaudit.ports.ledger import Target
from plaudit.services.alter import Alter, Change

AT_ONCE = 16


class Follow:
    """See the module. Idempotent."""

    def __init__(self, alter: Alter) -> None:
        self._alter = alter
        self._cells = alter.cells
        self._room = asyncio.Semaphore(AT_ONCE)

    async def all_lanes(self, target: str, root: Target, cause: Cause) -> Target:
        """Return when all lanes say what the root says, with all of them in the header; `root` where it is not split.

        Raises `Unavailable` and `OutcomeUnknown`: some do; do it again.
        """
        if root.header is None or root.header.lanes == 1:
            return root
        buckets = range(1, root.header.lanes + 1)
        told = await asyncio.gather(
            *(self._lane(CellKey(target, bucket), cause) for bucket in buckets), return_exceptions=True
        )
        lanes: dict[int, Header] = {}
        for bucket, result in zip(buckets, told, strict=True):
            if isinstance(result, BaseException):
                raise result
            lanes[bucket] = result
        return Target(merge(root.header, lanes), root.registration)

    async def behind(self, target: str, root: Target) -> bool:
        """Whether a lane that was written says something else than this root. Those that nobody wrote will begin with
        what the root says, but for taps that read it before its last commit. Raises `Unavailable` and `Corrupt`.
        """
        header = root.header
        if header is None or header.lanes == 1:
            return False
        lanes = await asyncio.gather(
            *(self._cells.read(CellKey(target, bucket), ()) for bucket in range(1, header.lanes + 1))
        )
        return any(
            lane.header is not None
            and not (follows(lane.header, header) and lane.registration == root.registration)
            for lane in lanes
        )

    async def _lane(self, key: CellKey, cause: Cause) -> Header:
        roots: list[CellState] = []

        async def look(sure: bool) -> CellState:
            lane = await (self._cells.settle if sure else self._cells.read)(key, ())
            root = await self._cells.settle(CellKey(key.target), ())
            if root.header is None or root.header.lanes == 1:
                raise Unavailable(f"target {key.target} is not split")
            roots[:] = [root]
            return lane if lane.header else CellState(first(root.header, key.bucket), None, {})

        def decide(state: CellState) -> Change | None:
            (root,) = roots
            assert root.header is not None  # noqa: S101 - by `look`
            assert state.header is not None  # noqa: S101 - by `look`
            if follows(state.header, root.header) and state.registration == root.registration:
                return None
            header, told = follow(state.header, root.header), root.registration
            lanes = state.header.lanes if state.seq else 1
            return Change(Proposal(state.seq, header, {}, told, unregister=told is None, lanes=lanes))

        async with self._room:
            altered = await self._alter.commit(key, cause, look, decide, split_too=True)
        if altered.target.header is None:
            raise Unavailable(f"lane {key} is not there")
        return altered.target.header
