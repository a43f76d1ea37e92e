"""Intake: takes imported records into a store that many processes serve meanwhile.

A batch is looked at first, all of it, and then stored: users, then every cell by commits of its own. Guarantees:

- what is stored was planned over the state that it is committed to, so nothing that others commit is lost;
- every commit's event is in the log before the next one of its cell, and never owed: a debt is paid as a tap of late,
  and nobody is to be told of an import. What was found as the file has it is published once more, because whoever
  stored it may have died before;
- reactions of users who are marked are left out, also of those who are marked while the import is under way.

When something is said of a split target as a whole, its lanes follow before their reactions are stored. A target that
others split meanwhile goes on in its lanes with what is not stored yet.

Whatever fails is tried again for a while, from a fresh look; whoever imports the same batch again changes nothing.
Lives on the event loop. Knows no storage.
"""

import asyncio
from collections import deque
from random import Random

from plaudit.domain.errors import OutcomeUnknown, PlauditError, Unavailable
from plaudit.domain.merge import Tally
from plaudit.domain.transfer import UserRecord
from plaudit.ports.cells import CellKey, CellRoots, Cells
from plaudit.ports.clock import Clock
from plaudit.ports.directory import Profile
from plaudit.ports.ledger import Target
from plaudit.ports.transfer import Batch, Stored
from plaudit.ports.users import Profiles
from plaudit.services.erased import Erased
from plaudit.services.follow import Follow
from plaudit.services.join import Part, Step
from plaudit.services.pace import Backoff
from plaudit.services.publish import Publish
from plaudit.services.removals import CellRemovals
from plaudit.services.survey import LANES_AT_ONCE, CellWork, IsSplit, Seen, Stages, Survey, each, stages_of

WITHIN_S = 60.0  # for so long a cell is tried again before the batch fails
BACKOFF = Backoff(cap_s=2.0)
# Of two writes of a profile the later one stays, so that one of the host app is never hidden by one of a file.
BEFORE_ALL_US = 1


class CellIntake:
    """See `plaudit.ports.transfer.Intake`."""

    def __init__(
        self,
        cells: Cells,
        roots: CellRoots,
        publish: Publish,
        profiles: Profiles,
        removals: CellRemovals,
        erased: Erased,
        follow: Follow,
        clock: Clock,
        random: Random,
    ) -> None:
        self._look = Survey(cells, roots, profiles, erased)
        self._cells = cells
        self._publish = publish
        self._profiles = profiles
        self._removals = removals
        self._erased = erased
        self._follow = follow
        self._clock = clock
        self._random = random
        # Split targets of which we said something that their lanes may not say yet.
        self._to_follow: set[str] = set()

    async def store(self, batch: Batch, *, whole: bool) -> Stored:
        """Look at the batch, then store it."""
        seen = await self._look.batch(batch)
        if whole and seen.tally.refused:
            return Stored(seen.tally, stored=False)
        tally = Tally()
        tally.add(seen.users)
        try:
            await self._users(seen)
            await each(
                seen.targets, lambda target: self._target(target, seen.targets[target], seen.erased, tally)
            )
        except Unavailable as error:
            raise OutcomeUnknown(f"some of it may be stored, import it again: {error}") from error
        return Stored(tally, stored=not (whole and tally.refused))

    async def _users(self, seen: Seen) -> None:
        async def put(record: UserRecord) -> None:
            profile = Profile(
                name=record.name,
                avatar_url=record.avatar_url,
                locale=record.locale,
                time_zone=record.time_zone,
            )
            await self._profiles.put(record.user, profile, BEFORE_ALL_US)

        async def mark(record: UserRecord) -> None:
            if record.erased_at is not None:
                await self._removals.mark_again(record.user, record.erased_at)

        await each(seen.profiles.values(), put)
        await each(seen.marks.values(), mark)
        if seen.marks:
            await self._erased.refresh()

    async def _target(self, target: str, stages: Stages, erased: set[str], tally: Tally) -> None:
        """Take in what there is of one target."""
        try:
            for stage in stages:
                await each(stage, lambda cell: self._store(cell, erased, tally), LANES_AT_ONCE)
        except IsSplit as split:
            await self._target(target, stages_of(target, split.lanes, split.parts), erased, tally)

    async def _store(self, cell: CellWork, erased: set[str], tally: Tally) -> None:
        """Take every part in, one after the other, each until it is known to be there and told."""
        todo = deque(cell.todo)
        failures, ends_s = 0, self._clock.monotonic_s() + WITHIN_S
        error: PlauditError
        while todo:
            item = todo.popleft()
            try:
                if isinstance(item, Part):
                    todo.extendleft(reversed(await self._look.plan(cell.key, [item], erased)))
                    continue
                if await self._committed(cell.key, item, erased):
                    await self._tell(cell.key, item)
                    tally.add(item.tally)
                    failures, ends_s = 0, self._clock.monotonic_s() + WITHIN_S
                    continue
                error = Unavailable("others kept committing to this target first")
            except (Unavailable, OutcomeUnknown) as failure:
                error = failure
            except IsSplit as split:
                raise IsSplit(split.lanes, list(map(_part, (item, *todo)))) from None
            if self._clock.monotonic_s() > ends_s:
                raise error
            # What was planned over it does not hold any more either.
            todo = deque(map(_part, (item, *todo)))
            failures += 1
            await asyncio.sleep(BACKOFF.pause_s(failures, self._random))

    async def _committed(self, key: CellKey, step: Step, erased: set[str]) -> bool:
        """Whether the step's commit is made; False if it has to be planned anew. Raises `Unavailable` and
        `OutcomeUnknown`: so too. A proposal of unknown outcome needs no settling: whatever is planned next proves a
        state with or without it.
        """
        marked = await self._look.erased(user for user in step.part.users if user not in erased)
        if marked:
            erased |= marked
            return False
        if step.part.of_root and step.proposal is not None and step.proposal.registration is not None:
            self._to_follow.add(key.target)  # before: it may be stored without our being told
        return step.proposal is None or await self._cells.propose(key, step.proposal)

    async def _tell(self, key: CellKey, step: Step) -> None:
        """Publish what was committed, or found. Raises `Unavailable` when the log has been away for long.

        Lanes follow a root that was registered: by us, or by who died before they did. Where nothing new is said, lanes
        that nobody wrote stay unwritten.
        """
        failures, ends_s = 0, self._clock.monotonic_s() + WITHIN_S
        while step.header is not None:
            try:
                await self._publish.at_once(key, step.header, step.transitions, "import", step.registration)
                break
            except Unavailable:
                if self._clock.monotonic_s() > ends_s:
                    raise
            failures += 1
            await asyncio.sleep(BACKOFF.pause_s(failures, self._random))
        if step.part.of_root and step.part.targets:
            root = Target(step.header, step.registration)
            if key.target in self._to_follow or await self._follow.behind(key.target, root):
                await self._follow.all_lanes(key.target, root, "import")
                self._to_follow.discard(key.target)


class CellPreview:
    """An `Intake` that counts and stores nothing."""

    def __init__(self, cells: Cells, roots: CellRoots, profiles: Profiles, erased: Erased) -> None:
        self._look = Survey(cells, roots, profiles, erased)

    async def store(self, batch: Batch, *, whole: bool) -> Stored:
        """What would become of the batch as things are now."""
        return Stored((await self._look.batch(batch)).tally, stored=False)


def _part(item: Step | Part) -> Part:
    return item if isinstance(item, Part) else item.part
